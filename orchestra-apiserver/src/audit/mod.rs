//! The audit log: who asked for what, when, and what came of it.
//!
//! A [`AuditPolicy`] says how much of a request is told; an [`AuditSink`] takes what is told, [`AuditLog`] into a file. Events are
//! `audit.k8s.io/v1`, one JSON text each, at upstream's stages.
//!
//! The log never holds up a request without bound: one waits at most [`PATIENCE`] for a sink that is behind, and what the sink then
//! cannot take is counted and lost.

mod event;
mod log;
mod policy;
mod read;
mod rotation;
mod trail;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

pub use log::{AuditLog, AuditLogOptions};
pub use policy::{AuditLevel, AuditPolicy, AuditStage};
pub(crate) use trail::{Trail, Trails, Tunnelled};

/// How long a request waits for a sink that is behind.
const PATIENCE: Duration = Duration::from_secs(1);

/// Takes audit events.
///
/// # Contract
/// 1. `offer` never waits: it takes the event or refuses it. Events are offered in the order in which they happen to one request.
/// 2. `ready` returns when there is room for some events again. A server asks it before a request that will be told about, and
///    gives up after a second.
/// 3. `flush` returns when what was taken is where it belongs.
///
/// ```
/// use bytes::Bytes;
/// use orchestra_apiserver::{AuditRefused, AuditSink};
///
/// /// Prints what happens.
/// #[derive(Debug)]
/// struct Printed;
///
/// #[async_trait::async_trait]
/// impl AuditSink for Printed {
///     fn offer(&self, event: Bytes) -> Result<(), AuditRefused> {
///         println!("{}", String::from_utf8_lossy(&event));
///         Ok(())
///     }
///     async fn ready(&self) {}
///     async fn flush(&self) {}
/// }
/// ```
#[async_trait]
pub trait AuditSink: Debug + Send + Sync + 'static {
    /// Takes an event: one line of JSON, without its end.
    ///
    /// # Errors
    /// There is no room, or no way to keep it.
    fn offer(&self, event: Bytes) -> Result<(), AuditRefused>;

    /// Waits for room.
    async fn ready(&self);

    /// Waits until everything taken so far is kept.
    async fn flush(&self);
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<T: AuditSink + ?Sized> AuditSink for Arc<T> {
    fn offer(&self, event: Bytes) -> Result<(), AuditRefused> {
        self.as_ref().offer(event)
    }

    async fn ready(&self) {
        self.as_ref().ready().await;
    }

    async fn flush(&self) {
        self.as_ref().flush().await;
    }
}

/// A sink did not take an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the audit event was not taken")]
pub struct AuditRefused;
