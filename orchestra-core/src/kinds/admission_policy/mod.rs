//! Admission from outside: configurations of webhooks, and policies in CEL with what binds them.
//!
//! Expressions are looked at for being there, not for being CEL: who runs them compiles them.

mod binding;
mod matching;
mod policy;
mod webhook;

pub(super) use binding::{mutating as mutating_binding, validating as validating_binding};
pub(super) use policy::{mutating as mutating_policy, validating as validating_policy};
pub(super) use webhook::{mutating as mutating_webhooks, validating as validating_webhooks};

use crate::gvk::GroupVersion;

const GROUP: GroupVersion = GroupVersion::new("admissionregistration.k8s.io", "v1");
const CATEGORY: &str = "api-extensions";
/// What becomes of a request that cannot be judged.
const FAILURE_POLICIES: &[&str] = &["Fail", "Ignore"];
