//! Objects in the shape a client asked for: as they are, as table rows, or their metadata alone.

use std::sync::Arc;

use bytes::Bytes;
use http::{Response, StatusCode};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::accept::{Extent, Output, RowObject, Shape, Syntax};
use super::collection;
use super::write;
use crate::body::Body;
use crate::cache::object::Object;
use crate::clock::Clock;
use crate::status::StatusError;
use crate::storage::resource::Resource;

/// The metadata of a list.
#[derive(Clone, Debug, Default)]
pub(crate) struct ListMeta {
    pub(crate) revision: u64,
    pub(crate) continue_token: Option<String>,
    pub(crate) remaining: Option<u64>,
}

impl ListMeta {
    pub(crate) fn to_json(&self) -> Value {
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
        write::whole(self.output, code, shaped)
    }

    /// One object in the wanted shape, as JSON. Only the first table of a watch repeats the columns.
    pub(crate) fn shape(&self, json: Bytes, columns: bool) -> Result<Bytes, StatusError> {
        match self.output.shape {
            Shape::Plain => Ok(json),
            Shape::Metadata(_, Extent::List) => Err(StatusError::not_that_metadata(
                "PartialObjectMetadataList",
                "not a list",
                &self.go_type(""),
            )),
            Shape::Metadata(version, Extent::One) => {
                partial(&json, version, "PartialObjectMetadata").map(Into::into)
            }
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
            Shape::Metadata(version, _) => ("PartialObjectMetadata", version),
            Shape::Table(version, _) => return self.table(version, &metadata, &[], false),
        };
        json!({"kind": kind, "apiVersion": version, "metadata": metadata}).to_string()
    }

    /// A response with a list of objects.
    pub(crate) fn list<O>(&self, objects: Vec<O>, meta: &ListMeta) -> Result<Response<Body>, StatusError>
    where
        O: AsRef<Object> + Send + 'static,
    {
        let json = match (self.output.shape, self.output.syntax) {
            (Shape::Plain, Syntax::Json) => return Ok(collection::json(self, objects, meta)),
            (Shape::Plain, Syntax::Protobuf) => return collection::protobuf(self, objects, meta),
            (Shape::Plain, Syntax::PrettyJson | Syntax::Yaml) => {
                let (kind, version) = (&self.resource.description().list_kind, &self.resource.api_version);
                collection::text(list_head(kind, version, meta), objects, collection::Form::of(self))
                    .flatten()
                    .collect::<Vec<u8>>()
                    .into()
            }
            (Shape::Metadata(_, Extent::One), _) => {
                let go_type = self.go_type("List");
                return Err(StatusError::not_that_metadata("PartialObjectMetadata", "a list", &go_type));
            }
            (Shape::Metadata(version, Extent::List), _) => {
                let mut out = list_head("PartialObjectMetadataList", version, meta);
                for (at, object) in objects.iter().enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    out.push_str(&partial(
                        &object.as_ref().encoded.json(),
                        version,
                        "PartialObjectMetadata",
                    )?);
                }
                out.push_str("]}");
                out.into()
            }
            (Shape::Table(version, include), _) => {
                let rows: Result<Vec<_>, _> =
                    objects.iter().map(|o| self.row(&o.as_ref().encoded.json(), version, include)).collect();
                self.table(version, &meta.to_json(), &rows?, true).into()
            }
        };
        write::whole(self.output, StatusCode::OK, json)
    }

    /// What Go calls the objects within upstream's server.
    fn go_type(&self, suffix: &str) -> String {
        if self.resource.object_type().is_none() {
            return format!("*unstructured.Unstructured{suffix}");
        }
        let package = match self.resource.gr.group.split('.').next() {
            None | Some("" | "events") => "core",
            Some(first) => first,
        };
        format!("*{package}.{}{suffix}", self.resource.kind_name())
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

pub(crate) fn list_head(kind: &str, version: &str, meta: &ListMeta) -> String {
    format!("{{\"kind\":\"{kind}\",\"apiVersion\":\"{version}\",\"metadata\":{},\"items\":[", meta.to_json())
}
