//! Programs of users that the server asks over HTTPS: webhooks of admission, and of conversions.
//!
//! An [`Endpoint`] is a `clientConfig` made ready once; [`Client`] finds where it is at the moment and posts to it. Redirects are
//! not followed, answers are bounded, and addresses that belong to a machine alone are asked only where
//! [`WebhookTargets`] allows them.

mod answer;
mod client;
mod endpoint;
mod target;

pub(crate) use client::Client;
pub(crate) use endpoint::Endpoint;
pub use target::WebhookTargets;
