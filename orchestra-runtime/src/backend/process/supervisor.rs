//! Who watches over a container's process: a shim beside the agent, or the embedding program itself.

use std::fmt::Debug;
use std::io;
use std::os::fd::OwnedFd;
use std::process::Command;

use async_trait::async_trait;
use futures::future::BoxFuture;
use jiff::Timestamp;

use super::layout::{ContainerDir, ContainerRecord, ProcessRecord};
use crate::runtime::{Exit, Result};

/// A container that runs.
pub(super) struct Running {
    pub(super) process: ProcessRecord,
    /// Yields once it ended.
    pub(super) exit: BoxFuture<'static, Exit>,
}

/// What became of a container an earlier runtime started.
pub(super) enum Adopted {
    Running(Running),
    Exited(Exit),
    /// It was never started, and now never will be.
    NeverStarted,
}

/// Starts programs and learns how they end.
#[async_trait]
pub(super) trait Supervisor: Debug + Send + Sync {
    async fn start(&self, record: &ContainerRecord, dir: &ContainerDir) -> Result<Running>;

    /// Finds out about a container found on disk.
    fn adopt(&self, record: &ContainerRecord, dir: &ContainerDir) -> Result<Adopted>;

    /// The command that executes `line` beside a running container, and is told when it has a terminal.
    fn exec(
        &self,
        record: &ContainerRecord,
        dir: &ContainerDir,
        process: &ProcessRecord,
        line: &[String],
        terminal: bool,
    ) -> Result<Command>;
}

/// Waits until the process behind a pidfd ended.
pub(super) async fn ended(pidfd: OwnedFd) -> io::Result<()> {
    crate::sys::readable(pidfd)?.readable().await.map(drop)
}

/// The exit of a process whose supervisor is gone and left no word.
pub(super) fn lost(process: Option<&ProcessRecord>, message: &str) -> Exit {
    Exit {
        code: 137,
        signal: None,
        started_at: process.map(|p| p.started_at),
        finished_at: Timestamp::now(),
        reason: Some("ContainerStatusUnknown".to_owned()),
        message: Some(message.to_owned()),
    }
}

/// The exit a wait status tells, counted as shells do.
pub(super) fn exit_of(code: Option<i32>, signal: Option<i32>, started_at: Timestamp) -> Exit {
    Exit {
        code: code.or(signal.map(|s| 128 + s)).unwrap_or(255),
        signal,
        started_at: Some(started_at),
        finished_at: Timestamp::now(),
        reason: None,
        message: None,
    }
}
