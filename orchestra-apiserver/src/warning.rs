//! `Warning` headers: what clients print besides the result.

use http::{HeaderValue, Response};

use crate::body::Body;

/// More than this is not worth anybody's time.
const MAX_WARNINGS: usize = 50;

/// Adds `Warning: 299 - "…"` for each text.
pub(crate) fn add(response: &mut Response<Body>, warnings: &[String]) {
    for text in warnings.iter().take(MAX_WARNINGS) {
        let quoted = text.replace('\\', "\\\\").replace('"', "\\\"").replace(['\n', '\r'], " ");
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{quoted}\"")) {
            response.headers_mut().append(http::header::WARNING, value);
        }
    }
}
