//! What can be wrong with a request body, in the words of `sigs.k8s.io/json` and of the API server around it.

use std::fmt;

/// What strict decoding minds and lenient decoding passes over.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Problem {
    /// The type has no field of this path.
    UnknownField(String),
    /// The field or map key of this path occurs more than once in one object.
    DuplicateField(String),
}

/// As upstream puts it in a `Warning` header and behind `strict decoding error:`.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownField(path) => write!(f, "unknown field {}", quote(path)),
            Self::DuplicateField(path) => write!(f, "duplicate field {}", quote(path)),
        }
    }
}

/// The error of a body that has `problems` where strict validation was asked for.
///
/// The `message` of the Status, a 400 `BadRequest`, is what [`DecodeError::Content`] makes of it.
pub fn strict_error(problems: &[Problem]) -> DecodeError {
    let list: Vec<String> = problems.iter().map(ToString::to_string).collect();
    DecodeError::Content(format!("strict decoding error: {}", list.join(", ")))
}

/// Why a body cannot be read at all: a 400 `BadRequest`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// It is no JSON, or no YAML.
    #[error("{0}")]
    Syntax(String),
    /// A value does not fit its field.
    #[error("{0}")]
    Content(String),
}

impl DecodeError {
    /// The message of the Status for a body that says it is a `kind` of `version` (the last part of its `apiVersion`) where
    /// a `wanted` is expected. `body` is shown, shortened, where it could not even be parsed.
    pub fn message(&self, version: &str, kind: &str, wanted: &str, body: &[u8]) -> String {
        match self {
            Self::Content(_) => {
                format!("{kind} in version {} cannot be handled as a {wanted}: {self}", quote(version))
            }
            Self::Syntax(_) => {
                format!(
                    "the object provided is unrecognized (must be of type {wanted}): {self} ({})",
                    summary(body)
                )
            }
        }
    }
}

/// The start of a body: text when it looks like JSON, otherwise hexadecimal.
fn summary(body: &[u8]) -> String {
    const SHOWN: usize = 30;
    let (start, more) = match body.get(..SHOWN) {
        Some(start) if body.len() > SHOWN => (start, " ..."),
        _ => (body, ""),
    };
    match body.first() {
        None => "<empty>".to_owned(),
        Some(b'{') => String::from_utf8_lossy(start).into_owned() + more,
        Some(_) => start.iter().map(|byte| format!("{byte:02x}")).collect::<String>() + more,
    }
}

/// Text as Go's `%q` shows it, near enough: JSON's quoting agrees on all that occurs in field names.
fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_are_listed_in_one_error() {
        let problems =
            [Problem::UnknownField("spec.foo".into()), Problem::DuplicateField("metadata.name".into())];
        assert_eq!(
            strict_error(&problems).message("v1", "Deployment", "Deployment", b"{}"),
            r#"Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: unknown field "spec.foo", duplicate field "metadata.name""#
        );
    }

    #[test]
    fn a_body_that_does_not_parse_is_shown_in_short() {
        let error = DecodeError::Syntax("unexpected end".into());
        assert_eq!(
            error.message("", "", "Pod", b"{"),
            "the object provided is unrecognized (must be of type Pod): unexpected end ({)"
        );
        assert!(error.message("", "", "Pod", b"").ends_with("(<empty>)"));
        assert!(error.message("", "", "Pod", &[0xff; 40]).ends_with(&format!("({} ...)", "ff".repeat(30))));
    }
}
