//! Streams between a client and a container: the protocols of `exec`, `attach` and `port-forward`.
//!
//! A client asks for an upgrade of its HTTP connection and says which protocols it speaks ([`upgrade`]). What follows
//! are either messages on the numbered channels of `channel.k8s.io` over WebSocket ([`channel`]), or streams of SPDY/3.1
//! ([`spdy`]), which for port-forward may travel inside WebSocket messages ([`tunnel`]). Both end in the same plain
//! readers and writers that a [`ContainerRuntime`](crate::runtime::ContainerRuntime) is given.
//!
//! Backpressure: nothing is queued beyond one pipe of [`PIPE`] bytes for each direction of each stream. A client that
//! does not read makes the program's writes wait; a program that does not read makes the client's wait.

pub(crate) mod channel;
pub(crate) mod command;
pub(crate) mod forward;
pub(crate) mod spdy;
pub(crate) mod status;
pub(crate) mod tunnel;
pub(crate) mod upgrade;

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

/// How much of a stream is held between its two ends.
pub(crate) const PIPE: usize = 32 * 1024;
/// How long a client may take to open the streams it needs, as upstream's `StreamCreationTimeout`.
pub(crate) const CREATION: Duration = Duration::from_secs(30);
/// How long what was written last may take to reach a client that reads slowly.
pub(crate) const FAREWELL: Duration = Duration::from_secs(30);

/// A connection whose protocol was changed.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Duplex for T {}
