//! Supervision by the embedding program: containers are its children and die with it.
//!
//! The kernel ties a child's death to the *thread* that spawned it. So one thread does nothing but spawn, and lives as
//! long as the runtime: when the runtime is dropped, or the program ends in whatever way, the containers are killed.

use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::mpsc;

use async_trait::async_trait;
use futures::FutureExt;
use jiff::Timestamp;
use rustix::process::Signal;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::sync::oneshot;

use super::input;
use super::launch::{self, Launched};
use super::layout::{ContainerDir, ContainerRecord, ProcessRecord, read_json, write_json};
use super::procfs::ProcessId;
use super::shim::{Log, is_interactive, open_log, write_log};
use super::supervisor::{Adopted, Running, Supervisor, ended, exit_of, lost};
use crate::logs::{Encoder, Stream};
use crate::runtime::{Error, Exit, Result};

struct Order {
    record: ContainerRecord,
    dir: ContainerDir,
    reply: oneshot::Sender<Result<Launched, String>>,
}

/// Supervises children.
#[derive(Debug)]
pub(super) struct Children {
    orders: mpsc::Sender<Order>,
}

impl Children {
    pub(super) fn new() -> std::io::Result<Self> {
        let (orders, inbox) = mpsc::channel::<Order>();
        std::thread::Builder::new().name("orchestra-spawn".to_owned()).stack_size(256 * 1024).spawn(
            move || {
                for order in inbox {
                    let launched = launch::spawn(&order.record, &order.dir, true);
                    if let Err(Ok(mut unwanted)) = order.reply.send(launched) {
                        let _ = unwanted.child.kill();
                        let _ = unwanted.child.wait();
                    }
                }
            },
        )?;
        Ok(Self { orders })
    }
}

#[async_trait]
impl Supervisor for Children {
    async fn start(&self, record: &ContainerRecord, dir: &ContainerDir) -> Result<Running> {
        let log = open_log(record).map_err(Error::Start)?;
        let (reply, answer) = oneshot::channel();
        let gone = || Error::State("the runtime is shutting down".to_owned());
        self.orders.send(Order { record: record.clone(), dir: dir.clone(), reply }).map_err(|_| gone())?;
        let Launched { mut child, terminal } = answer.await.map_err(|_| gone())?.map_err(Error::Start)?;
        let started_at = Timestamp::now();
        let pid = child.id().cast_signed();
        let process = ProcessRecord {
            shim: None,
            process: ProcessId::of(pid).unwrap_or(ProcessId { pid, start: 0, boot: String::new() }),
            started_at,
        };
        let watching = Error::system(format!("watching process {pid}"));
        let prepared = (|| {
            let mut out = child.stdout.take().map(|o| pipe::Receiver::from_owned_fd(o.into())).transpose()?;
            let err = child.stderr.take().map(|e| pipe::Receiver::from_owned_fd(e.into())).transpose()?;
            if let Some(terminal) = &terminal {
                terminal.set_nonblocking()?;
                out = Some(pipe::Receiver::from_owned_fd_unchecked(terminal.another()?)?);
            }
            let input = input::open(record, dir, child.stdin.take(), terminal.as_ref());
            let input = input.map_err(std::io::Error::other)?;
            write_json(&dir.process(), &process)?;
            Ok::<_, std::io::Error>((out, err, input))
        })();
        let (out, err, input) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(watching(error));
            }
        };
        let pumps = [(out, Stream::Stdout), (err, Stream::Stderr)]
            .map(|(from, stream)| tokio::spawn(pump(from, stream, !is_interactive(record), log.clone())));
        let watched = watch(child, process.clone(), dir.clone(), pumps);
        let exit = async move {
            let exit = watched.await;
            drop(input);
            exit
        };
        let exit = exit.boxed();
        Ok(Running { process, exit })
    }

    fn adopt(&self, _: &ContainerRecord, dir: &ContainerDir) -> Result<Adopted> {
        let reading = |e| Error::system(format!("reading {}", dir.0.display()))(e);
        if let Some(exit) = read_json::<Exit>(&dir.exit()).map_err(reading)? {
            return Ok(Adopted::Exited(exit));
        }
        match read_json::<ProcessRecord>(&dir.process()).map_err(reading)? {
            None => Ok(Adopted::NeverStarted),
            Some(process) => {
                // Left by a shim, perhaps; children of ours died with us.
                process.process.signal_group(Signal::KILL);
                let exit = lost(Some(&process), "the program that supervised the container ended");
                write_json(&dir.exit(), &exit).map_err(reading)?;
                Ok(Adopted::Exited(exit))
            }
        }
    }

    fn exec(
        &self,
        record: &ContainerRecord,
        _: &ContainerDir,
        process: &ProcessRecord,
        line: &[String],
        terminal: bool,
    ) -> Result<Command> {
        launch::beside(record, &process.process, line, terminal).map_err(Error::Start)
    }
}

/// Kills the process group when the runtime goes away before the container does.
struct KillOnDrop(Option<Child>);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take()
            && let Ok(None) = child.try_wait()
        {
            signal_group(&child);
            let _ = child.wait();
        }
    }
}

/// The group of a child that was not waited for, so that its number cannot have been used again.
fn signal_group(child: &Child) {
    if let Some(pid) = rustix::process::Pid::from_raw(child.id().cast_signed()) {
        let _ = rustix::process::kill_process_group(pid, Signal::KILL);
    }
}

async fn watch(
    child: Child,
    process: ProcessRecord,
    dir: ContainerDir,
    pumps: [tokio::task::JoinHandle<()>; 2],
) -> Exit {
    let started_at = process.started_at;
    let mut held = KillOnDrop(Some(child));
    if let Some(fd) = pidfd(&process) {
        let _ = ended(fd).await;
    }
    let exit = match held.0.take() {
        Some(mut child) => {
            signal_group(&child);
            let status = child.wait();
            use std::os::unix::process::ExitStatusExt;
            match status {
                Ok(status) => exit_of(status.code(), status.signal(), started_at),
                Err(error) => lost(Some(&process), &error.to_string()),
            }
        }
        None => lost(Some(&process), "the process is gone"),
    };
    for pump in pumps {
        // Ends at once when every writer ended; a writer outside the group must not hold us up.
        let _ = tokio::time::timeout(std::time::Duration::from_secs(2), pump).await;
    }
    if let Err(error) = write_json(&dir.exit(), &exit) {
        tracing::warn!(dir = %dir.0.display(), %error, "the exit of a container could not be written down");
    }
    exit
}

fn pidfd(process: &ProcessRecord) -> Option<OwnedFd> {
    // Our own child, not yet waited for: the number is certainly still its.
    let pid = rustix::process::Pid::from_raw(process.process.pid)?;
    rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::NONBLOCK).ok()
}

async fn pump(from: Option<pipe::Receiver>, stream: Stream, by_line: bool, log: Arc<Log>) {
    let Some(mut from) = from else { return };
    let mut encoder = Encoder::new(stream);
    let mut buffer = vec![0; 8 * 1024];
    let mut out = Vec::new();
    while let Ok(read) = from.read(&mut buffer).await {
        if read == 0 {
            break;
        }
        encoder.push(Timestamp::now(), &buffer[..read], &mut out);
        if !by_line {
            encoder.finish(Timestamp::now(), &mut out);
        }
        write_log(&log, &out);
        out.clear();
    }
    encoder.finish(Timestamp::now(), &mut out);
    write_log(&log, &out);
}
