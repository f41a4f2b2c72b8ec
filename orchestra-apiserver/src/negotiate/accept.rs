//! What a client accepts, and what it gets.
//!
//! Two steps, as upstream has them: its router looks whether any range of the header names what the route can write, and
//! then the ranges are gone through, best first, until one fits with all its parameters.

use http::{HeaderMap, HeaderValue, header};

use crate::query::Query;
use crate::request::Verb;
use crate::status::StatusError;
use crate::storage::resource::Resource;

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
    Metadata(&'static str, Extent),
}

/// Whether a client wants the metadata of one object or that of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    One,
    List,
}

/// How a response is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Syntax {
    Json,
    /// JSON with line breaks, for people.
    PrettyJson,
    Yaml,
    Protobuf,
}

impl Syntax {
    /// What can be written, in the order of preference.
    const ALL: [Self; 3] = [Self::Json, Self::Yaml, Self::Protobuf];

    /// The media type of a whole object.
    pub(crate) fn media(self) -> &'static str {
        match self {
            Self::Json | Self::PrettyJson => "application/json",
            Self::Yaml => "application/yaml",
            Self::Protobuf => "application/vnd.kubernetes.protobuf",
        }
    }
}

/// What whole objects may be written as.
pub(crate) const MEDIA_TYPES: &[&str] =
    &["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];
/// What watches may be written as.
pub(crate) const STREAM_MEDIA_TYPES: &[&str] =
    &["application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch"];

/// Ranges of a header that are looked at.
const MAX_RANGES: usize = 64;

/// What a response will look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Output {
    pub(crate) shape: Shape,
    pub(crate) syntax: Syntax,
    pub(crate) gzip: bool,
}

/// What an endpoint can write beside plain JSON and YAML.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// Objects of a kind compiled in, also as tables and protobuf.
    Builtin,
    /// Objects of a kind made at run time: these have no protobuf form, but their metadata alone has.
    Custom,
    /// Answers that are always whole objects, such as reviews and refusals.
    Whole,
}

impl Endpoint {
    /// What can be written of a resource's objects.
    pub(crate) fn of(resource: &Resource) -> Self {
        if resource.object_type().is_some() { Self::Builtin } else { Self::Custom }
    }
}

/// A media range of an Accept header with its parameters.
pub(crate) struct MediaRange<'a> {
    pub(crate) media: &'a str,
    params: Vec<(&'a str, &'a str)>,
    quality: f32,
}

impl<'a> MediaRange<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let media = match parts.next()? {
            "" => return None,
            "*" => "*/*",
            media => media,
        };
        let params: Vec<_> = parts
            .filter_map(|param| param.split_once('='))
            .map(|(key, value)| (key.trim(), value.trim().trim_matches('"')))
            .collect();
        let quality = params.iter().find(|(key, _)| *key == "q").and_then(|(_, value)| value.parse().ok());
        Some(Self { media, params, quality: quality.unwrap_or(1.0) })
    }

    pub(crate) fn param(&self, key: &str) -> Option<&'a str> {
        self.params.iter().find(|(k, _)| *k == key).map(|(_, v)| *v)
    }

    /// Whether upstream's order puts this range before the other. It is no order: a range that names more comes first
    /// even when it is liked less, so what comes out depends on the order of the header.
    fn goes_before(&self, other: &Self) -> bool {
        let split = |media: &'a str| media.split_once('/').unwrap_or((media, ""));
        let ((kind, sub), (other_kind, other_sub)) = (split(self.media), split(other.media));
        self.quality > other.quality || (kind != "*" && other_kind == "*") || (sub != "*" && other_sub == "*")
    }

    fn covers(&self, media: &str) -> bool {
        self.media == "*/*"
            || self.media == media
            || self
                .media
                .strip_suffix("/*")
                .is_some_and(|kind| media.strip_prefix(kind).is_some_and(|rest| rest.starts_with('/')))
    }
}

/// The ranges of an Accept header, best first, by upstream's insertion sort.
pub(crate) fn ranges(headers: &HeaderMap) -> Vec<MediaRange<'_>> {
    let texts = headers.get_all(header::ACCEPT).into_iter().filter_map(|value| value.to_str().ok());
    let mut ranges: Vec<_> =
        texts.flat_map(|text| text.split(',')).filter_map(MediaRange::read).take(MAX_RANGES).collect();
    for unsorted in 1..ranges.len() {
        let mut at = unsorted;
        while at > 0 && ranges[at].goes_before(&ranges[at - 1]) {
            ranges.swap(at, at - 1);
            at -= 1;
        }
    }
    ranges
}

/// Whether the client can decompress. Codings with parameters are passed over, as upstream does.
pub(crate) fn takes_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
    accepted.is_some_and(|text| text.split(',').any(|coding| coding.trim() == "gzip"))
}

/// Whether a person is reading: `pretty` in the query, or a client that people use by hand.
fn is_for_people(headers: &HeaderMap, query: &Query) -> bool {
    if let Some(wish) = query.get("pretty") {
        return matches!(wish, "1" | "t" | "T" | "true" | "TRUE" | "True");
    }
    let agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    ["curl", "Wget", "Mozilla/5.0"].iter().any(|name| agent.starts_with(name))
}

impl Output {
    /// JSON, as it is.
    pub(crate) fn plain() -> Self {
        Self { shape: Shape::Plain, syntax: Syntax::Json, gzip: false }
    }

    /// Chooses the form of an answer that holds objects.
    pub(crate) fn negotiate(
        headers: &HeaderMap,
        query: &Query,
        endpoint: Endpoint,
        verb: Verb,
    ) -> Result<Self, StatusError> {
        let gzip = takes_gzip(headers);
        let ranges = ranges(headers);
        let people = is_for_people(headers, query);
        let json = if people { Syntax::PrettyJson } else { Syntax::Json };
        if headers.get(header::ACCEPT).is_none_or(HeaderValue::is_empty) {
            return Ok(Self { shape: Shape::Plain, syntax: json, gzip });
        }
        let known = |range: &MediaRange<'_>| range.media == "*/*" || MEDIA_TYPES.contains(&range.media);
        if !ranges.iter().any(known) {
            // Lists and watches are one route.
            let streams = if matches!(verb, Verb::List | Verb::Watch) { STREAM_MEDIA_TYPES } else { &[] };
            return Err(StatusError::not_routed(&[MEDIA_TYPES, streams].concat()));
        }
        for range in &ranges {
            for syntax in Syntax::ALL {
                if !range.covers(syntax.media()) || !streams(range, syntax) {
                    continue;
                }
                let Some(shape) = shape(range, syntax, endpoint, query)? else { continue };
                let pretty = people || range.param("pretty") == Some("1");
                let syntax = match syntax {
                    Syntax::Json if pretty => Syntax::PrettyJson,
                    other => other,
                };
                return Ok(Self { shape, syntax, gzip });
            }
        }
        let supported = if verb == Verb::Watch { STREAM_MEDIA_TYPES } else { MEDIA_TYPES };
        Err(StatusError::not_acceptable(supported))
    }
}

/// Whether the stream a range asks for, if any, is one that the syntax has.
fn streams(range: &MediaRange<'_>, syntax: Syntax) -> bool {
    match range.param("stream") {
        None | Some("") => true,
        Some(stream) => stream == "watch" && syntax != Syntax::Yaml,
    }
}

fn shape(
    range: &MediaRange<'_>,
    syntax: Syntax,
    endpoint: Endpoint,
    query: &Query,
) -> Result<Option<Shape>, StatusError> {
    if ["as", "g", "v"].iter().all(|key| range.param(key).is_none()) {
        let written = endpoint != Endpoint::Custom || syntax != Syntax::Protobuf;
        return Ok(written.then_some(Shape::Plain));
    }
    if endpoint == Endpoint::Whole || range.param("g") != Some("meta.k8s.io") {
        return Ok(None);
    }
    let version = match range.param("v") {
        Some("v1") => "meta.k8s.io/v1",
        Some("v1beta1") => "meta.k8s.io/v1beta1",
        _ => return Ok(None),
    };
    Ok(match range.param("as") {
        Some("Table") if syntax != Syntax::Protobuf => Some(Shape::Table(version, row_object(query)?)),
        Some("PartialObjectMetadata") => Some(Shape::Metadata(version, Extent::One)),
        Some("PartialObjectMetadataList") => Some(Shape::Metadata(version, Extent::List)),
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
mod tests;
