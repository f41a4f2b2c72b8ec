//! What a client accepts, and what it gets.

use http::{HeaderMap, header};

use crate::query::Query;
use crate::status::StatusError;

/// How much of each object a table row carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum RowObject {
    None,
    #[default]
    Metadata,
    Object,
}

/// The form of objects in a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// As they are.
    Plain,
    /// A `meta.k8s.io` Table, in this version.
    Table(&'static str, RowObject),
    /// `PartialObjectMetadata`, in this version.
    Metadata(&'static str),
}

/// The text form of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Syntax {
    Json,
    Yaml,
}

/// What a response will look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Output {
    pub(crate) shape: Shape,
    pub(crate) syntax: Syntax,
    pub(crate) gzip: bool,
}

/// A media range of an Accept header with its parameters.
pub(crate) struct MediaRange<'a> {
    pub(crate) media: &'a str,
    params: Vec<(&'a str, &'a str)>,
}

impl<'a> MediaRange<'a> {
    pub(crate) fn param(&self, key: &str) -> Option<&'a str> {
        self.params.iter().find(|(k, _)| *k == key).map(|(_, v)| *v)
    }

    fn quality(&self) -> f32 {
        self.param("q").and_then(|q| q.parse().ok()).unwrap_or(1.0)
    }
}

/// The ranges of an Accept header, best first.
pub(crate) fn ranges(headers: &HeaderMap) -> Vec<MediaRange<'_>> {
    let texts = headers.get_all(header::ACCEPT).into_iter().filter_map(|value| value.to_str().ok());
    let mut ranges: Vec<_> = texts
        .flat_map(|text| text.split(','))
        .filter_map(|range| {
            let mut parts = range.split(';').map(str::trim);
            let media = parts.next().filter(|media| !media.is_empty())?;
            let params =
                parts.filter_map(|p| p.split_once('=')).map(|(k, v)| (k.trim(), v.trim().trim_matches('"')));
            Some(MediaRange { media, params: params.collect() })
        })
        .collect();
    // Stable: ranges of one quality keep the client's order.
    ranges.sort_by(|a, b| b.quality().total_cmp(&a.quality()));
    ranges
}

/// Whether the client can decompress.
pub(crate) fn takes_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
    accepted.is_some_and(|text| text.split(',').any(|coding| coding.trim().starts_with("gzip")))
}

impl Output {
    /// JSON, as it is.
    pub(crate) fn plain() -> Self {
        Self { shape: Shape::Plain, syntax: Syntax::Json, gzip: false }
    }

    /// Chooses the form of an answer that holds objects.
    pub(crate) fn negotiate(headers: &HeaderMap, query: &Query) -> Result<Self, StatusError> {
        let gzip = takes_gzip(headers);
        let ranges = ranges(headers);
        if ranges.is_empty() {
            return Ok(Self { shape: Shape::Plain, syntax: Syntax::Json, gzip });
        }
        for range in &ranges {
            let syntax = match range.media {
                "application/json" | "*/*" => Syntax::Json,
                "application/yaml" => Syntax::Yaml,
                _ => continue,
            };
            if let Some(shape) = shape(range, query)? {
                return Ok(Self { shape, syntax, gzip });
            }
        }
        Err(StatusError::not_acceptable(&["application/json", "application/yaml"]))
    }
}

fn shape(range: &MediaRange<'_>, query: &Query) -> Result<Option<Shape>, StatusError> {
    let Some(wanted) = range.param("as") else { return Ok(Some(Shape::Plain)) };
    if range.param("g") != Some("meta.k8s.io") {
        return Ok(None);
    }
    let version = match range.param("v") {
        Some("v1") => "meta.k8s.io/v1",
        Some("v1beta1") => "meta.k8s.io/v1beta1",
        _ => return Ok(None),
    };
    Ok(match wanted {
        "Table" => Some(Shape::Table(version, row_object(query)?)),
        "PartialObjectMetadata" | "PartialObjectMetadataList" => Some(Shape::Metadata(version)),
        _ => None,
    })
}

fn row_object(query: &Query) -> Result<RowObject, StatusError> {
    match query.get("includeObject") {
        None | Some("Metadata") => Ok(RowObject::Metadata),
        Some("None") => Ok(RowObject::None),
        Some("Object") => Ok(RowObject::Object),
        Some(other) => Err(StatusError::bad_request(format!("unrecognized includeObject value: {other:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn negotiate(accept: &'static str) -> Option<Shape> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().unwrap());
        Output::negotiate(&headers, &Query::default()).ok().map(|o| o.shape)
    }

    #[test]
    fn kubectl_gets_a_table() {
        let accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        assert_eq!(negotiate(accept), Some(Shape::Table("meta.k8s.io/v1", RowObject::Metadata)));
    }

    #[test]
    fn what_cannot_be_produced_is_passed_over_or_refused() {
        assert_eq!(negotiate("application/vnd.kubernetes.protobuf,application/json"), Some(Shape::Plain));
        assert_eq!(negotiate("application/json;as=Foo;v=v1;g=meta.k8s.io"), None);
        assert_eq!(negotiate("application/*"), None);
        assert_eq!(negotiate("*/*"), Some(Shape::Plain));
    }
}
