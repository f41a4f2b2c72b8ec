//! What a runtime connects a command, a container or a port to.

use std::fmt;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

/// Where a program's input comes from. Its end is the end of the input.
pub type Input = Box<dyn AsyncRead + Send + Unpin>;
/// Where a program's output goes. It takes no more than the client reads.
pub type Output = Box<dyn AsyncWrite + Send + Unpin>;

/// A connection to a port of a pod.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// The size of a terminal, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TerminalSize {
    /// Characters in a line.
    pub columns: u16,
    /// Lines.
    pub rows: u16,
}

/// The streams of a command or a container, as far as the client wants them.
#[derive(Default)]
#[non_exhaustive]
pub struct Streams {
    /// Its input; without one, it reads nothing.
    pub stdin: Option<Input>,
    /// Its output, and with a terminal the errors, too.
    pub stdout: Option<Output>,
    /// Its errors; never with a terminal.
    pub stderr: Option<Output>,
    /// With a terminal: its size, `None` until the client told it.
    pub terminal: Option<watch::Receiver<Option<TerminalSize>>>,
}

impl Streams {
    /// No streams at all; set what there is.
    pub fn new() -> Self {
        Self::default()
    }
}

impl fmt::Debug for Streams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streams")
            .field("stdin", &self.stdin.is_some())
            .field("stdout", &self.stdout.is_some())
            .field("stderr", &self.stderr.is_some())
            .field("terminal", &self.terminal.is_some())
            .finish()
    }
}
