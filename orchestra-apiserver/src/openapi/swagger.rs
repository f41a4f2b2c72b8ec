//! `/openapi/v2`: one document of everything, as JSON or as protobuf.
//!
//! After `pkg/handler/handler.go` of upstream's kube-openapi: both forms have one entity tag, that of the JSON, and
//! `Vary` tells them apart. A document takes megabytes and is rarely asked for, so that each form is made when a client
//! first wants it and kept compressed; the tree it is made of is not kept.

use std::io::Write;
use std::sync::OnceLock;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use jiff::tz::TimeZone;
use orchestra_core::openapi;
use serde_json::Value;
use sha2::{Digest, Sha512};

use super::{MEDIA_TYPE, compressed, plain};
use crate::body::{self, Body};
use crate::negotiate::accept;

const PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
/// No media type: a subtype has no `@`. Clients ask with this one nevertheless, and get the other.
const PROTOBUF_OF_OLD: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

/// What is kept of the document.
#[derive(Debug, Default)]
pub(super) struct Swagger {
    json: OnceLock<Json>,
    protobuf: OnceLock<Bytes>,
}

#[derive(Debug)]
struct Json {
    compressed: Bytes,
    tag: String,
    made: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Json,
    Protobuf,
}

impl Form {
    /// The first form that a client accepts.
    fn accepted(headers: &HeaderMap) -> Option<Self> {
        if headers.get(header::ACCEPT).is_none_or(HeaderValue::is_empty) {
            return Some(Self::Json);
        }
        accept::ranges(headers).iter().find_map(|range| match range.media {
            MEDIA_TYPE | "application/*" | "*/*" | "*/json" => Some(Self::Json),
            PROTOBUF | PROTOBUF_OF_OLD => Some(Self::Protobuf),
            _ => None,
        })
    }

    fn media(self) -> &'static str {
        match self {
            Self::Json => MEDIA_TYPE,
            Self::Protobuf => PROTOBUF,
        }
    }
}

impl Json {
    fn of(document: &Value, now: Timestamp) -> Self {
        let mut digest = Sha512::new();
        let compressed = compressed(|out| {
            let mut both = Both { digest: &mut digest, out };
            // Writing into memory cannot fail.
            let _ = serde_json::to_writer(std::io::BufWriter::with_capacity(64 << 10, &mut both), document);
        });
        let tag: String = digest.finalize().iter().map(|byte| format!("{byte:02X}")).collect();
        Self { compressed, tag: format!("\"{tag}\""), made: now }
    }

    /// Whether a client has the document as it is.
    fn is_known(&self, headers: &HeaderMap) -> bool {
        let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        if let Some(tags) = text(header::IF_NONE_MATCH) {
            let mut tags = tags.split(',').map(|tag| tag.trim().trim_start_matches("W/"));
            return tags.any(|tag| tag == "*" || tag == self.tag);
        }
        let since =
            text(header::IF_MODIFIED_SINCE).and_then(|date| DateTimeParser::new().parse_timestamp(date).ok());
        since.is_some_and(|since| self.made.as_second() <= since.as_second())
    }
}

/// Text that goes to a digest on its way.
struct Both<'a> {
    digest: &'a mut Sha512,
    out: &'a mut dyn Write,
}

impl Write for Both<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.digest.update(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

impl Swagger {
    /// Answers a request. `build` makes the document, where it is not there yet.
    pub(super) fn answer(
        &self,
        headers: &HeaderMap,
        now: Timestamp,
        build: impl Fn() -> Value,
    ) -> Response<Body> {
        let Some(form) = Form::accepted(headers) else {
            let mut refusal = Response::new(body::whole(Bytes::new()));
            *refusal.status_mut() = StatusCode::NOT_ACCEPTABLE;
            vary(&mut refusal);
            return refusal;
        };
        // Of the tree, both can be made: whoever wants the second form gets along without another one.
        let protobuf = (form == Form::Protobuf).then(|| self.protobuf(&build, now));
        let json = self.json.get_or_init(|| Json::of(&build(), now));
        if json.is_known(headers) {
            let mut response = Response::new(body::whole(Bytes::new()));
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return marked(response, json);
        }
        let kept = protobuf.unwrap_or(&json.compressed);
        let response = if accept::takes_gzip(headers) {
            let mut response = body::typed(StatusCode::OK, form.media(), kept.clone());
            response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            response
        } else {
            body::typed(StatusCode::OK, form.media(), plain(kept))
        };
        let mut response = marked(response, json);
        let date = json.made.to_zoned(TimeZone::UTC).strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        if let Ok(date) = HeaderValue::from_str(&date) {
            response.headers_mut().insert(header::LAST_MODIFIED, date);
        }
        response
    }

    fn protobuf(&self, build: impl Fn() -> Value, now: Timestamp) -> &Bytes {
        self.protobuf.get_or_init(|| {
            let document = build();
            self.json.get_or_init(|| Json::of(&document, now));
            let bytes = openapi::v2_protobuf(&document);
            drop(document);
            // Writing into memory cannot fail.
            compressed(|out| drop(out.write_all(&bytes)))
        })
    }
}

fn marked(mut response: Response<Body>, json: &Json) -> Response<Body> {
    if let Ok(tag) = HeaderValue::from_str(&json.tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    vary(&mut response);
    response
}

fn vary(response: &mut Response<Body>) {
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept-Encoding, Accept"));
}

#[cfg(test)]
mod tests;
