//! What is wrong with an object: a list of violations, each with the path of its field.
//!
//! Wording and shape follow `k8s.io/apimachinery/pkg/util/validation/field/errors.go`, because clients print them.

use std::fmt;

use serde_json::Value;

/// The path of a field as error messages show it: `spec.containers[0].name`, `metadata.labels[app]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FieldPath(String);

impl FieldPath {
    /// A path of one field at the top of an object.
    pub fn new(field: &str) -> Self {
        Self(field.to_owned())
    }

    /// The path of the object itself.
    pub fn root() -> Self {
        Self::default()
    }

    /// The field `name` of what this path leads to.
    #[must_use]
    pub fn child(&self, name: &str) -> Self {
        if self.0.is_empty() { Self(name.to_owned()) } else { self.with([".", name]) }
    }

    /// The item at `index` of the list this path leads to.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.with(["[", &index.to_string(), "]"])
    }

    /// The value under `key` of the map this path leads to.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        self.with(["[", key, "]"])
    }

    /// The path with more text behind it. Paths are made for every field that is checked, whether anything is wrong or not, and
    /// formatting takes several times as long.
    fn with<const N: usize>(&self, more: [&str; N]) -> Self {
        let mut path =
            String::with_capacity(self.0.len() + more.iter().map(|text| text.len()).sum::<usize>());
        path.push_str(&self.0);
        more.iter().for_each(|text| path.push_str(text));
        Self(path)
    }

    /// The path as text; empty for the object itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "<nil>" } else { &self.0 })
    }
}

/// The class of a violation; [`Reason::cause`] is the `reason` of a `Status` cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// A needed value is missing.
    Required,
    /// The value breaks a rule of its field.
    Invalid,
    /// The value is not one of the allowed ones.
    NotSupported,
    /// A value that must be unique occurs twice.
    Duplicate,
    /// The field may not be set, or not changed, here.
    Forbidden,
    /// The text is longer than allowed.
    TooLong,
    /// The list or map has more items than allowed.
    TooMany,
    /// The thing named by the value does not exist.
    NotFound,
    /// The value has another JSON type than its field.
    TypeInvalid,
}

impl Reason {
    /// The `reason` of the matching `metav1.StatusCause`.
    pub fn cause(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Duplicate => "FieldValueDuplicate",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::NotFound => "FieldValueNotFound",
            Self::TypeInvalid => "FieldValueTypeInvalid",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Required => "Required value",
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Duplicate => "Duplicate value",
            Self::Forbidden => "Forbidden",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
            Self::NotFound => "Not found",
        }
    }
}

/// One thing that is wrong with an object.
#[derive(Clone, Debug, PartialEq)]
pub struct Violation {
    /// The field that is wrong.
    pub path: FieldPath,
    /// What class of wrong it is.
    pub reason: Reason,
    /// The bad value, where upstream shows it.
    pub value: Option<Value>,
    /// What the rule is; may be empty.
    pub detail: String,
}

impl Violation {
    fn new(path: &FieldPath, reason: Reason, value: Option<Value>, detail: impl Into<String>) -> Self {
        Self { path: path.clone(), reason, value, detail: detail.into() }
    }

    /// A needed value is missing.
    pub fn required(path: &FieldPath, detail: impl Into<String>) -> Self {
        Self::new(path, Reason::Required, None, detail)
    }

    /// The value breaks a rule of its field.
    pub fn invalid(path: &FieldPath, value: impl Into<Value>, detail: impl Into<String>) -> Self {
        Self::new(path, Reason::Invalid, Some(value.into()), detail)
    }

    /// The value is none of `supported`; the message lists them in the given order.
    pub fn not_supported(path: &FieldPath, value: impl Into<Value>, supported: &[&str]) -> Self {
        let quoted: Vec<String> = supported.iter().map(|s| format!("{s:?}")).collect();
        let detail = if quoted.is_empty() {
            String::new()
        } else {
            format!("supported values: {}", quoted.join(", "))
        };
        Self::new(path, Reason::NotSupported, Some(value.into()), detail)
    }

    /// The value occurs a second time.
    pub fn duplicate(path: &FieldPath, value: impl Into<Value>) -> Self {
        Self::new(path, Reason::Duplicate, Some(value.into()), "")
    }

    /// The field may not be set here.
    pub fn forbidden(path: &FieldPath, detail: impl Into<String>) -> Self {
        Self::new(path, Reason::Forbidden, None, detail)
    }

    /// The text is longer than `max` bytes.
    pub fn too_long(path: &FieldPath, max: usize) -> Self {
        Self::new(path, Reason::TooLong, None, format!("may not be more than {max} bytes"))
    }

    /// The list has `actual` items, more than `max`.
    pub fn too_many(path: &FieldPath, actual: usize, max: usize) -> Self {
        Self::new(path, Reason::TooMany, Some(actual.into()), format!("must have at most {max} items"))
    }

    /// The thing named by the value does not exist.
    pub fn not_found(path: &FieldPath, value: impl Into<Value>) -> Self {
        Self::new(path, Reason::NotFound, Some(value.into()), "")
    }

    /// The message of the matching `metav1.StatusCause`: everything but the path.
    pub fn message(&self) -> String {
        let mut message = self.reason.text().to_owned();
        if let Some(value) = &self.value {
            message.push_str(": ");
            // Text is quoted, as Go's %q does; everything else stands as JSON.
            message.push_str(&value.to_string());
        }
        if !self.detail.is_empty() {
            message.push_str(": ");
            message.push_str(&self.detail);
        }
        message
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message())
    }
}

/// All violations found in an object, in the order they were found. Empty means valid.
pub type Violations = Vec<Violation>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_read_as_upstream_words_them() {
        let path = FieldPath::new("spec").child("containers").index(0).child("name");
        assert_eq!(Violation::required(&path, "").to_string(), "spec.containers[0].name: Required value");
        assert_eq!(
            Violation::not_supported(&path, "x", &["A", "B"]).to_string(),
            r#"spec.containers[0].name: Unsupported value: "x": supported values: "A", "B""#
        );
        assert_eq!(
            Violation::invalid(&FieldPath::new("spec").child("replicas"), -1, "must be positive").to_string(),
            "spec.replicas: Invalid value: -1: must be positive"
        );
    }
}
