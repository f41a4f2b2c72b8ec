//! The text of an object in the syntax a client accepts, compressed where that pays.

use std::io::Write as _;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use orchestra_core::protobuf::{self, ProtobufError};
use serde_json::Value;

use super::accept::{Endpoint, Output, Syntax};
use crate::body::{self, Body, WholeObject};
use crate::query::Query;
use crate::request::Verb;
use crate::status::StatusError;

/// Bodies above this size are compressed, when the client accepts that.
pub(crate) const GZIP_ABOVE_BYTES: usize = 128 << 10;

/// The JSON text of a whole object in another syntax.
pub(crate) fn text(syntax: Syntax, json: Bytes) -> Result<Bytes, StatusError> {
    match syntax {
        Syntax::Json => Ok(json),
        Syntax::PrettyJson => Ok(indented(&json).into()),
        Syntax::Yaml => {
            let value: Value = serde_json::from_slice(&json).map_err(StatusError::internal)?;
            serde_yaml::to_string(&value).map(Bytes::from).map_err(StatusError::internal)
        }
        Syntax::Protobuf => match protobuf::encode_envelope_json(&json) {
            Ok(bytes) => Ok(bytes.into()),
            Err(ProtobufError::UnknownKind { kind, .. }) => {
                Err(StatusError::not_marshalable(&format!("*v1.{kind}")))
            }
            Err(error) => Err(StatusError::internal(error)),
        },
    }
}

/// A response with a whole object.
pub(crate) fn whole(output: Output, code: StatusCode, json: Bytes) -> Result<Response<Body>, StatusError> {
    let media = output.syntax.media();
    let bytes = text(output.syntax, json)?;
    if !output.gzip || bytes.len() <= GZIP_ABOVE_BYTES {
        return Ok(body::typed(code, media, bytes));
    }
    let packed: Vec<u8> = gzip(std::iter::once(bytes)).flatten().collect();
    let mut response = body::typed(code, media, packed);
    mark_gzip(&mut response);
    Ok(response)
}

/// What decides how an answer is written that the handler of a request made as JSON, without asking.
#[derive(Debug)]
pub(crate) struct Wish {
    headers: HeaderMap,
    query: Option<String>,
}

impl Wish {
    /// Keeps what little of the request it takes.
    pub(crate) fn read(headers: &HeaderMap, query: Option<&str>) -> Self {
        let mut kept = HeaderMap::new();
        for name in [header::ACCEPT, header::ACCEPT_ENCODING, header::USER_AGENT] {
            for value in headers.get_all(&name) {
                kept.append(&name, value.clone());
            }
        }
        Self { headers: kept, query: query.filter(|query| query.contains("pretty")).map(str::to_owned) }
    }

    /// Writes a response over in the form the client accepts. If it accepts none that there is, it gets JSON, as upstream
    /// does with refusals.
    pub(crate) fn fulfil(&self, mut response: Response<Body>) -> Response<Body> {
        let Some(WholeObject(json)) = response.extensions_mut().remove() else { return response };
        let query = Query::parse(self.query.as_deref().unwrap_or_default());
        let Ok(output) = Output::negotiate(&self.headers, &query, Endpoint::Whole, Verb::Get) else {
            return response;
        };
        if output.syntax == Syntax::Json && (!output.gzip || json.len() <= GZIP_ABOVE_BYTES) {
            return response;
        }
        let Ok(written) = whole(output, response.status(), json) else { return response };
        let (new, body) = written.into_parts();
        *response.body_mut() = body;
        for name in [header::CONTENT_TYPE, header::CONTENT_ENCODING, header::VARY] {
            if let Some(value) = new.headers.get(&name) {
                response.headers_mut().insert(name, value.clone());
            }
        }
        response
    }
}

/// Pieces of a body, compressed as they come.
pub(crate) fn gzip(
    chunks: impl Iterator<Item = Bytes> + Send + 'static,
) -> impl Iterator<Item = Bytes> + Send + 'static {
    let mut encoder = Some(GzEncoder::new(Vec::new(), Compression::fast()));
    let mut chunks = chunks.fuse();
    std::iter::from_fn(move || {
        let active = encoder.as_mut()?;
        // Writing into memory cannot fail.
        match chunks.next() {
            Some(chunk) => {
                let _ = active.write_all(&chunk);
                Some(std::mem::take(active.get_mut()).into())
            }
            None => encoder.take().and_then(|done| done.finish().ok()).map(Bytes::from),
        }
    })
}

pub(crate) fn mark_gzip(response: &mut Response<Body>) {
    response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
}

/// JSON with line breaks and two spaces for each level, as Go's `json.MarshalIndent` writes it; the order of keys stays.
fn indented(json: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len() * 3 / 2);
    let mut depth = 0usize;
    let (mut in_text, mut escaped) = (false, false);
    let line = |out: &mut Vec<u8>, depth: usize| {
        out.push(b'\n');
        out.resize(out.len() + depth * 2, b' ');
    };
    for (at, &byte) in json.iter().enumerate() {
        if in_text {
            out.push(byte);
            in_text = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            continue;
        }
        match byte {
            b'"' => {
                in_text = true;
                out.push(byte);
            }
            b'{' | b'[' => {
                out.push(byte);
                if !matches!(json.get(at + 1), Some(b'}' | b']')) {
                    depth += 1;
                    line(&mut out, depth);
                }
            }
            b'}' | b']' => {
                if !matches!(at.checked_sub(1).and_then(|at| json.get(at)), Some(b'{' | b'[')) {
                    depth = depth.saturating_sub(1);
                    line(&mut out, depth);
                }
                out.push(byte);
            }
            b',' => {
                out.push(byte);
                line(&mut out, depth);
            }
            b':' => out.extend_from_slice(b": "),
            _ => out.push(byte),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn line_breaks_change_nothing_but_the_looks() {
        let value = json!({"a": [1, {"b": "x,{}:\"\\"}], "c": {}, "d": [], "e": null});
        let text = indented(value.to_string().as_bytes());
        assert_eq!(String::from_utf8(text).unwrap(), serde_json::to_string_pretty(&value).unwrap());
    }

    #[test]
    fn what_has_no_protobuf_form_is_refused_in_upstreams_words() {
        let table = Bytes::from_static(br#"{"kind":"Table","apiVersion":"meta.k8s.io/v1"}"#);
        assert_eq!(
            text(Syntax::Protobuf, table).unwrap_err().to_string(),
            "object *v1.Table does not implement the protobuf marshalling interface and cannot be encoded to a protobuf message"
        );
    }
}
