//! Changes to objects as clients send them: JSON patch, merge patch, strategic merge patch, server-side apply.
//!
//! All work on JSON trees and leave both arguments alone. Whether the result is still an object of its kind is for
//! the schema to say. [`PatchError`] carries the status upstream answers with, which is not always the one to expect.

pub mod apply;
pub mod json;
pub mod merge;
pub mod strategic;

/// Why a patch could not be applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatchError {
    /// Not a patch of this sort: 400, reason `BadRequest`.
    #[error("{0}")]
    Malformed(String),
    /// More operations than allowed: 413, reason `RequestEntityTooLarge`.
    #[error("{0}")]
    TooLarge(String),
    /// A patch that does not fit the object: 422, reason `Invalid`. Upstream answers with this generic text and
    /// keeps the cause to itself; it is here for logs.
    #[error("the server rejected our request due to an error in our request")]
    Unprocessable {
        /// What did not fit.
        cause: String,
    },
    /// What upstream does not foresee and so reports as its own fault: 500, reason `InternalError`.
    #[error("{0}")]
    Internal(String),
}

impl PatchError {
    /// The status of HTTP to answer with.
    pub fn status(&self) -> u16 {
        match self {
            Self::Malformed(_) => 400,
            Self::TooLarge(_) => 413,
            Self::Unprocessable { .. } => 422,
            Self::Internal(_) => 500,
        }
    }
}
