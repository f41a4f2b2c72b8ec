//! Keeps a plugin's panic from being anyone else's problem.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::outcome::Failure;

/// Calls into a plugin; a panic becomes a failure that names it.
///
/// Unwind safety: what a plugin may have left half-done is the notes of the cycle, which end with it.
pub(crate) fn guarded<T>(plugin: &str, point: &'static str, call: impl FnOnce() -> T) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|payload| {
        failure(plugin, format!("plugin {plugin:?} panicked in {point}: {}", words(payload.as_ref())))
    })
}

/// A failure of a plugin.
pub(crate) fn failure(plugin: &str, message: String) -> Failure {
    Failure { plugin: Some(plugin.to_owned()), message }
}

fn words(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
