//! Which objects a request or a controller means: label selectors and field selectors.
//!
//! Syntax, matching and error texts are those of `k8s.io/apimachinery/pkg/labels` and `/fields`. Selectors come from
//! outside, so their text is limited in length ([`MAX_TEXT`]) before it is read.

mod field;
mod label;
mod parse;

pub use field::{FieldOperator, FieldRequirement, FieldSelector};
pub use label::{LabelSelector, Labels, Operator, Requirement};

/// The longest text of a selector, in bytes. Go's server takes no more than a mebibyte of request line and headers;
/// a quarter of it holds every selector that was ever useful.
pub const MAX_TEXT: usize = 256 * 1024;

/// A selector that cannot be understood; the API server answers 400 with this message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SelectorError(pub(crate) String);

fn check_length(text: &str) -> Result<(), SelectorError> {
    if text.len() > MAX_TEXT {
        let length = text.len();
        return Err(SelectorError(format!(
            "selector of {length} bytes is too long, at most {MAX_TEXT} are allowed"
        )));
    }
    Ok(())
}
