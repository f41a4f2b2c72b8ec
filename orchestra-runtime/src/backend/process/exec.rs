//! Runs a command to its end and keeps the beginning of what it wrote.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;

use super::supervisor::ended;
use crate::runtime::{Error, ExecOutput, Result};

/// How much of each output is kept.
const MAX_OUTPUT: usize = 16 * 1024;

/// Runs `command`, at most for `timeout`.
pub(super) async fn run(mut command: Command, timeout: Duration) -> Result<ExecOutput> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let child = command.spawn().map_err(|e| Error::Start(format!("exec: {e}")))?;
    let mut child = Group(child);
    let failed = |what: &str, e: io::Error| Error::System { what: what.to_owned(), source: e };
    let pid = Pid::from_raw(child.0.id().cast_signed())
        .ok_or_else(|| Error::State("a process without a number".to_owned()))?;
    let fd = pidfd_open(pid, PidfdFlags::NONBLOCK).map_err(|e| failed("watching a command", e.into()))?;
    let out = child.0.stdout.take().map(|o| pipe::Receiver::from_owned_fd(o.into())).transpose();
    let err = child.0.stderr.take().map(|e| pipe::Receiver::from_owned_fd(e.into())).transpose();
    let (mut out, mut err) =
        out.and_then(|o| err.map(|e| (o, e))).map_err(|e| failed("reading a command's output", e))?;
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let done = {
        // Outputs are read while it runs; that they end says nothing, a command may close them and go on.
        let reading = async {
            tokio::join!(keep(out.as_mut(), &mut stdout), keep(err.as_mut(), &mut stderr));
            std::future::pending().await
        };
        let all = async {
            tokio::select! { done = ended(fd) => done, never = reading => never }
        };
        tokio::time::timeout(timeout, all).await
    };
    drain(out.as_mut(), &mut stdout);
    drain(err.as_mut(), &mut stderr);
    match done {
        Err(_) => Err(Error::Timeout(timeout)),
        Ok(waited) => {
            waited.map_err(|e| failed("waiting for a command", e))?;
            let status = child.0.wait().map_err(|e| failed("waiting for a command", e))?;
            use std::os::unix::process::ExitStatusExt;
            let code = status.code().or(status.signal().map(|s| 128 + s)).unwrap_or(255);
            Ok(ExecOutput { code, stdout, stderr })
        }
    }
}

/// A command's process group, killed when nobody waits for it any more.
pub(super) struct Group(pub(super) std::process::Child);

impl Drop for Group {
    fn drop(&mut self) {
        if let Ok(None) = self.0.try_wait() {
            if let Some(pid) = Pid::from_raw(self.0.id().cast_signed()) {
                let _ = rustix::process::kill_process_group(pid, Signal::KILL);
            }
            let _ = self.0.wait();
        }
    }
}

async fn keep(from: Option<&mut pipe::Receiver>, into: &mut Vec<u8>) {
    let Some(from) = from else { return };
    let mut buffer = [0; 4096];
    while let Ok(read) = from.read(&mut buffer).await {
        if read == 0 {
            return;
        }
        store(into, &buffer[..read]);
    }
}

/// What was written before the end and not read yet; a process that still holds the pipe is not waited for.
fn drain(from: Option<&mut pipe::Receiver>, into: &mut Vec<u8>) {
    let Some(from) = from else { return };
    let mut buffer = [0; 4096];
    while let Ok(read) = from.try_read(&mut buffer) {
        if read == 0 || into.len() >= MAX_OUTPUT {
            return;
        }
        store(into, &buffer[..read]);
    }
}

fn store(into: &mut Vec<u8>, bytes: &[u8]) {
    let room = MAX_OUTPUT.saturating_sub(into.len());
    into.extend_from_slice(&bytes[..bytes.len().min(room)]);
}
