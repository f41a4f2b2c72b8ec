//! Objects in the shape a client asked for: as they are, as table rows, or their metadata alone.

use std::io::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderValue, Response, StatusCode, header};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::accept::{Output, RowObject, Shape, Syntax};
use crate::body::{self, Body};
use crate::clock::Clock;
use crate::status::StatusError;
use crate::storage::resource::Resource;

/// Bodies are handed over in pieces of about this size.
const CHUNK_BYTES: usize = 64 << 10;
/// Bodies from this size on are compressed, when the client accepts that.
const GZIP_FROM_BYTES: usize = 128 << 10;

/// The metadata of a list.
#[derive(Clone, Debug, Default)]
pub(crate) struct ListMeta {
    pub(crate) revision: u64,
    pub(crate) continue_token: Option<String>,
    pub(crate) remaining: Option<u64>,
}

impl ListMeta {
    fn to_json(&self) -> Value {
        let mut out = Map::new();
        out.insert("resourceVersion".into(), self.revision.to_string().into());
        if let Some(token) = &self.continue_token {
            out.insert("continue".into(), token.as_str().into());
        }
        if let Some(remaining) = self.remaining {
            out.insert("remainingItemCount".into(), remaining.into());
        }
        out.into()
    }
}

/// Turns stored objects into what one client gets.
#[derive(Clone, Debug)]
pub(crate) struct Renderer {
    pub(crate) resource: Arc<Resource>,
    pub(crate) output: Output,
    /// For ages in tables. Read for each row: a watch lives long.
    pub(crate) clock: Arc<dyn Clock>,
}

impl Renderer {
    /// A response with one object.
    pub(crate) fn object(&self, code: StatusCode, json: Bytes) -> Result<Response<Body>, StatusError> {
        let shaped = self.shape(json, true)?;
        self.respond(code, shaped)
    }

    /// One object in the wanted shape, as JSON. Only the first table of a watch repeats the columns.
    pub(crate) fn shape(&self, json: Bytes, columns: bool) -> Result<Bytes, StatusError> {
        match self.output.shape {
            Shape::Plain => Ok(json),
            Shape::Metadata(version) => partial(&json, version, "PartialObjectMetadata").map(Into::into),
            Shape::Table(version, include) => {
                let meta = object_version(&json)?;
                let row = self.row(&json, version, include)?;
                Ok(self.table(version, &meta, &[row], columns).into())
            }
        }
    }

    /// What a watch shows for a bookmark.
    pub(crate) fn bookmark(&self, revision: u64, initial_events_end: bool) -> String {
        let mut metadata = Map::new();
        metadata.insert("resourceVersion".into(), revision.to_string().into());
        if initial_events_end {
            metadata.insert("annotations".into(), json!({"k8s.io/initial-events-end": "true"}));
        }
        let metadata = Value::from(metadata);
        let (kind, version) = match self.output.shape {
            Shape::Plain => (self.resource.kind_name(), self.resource.api_version.as_str()),
            Shape::Metadata(version) => ("PartialObjectMetadata", version),
            Shape::Table(version, _) => return self.table(version, &metadata, &[], false),
        };
        json!({"kind": kind, "apiVersion": version, "metadata": metadata}).to_string()
    }

    /// A response with a list of objects; `items` are whole objects and the same without kind and version.
    pub(crate) fn list<O>(&self, objects: Vec<O>, meta: &ListMeta) -> Result<Response<Body>, StatusError>
    where
        O: AsRef<crate::cache::object::Object> + Send + 'static,
    {
        match self.output.shape {
            Shape::Plain => self.plain_list(objects, meta),
            Shape::Metadata(version) => {
                let mut out = list_head("PartialObjectMetadataList", version, meta);
                for (at, object) in objects.iter().enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    out.push_str(&partial(&object.as_ref().encoded.json, version, "PartialObjectMetadata")?);
                }
                out.push_str("]}");
                self.respond(StatusCode::OK, out.into())
            }
            Shape::Table(version, include) => {
                let rows: Result<Vec<_>, _> =
                    objects.iter().map(|o| self.row(&o.as_ref().encoded.json, version, include)).collect();
                self.respond(StatusCode::OK, self.table(version, &meta.to_json(), &rows?, true).into())
            }
        }
    }

    fn plain_list<O>(&self, objects: Vec<O>, meta: &ListMeta) -> Result<Response<Body>, StatusError>
    where
        O: AsRef<crate::cache::object::Object> + Send + 'static,
    {
        let head = list_head(&self.resource.description().list_kind, &self.resource.api_version, meta);
        let total: usize = objects.iter().map(|o| o.as_ref().encoded.json.len()).sum();
        let mut chunks = list_chunks(head, objects);
        if total < CHUNK_BYTES || self.output.syntax == Syntax::Yaml {
            let whole: Vec<u8> = chunks.flatten().collect();
            return self.respond(StatusCode::OK, whole.into());
        }
        let compress = self.output.gzip && total >= GZIP_FROM_BYTES;
        let body = if compress {
            body::streamed(futures::stream::iter(gzip_chunks(chunks)))
        } else {
            body::streamed(futures::stream::iter(std::iter::from_fn(move || chunks.next())))
        };
        let mut response = body::respond(StatusCode::OK, "application/json", body);
        if compress {
            mark_gzip(&mut response);
        }
        Ok(response)
    }

    fn respond(&self, code: StatusCode, json: Bytes) -> Result<Response<Body>, StatusError> {
        match self.output.syntax {
            Syntax::Json if self.output.gzip && json.len() >= GZIP_FROM_BYTES => {
                let chunks: Vec<u8> = gzip_chunks(std::iter::once(json)).flatten().collect();
                let mut response = body::json(code, chunks);
                mark_gzip(&mut response);
                Ok(response)
            }
            Syntax::Json => Ok(body::json(code, json)),
            Syntax::Yaml => {
                let value: Value = serde_json::from_slice(&json).map_err(StatusError::internal)?;
                let text = serde_yaml::to_string(&value).map_err(StatusError::internal)?;
                Ok(body::typed(code, "application/yaml", text))
            }
        }
    }

    fn row(&self, json: &[u8], version: &str, include: RowObject) -> Result<Value, StatusError> {
        let object: Value = serde_json::from_slice(json).map_err(StatusError::internal)?;
        let cells = self.resource.kind.row(&object, self.clock.now().as_second());
        let mut row = json!({ "cells": cells });
        match include {
            RowObject::None => {}
            RowObject::Metadata => {
                row["object"] = json!({
                    "kind": "PartialObjectMetadata",
                    "apiVersion": version,
                    "metadata": object.get("metadata"),
                });
            }
            RowObject::Object => row["object"] = object,
        }
        Ok(row)
    }

    fn table(&self, version: &str, metadata: &Value, rows: &[Value], columns: bool) -> String {
        let columns: Vec<Value> = if columns { self.columns() } else { Vec::new() };
        json!({
            "kind": "Table",
            "apiVersion": version,
            "metadata": metadata,
            "columnDefinitions": columns,
            "rows": rows,
        })
        .to_string()
    }

    fn columns(&self) -> Vec<Value> {
        let columns = self.resource.kind.columns().iter();
        columns
            .map(|c| {
                json!({
                    "name": c.name, "type": c.type_, "format": c.format,
                    "description": c.description, "priority": c.priority,
                })
            })
            .collect()
    }
}

#[derive(Deserialize)]
struct MetadataOnly<'a> {
    #[serde(borrow)]
    metadata: &'a RawValue,
}

fn partial(json: &[u8], version: &str, kind: &str) -> Result<String, StatusError> {
    let object: MetadataOnly<'_> = serde_json::from_slice(json).map_err(StatusError::internal)?;
    Ok(format!("{{\"kind\":\"{kind}\",\"apiVersion\":\"{version}\",\"metadata\":{}}}", object.metadata.get()))
}

#[derive(Deserialize)]
struct VersionOnly {
    metadata: ResourceVersion,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResourceVersion {
    #[serde(default)]
    resource_version: String,
}

fn object_version(json: &[u8]) -> Result<Value, StatusError> {
    let object: VersionOnly = serde_json::from_slice(json).map_err(StatusError::internal)?;
    Ok(json!({"resourceVersion": object.metadata.resource_version}))
}

fn list_head(kind: &str, version: &str, meta: &ListMeta) -> String {
    format!("{{\"kind\":\"{kind}\",\"apiVersion\":\"{version}\",\"metadata\":{},\"items\":[", meta.to_json())
}

/// The text of a list, piece by piece, so that a long one is never in memory twice.
fn list_chunks<O>(head: String, objects: Vec<O>) -> impl Iterator<Item = Bytes> + Send + 'static
where
    O: AsRef<crate::cache::object::Object> + Send + 'static,
{
    let mut next = Some(head.into_bytes());
    let mut objects = objects.into_iter();
    let mut first = true;
    std::iter::from_fn(move || {
        let mut chunk = next.take()?;
        loop {
            let Some(object) = objects.next() else {
                chunk.extend_from_slice(b"]}");
                return Some(chunk.into());
            };
            chunk.extend_from_slice(if first { b"{" } else { b",{" });
            first = false;
            chunk.extend_from_slice(&object.as_ref().encoded.item_tail());
            if chunk.len() >= CHUNK_BYTES {
                next = Some(Vec::with_capacity(CHUNK_BYTES + 4096));
                return Some(chunk.into());
            }
        }
    })
}

fn gzip_chunks(chunks: impl Iterator<Item = Bytes> + Send + 'static) -> impl Iterator<Item = Bytes> + Send {
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

fn mark_gzip(response: &mut Response<Body>) {
    response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
}
