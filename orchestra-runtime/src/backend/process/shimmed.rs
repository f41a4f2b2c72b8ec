//! The agent's side of the shim.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::unix::pipe;

use super::layout::{ContainerDir, ContainerRecord, ProcessRecord, read_json};
use super::procfs::ProcessId;
use super::shim::{EXEC, EXEC_ON_TERMINAL, Handshake, RUN};
use super::supervisor::{Adopted, Running, Supervisor, ended, lost};
use crate::runtime::{Error, Exit, Result};

/// The longest handshake that makes sense.
const MAX_HANDSHAKE: u64 = 64 * 1024;
/// How long a shim that an agent started just before it was killed may take to say so.
const STARTING: Duration = Duration::from_secs(2);

/// Supervises through shims.
#[derive(Debug)]
pub(super) struct Shimmed {
    pub(super) program: PathBuf,
    pub(super) args: Vec<String>,
}

impl Shimmed {
    fn command(&self, verb: &str, dir: &ContainerDir) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args).arg(verb).arg(&dir.0).stdin(Stdio::null());
        command
    }
}

#[async_trait]
impl Supervisor for Shimmed {
    async fn start(&self, _: &ContainerRecord, dir: &ContainerDir) -> Result<Running> {
        let starting = || format!("starting the shim {}", self.program.display());
        let mut child = self
            .command(RUN, dir)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(Error::system(starting()))?;
        let handshake = handshake(&mut child).await;
        match handshake {
            Ok(Handshake::Started(process)) => {
                let exit = watch(process.clone(), dir.clone(), Some(child)).boxed();
                Ok(Running { process, exit })
            }
            Ok(Handshake::Failed(message)) => {
                reap(child).await;
                Err(Error::Start(message))
            }
            Err(source) => {
                let _ = child.kill();
                reap(child).await;
                Err(Error::System { what: starting(), source })
            }
        }
    }

    fn adopt(&self, _: &ContainerRecord, dir: &ContainerDir) -> Result<Adopted> {
        let reading = |e| Error::system(format!("reading {}", dir.0.display()))(e);
        if let Some(exit) = read_json::<Exit>(&dir.exit()).map_err(reading)? {
            return Ok(Adopted::Exited(exit));
        }
        let Some(process) = started(dir).map_err(reading)? else { return Ok(Adopted::NeverStarted) };
        let exit = watch(process.clone(), dir.clone(), None).boxed();
        Ok(Adopted::Running(Running { process, exit }))
    }

    fn exec(
        &self,
        _: &ContainerRecord,
        dir: &ContainerDir,
        _: &ProcessRecord,
        line: &[String],
        terminal: bool,
    ) -> Result<Command> {
        let mut command = self.command(if terminal { EXEC_ON_TERMINAL } else { EXEC }, dir);
        command.args(line);
        Ok(command)
    }
}

/// The process of a container found on disk. A shim holds the lock from its first moment, so a container whose lock is
/// free and that has no process yet will never have one, once the caller removed its record.
fn started(dir: &ContainerDir) -> std::io::Result<Option<ProcessRecord>> {
    let deadline = std::time::Instant::now() + STARTING;
    loop {
        if let Some(process) = read_json(&dir.process())? {
            return Ok(Some(process));
        }
        let lock = std::fs::OpenOptions::new().create(true).append(true).open(dir.lock())?;
        if lock.try_lock().is_ok() {
            std::fs::remove_file(dir.record())?;
            return Ok(None);
        }
        if std::time::Instant::now() > deadline {
            return Err(std::io::Error::new(std::io::ErrorKind::TimedOut, "a shim does not come up"));
        }
        // Only after a kill within the very millisecond between a shim's start and its program's.
        std::thread::sleep(Duration::from_millis(1));
    }
}

async fn handshake(child: &mut Child) -> std::io::Result<Handshake> {
    let stdout = child.stdout.take().ok_or_else(|| std::io::Error::other("no output"))?;
    let pipe = pipe::Receiver::from_owned_fd(stdout.into())?;
    let mut line = String::new();
    BufReader::new(pipe.take(MAX_HANDSHAKE)).read_line(&mut line).await?;
    if line.is_empty() {
        return Err(std::io::Error::other("it ended without a word"));
    }
    serde_json::from_str(&line).map_err(Into::into)
}

/// Waits for the shim's end, which comes right after it wrote the exit.
async fn watch(process: ProcessRecord, dir: ContainerDir, child: Option<Child>) -> Exit {
    if let Some(shim) = process.shim.as_ref().and_then(ProcessId::open)
        && let Err(error) = ended(shim).await
    {
        return lost(Some(&process), &format!("the shim cannot be watched: {error}"));
    }
    if let Some(child) = child {
        reap(child).await;
    }
    match read_json(&dir.exit()) {
        Ok(Some(exit)) => exit,
        Ok(None) => {
            // The kernel kills the program with its shim; this is for kernels that were late.
            process.process.signal_group(rustix::process::Signal::KILL);
            lost(Some(&process), "the shim was killed, and the container with it")
        }
        Err(error) => lost(Some(&process), &format!("the exit cannot be read: {error}")),
    }
}

/// Buries a shim that ended or is about to.
async fn reap(mut child: Child) {
    if let Ok(None) = child.try_wait() {
        let pid = child.id().cast_signed();
        if let Some(fd) = ProcessId::of(pid).as_ref().and_then(ProcessId::open) {
            let _ = ended(fd).await;
        }
        let _ = child.try_wait();
    }
}
