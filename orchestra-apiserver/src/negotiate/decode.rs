//! Request bodies as JSON trees.

use http::{HeaderMap, header};
use orchestra_core::custom::CustomKind;
use orchestra_core::gvk::GroupVersion;
use orchestra_core::protobuf::Envelope;
use orchestra_core::schema::{self, DecodeError, Format, ObjectType, Problem};
use serde_json::Value;

use super::accept::MEDIA_TYPES;
use crate::query::FieldValidation;
use crate::state::Call;
use crate::status::StatusError;

/// What bodies with custom resources may come as.
const CUSTOM_MEDIA_TYPES: &[&str] = &["application/json", "application/yaml"];
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// A decoded body: pruned, and lean in the sense of [`schema`].
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

enum Syntax {
    Text(Format),
    Protobuf,
}

fn syntax(headers: &HeaderMap) -> Result<Syntax, StatusError> {
    match media_type(headers) {
        "application/json" | "" => Ok(Syntax::Text(Format::Json)),
        "application/yaml" => Ok(Syntax::Text(Format::Yaml)),
        PROTOBUF => Ok(Syntax::Protobuf),
        _ => Err(StatusError::unsupported_media_type(MEDIA_TYPES)),
    }
}

/// Reads the object a request brings.
pub(crate) fn object(call: &Call, validation: FieldValidation) -> Result<Decoded, StatusError> {
    let (gv, kind) = (&call.resource.description().gv, call.resource.kind_name());
    if let Some(custom) = call.resource.custom() {
        return custom_object(call, custom, validation);
    }
    typed(&call.headers, &call.body, gv, kind, call.resource.object_type(), validation)
}

/// Reads a custom resource, which comes as text only.
fn custom_object(
    call: &Call,
    custom: &CustomKind,
    validation: FieldValidation,
) -> Result<Decoded, StatusError> {
    let (gv, kind) = (&call.resource.description().gv, call.resource.kind_name());
    let format = match syntax(&call.headers) {
        Ok(Syntax::Text(format)) => format,
        _ => return Err(StatusError::unsupported_media_type(CUSTOM_MEDIA_TYPES)),
    };
    let bad =
        |error: DecodeError| StatusError::bad_request(error.message(&gv.version, kind, kind, &call.body));
    let mut decoded = schema::decode_untyped(&call.body, format).map_err(bad)?;
    if decoded.value.is_object() {
        decoded.problems.extend(custom.conform(&mut decoded.value).map_err(bad)?);
    }
    judge(decoded.value, &decoded.problems, validation, gv, kind)
}

/// Reads an object of a kind that is not the resource's own, as subresources take them.
pub(crate) fn other(call: &Call, gv: &GroupVersion, kind: &str) -> Result<Decoded, StatusError> {
    by_kind(&call.headers, &call.body, gv, kind, call.options.field_validation)
}

/// Reads an object of a kind that has no resource of its own.
pub(crate) fn by_kind(
    headers: &HeaderMap,
    body: &[u8],
    gv: &GroupVersion,
    kind: &str,
    validation: FieldValidation,
) -> Result<Decoded, StatusError> {
    typed(headers, body, gv, kind, schema::of_kind(gv, kind), validation)
}

fn typed(
    headers: &HeaderMap,
    body: &[u8],
    gv: &GroupVersion,
    kind: &str,
    ty: Option<&'static ObjectType>,
    validation: FieldValidation,
) -> Result<Decoded, StatusError> {
    let format = match syntax(headers)? {
        Syntax::Text(format) => format,
        // Kinds made at run time have no protobuf form.
        Syntax::Protobuf if ty.is_none() => {
            return Err(StatusError::unsupported_media_type(&["application/json", "application/yaml"]));
        }
        Syntax::Protobuf => {
            let envelope = Envelope::open(body).map_err(bad)?;
            let value = envelope.decode(&gv.to_string(), kind).map_err(bad)?;
            return Ok(Decoded { value, warnings: Vec::new() });
        }
    };
    let decoded = match ty {
        Some(ty) => schema::decode(body, format, ty),
        None => schema::decode_untyped(body, format),
    };
    let decoded =
        decoded.map_err(|error| StatusError::bad_request(error.message(&gv.version, kind, kind, body)))?;
    judge(decoded.value, &decoded.problems, validation, gv, kind)
}

fn judge(
    value: Value,
    problems: &[Problem],
    validation: FieldValidation,
    gv: &GroupVersion,
    kind: &str,
) -> Result<Decoded, StatusError> {
    match refused(problems, validation) {
        Some(error) => Err(StatusError::bad_request(error.message(&gv.version, kind, kind, b""))),
        None => Ok(Decoded { value, warnings: warnings(problems, validation) }),
    }
}

/// Why `problems` are too much for this validation.
pub(crate) fn refused(problems: &[Problem], validation: FieldValidation) -> Option<DecodeError> {
    let strict = validation == FieldValidation::Strict && !problems.is_empty();
    strict.then(|| schema::strict_error(problems))
}

/// What a client hears of `problems` that are not too much.
pub(crate) fn warnings(problems: &[Problem], validation: FieldValidation) -> Vec<String> {
    match validation {
        FieldValidation::Warn => problems.iter().map(ToString::to_string).collect(),
        _ => Vec::new(),
    }
}

/// Reads `DeleteOptions`, which may lack kind and version.
pub(crate) fn options(headers: &HeaderMap, body: &[u8]) -> Result<Value, StatusError> {
    let gv = GroupVersion::new("", "v1");
    match syntax(headers)? {
        Syntax::Text(format) => {
            let decoded = schema::decode_untyped(body, format);
            decoded.map(|d| d.value).map_err(|error| {
                StatusError::bad_request(error.message("v1", "DeleteOptions", "DeleteOptions", body))
            })
        }
        Syntax::Protobuf => {
            let ty = schema::by_name("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions")
                .or_else(|| schema::of_kind(&gv, "DeleteOptions"))
                .ok_or_else(|| StatusError::unsupported_media_type(MEDIA_TYPES))?;
            let envelope = Envelope::open(body).map_err(bad)?;
            orchestra_core::protobuf::decode(envelope.raw, ty).map_err(bad)
        }
    }
}

fn bad(error: impl std::fmt::Display) -> StatusError {
    StatusError::bad_request(error.to_string())
}

/// The merge rules of the resource's kind; kinds without a schema know no strategic patch.
pub(crate) fn patch_schema(call: &Call) -> Result<&'static ObjectType, StatusError> {
    call.resource.object_type().ok_or_else(|| {
        StatusError::unsupported_media_type(&[
            "application/json-patch+json",
            "application/merge-patch+json",
            "application/apply-patch+yaml",
        ])
    })
}
