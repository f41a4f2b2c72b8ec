//! Request bodies as JSON trees.

use http::{HeaderMap, header};
use serde_json::Value;

use crate::query::FieldValidation;
use crate::status::StatusError;

/// What bodies with objects may come as.
const MEDIA_TYPES: &[&str] = &["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];

/// A decoded body.
#[derive(Debug)]
pub(crate) struct Decoded {
    pub(crate) value: Value,
    /// What was dropped, for Warning headers.
    pub(crate) warnings: Vec<String>,
}

/// The media type of the body, without parameters.
pub(crate) fn media_type(headers: &HeaderMap) -> &str {
    let text = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim()
}

/// Reads an object out of a body.
pub(crate) fn object(
    headers: &HeaderMap,
    body: &[u8],
    _validation: FieldValidation,
) -> Result<Decoded, StatusError> {
    let value = match media_type(headers) {
        "application/json" | "" => serde_json::from_slice(body)
            .map_err(|error| StatusError::bad_request(format!("the object provided is unrecognized: {error}")))?,
        "application/yaml" => yaml(body)?,
        _ => return Err(StatusError::unsupported_media_type(MEDIA_TYPES)),
    };
    Ok(Decoded { value, warnings: Vec::new() })
}

fn yaml(body: &[u8]) -> Result<Value, StatusError> {
    let text = std::str::from_utf8(body).map_err(|error| StatusError::bad_request(error.to_string()))?;
    serde_yaml::from_str(text).map_err(|error| StatusError::bad_request(format!("error converting YAML to JSON: {error}")))
}
