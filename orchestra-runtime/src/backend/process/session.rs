//! Runs a command on a client's streams, with a terminal or without.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::exec::Group;
use super::supervisor::ended;
use crate::runtime::{Error, Input, Output, Result, Streams, TerminalSize};
use crate::sys::{self, Terminal};

/// Bytes moved at once.
const CHUNK: usize = 16 * 1024;
/// What a terminal takes for the end of input.
const END_OF_TRANSMISSION: u8 = 4;

/// Runs `command` to its end. Dropped, it kills the command's process group.
pub(super) async fn run(mut command: Command, streams: Streams) -> Result<i32> {
    let started = if streams.terminal.is_some() {
        on_terminal(&mut command, streams)
    } else {
        on_pipes(&mut command, streams)
    };
    // With its copies of the descriptors, the command would keep a terminal from ending.
    drop(command);
    let (mut child, io) = started?;
    let failed = |source: io::Error| Error::System { what: "waiting for a command".to_owned(), source };
    let pid = Pid::from_raw(child.0.id().cast_signed())
        .ok_or_else(|| Error::State("a process without a number".to_owned()))?;
    let fd = pidfd_open(pid, PidfdFlags::NONBLOCK).map_err(|e| failed(e.into()))?;
    let over = CancellationToken::new();
    let waiting = async {
        let waited = ended(fd).await;
        over.cancel();
        waited
    };
    let output = async { tokio::join!(carry(io.stdout, &over), carry(io.stderr, &over)) };
    let input = async {
        // The input may go on for longer than the command: it is never waited for.
        tokio::join!(feed(io.stdin, io.terminal.is_some()), follow_size(io.terminal));
        std::future::pending::<()>().await;
    };
    tokio::select! {
        (waited, _) = async { tokio::join!(waiting, output) } => waited.map_err(failed)?,
        () = input => {}
    }
    let status = child.0.wait().map_err(failed)?;
    Ok(status.code().or(status.signal().map(|s| 128 + s)).unwrap_or(255))
}

/// The two ends of each stream that there is.
#[derive(Default)]
struct Ends {
    stdin: Option<(Input, pipe::Sender)>,
    stdout: Option<(pipe::Receiver, Output)>,
    stderr: Option<(pipe::Receiver, Output)>,
    terminal: Option<(Terminal, watch::Receiver<Option<TerminalSize>>)>,
}

fn spawn(command: &mut Command) -> Result<Group> {
    command.spawn().map(Group).map_err(|e| Error::Start(format!("exec: {e}")))
}

fn on_pipes(command: &mut Command, streams: Streams) -> Result<(Group, Ends)> {
    let wanted = |there: bool| if there { Stdio::piped() } else { Stdio::null() };
    command
        .stdin(wanted(streams.stdin.is_some()))
        .stdout(wanted(streams.stdout.is_some()))
        .stderr(wanted(streams.stderr.is_some()))
        .process_group(0);
    let mut child = spawn(command)?;
    let ends = connect(&mut child.0, streams).map_err(Error::system("connecting a command"))?;
    Ok((child, ends))
}

fn connect(child: &mut Child, streams: Streams) -> io::Result<Ends> {
    let reader = |fd: Option<OwnedFd>| fd.map(pipe::Receiver::from_owned_fd).transpose();
    let stdin = child.stdin.take().map(|fd| pipe::Sender::from_owned_fd(fd.into())).transpose()?;
    let stdout = reader(child.stdout.take().map(Into::into))?;
    let stderr = reader(child.stderr.take().map(Into::into))?;
    Ok(Ends {
        stdin: streams.stdin.zip(stdin),
        stdout: stdout.zip(streams.stdout),
        stderr: stderr.zip(streams.stderr),
        terminal: None,
    })
}

fn on_terminal(command: &mut Command, streams: Streams) -> Result<(Group, Ends)> {
    let opening = || Error::system("opening a terminal");
    let terminal = sys::with_terminal(command).map_err(opening())?;
    terminal.set_nonblocking().map_err(opening())?;
    let ends = (|| {
        let to = pipe::Sender::from_owned_fd_unchecked(terminal.another()?)?;
        let from = pipe::Receiver::from_owned_fd_unchecked(terminal.another()?)?;
        if let Some(size) = streams.terminal.as_ref().and_then(|sizes| *sizes.borrow()) {
            terminal.resize(size.columns, size.rows)?;
        }
        Ok(Ends {
            stdin: streams.stdin.map(|input| (input, to)),
            // Read also when nobody wants it: a terminal that is full stops its program.
            stdout: Some((from, streams.stdout.unwrap_or_else(|| Box::new(tokio::io::sink())))),
            stderr: None,
            terminal: streams.terminal.map(|sizes| (terminal, sizes)),
        })
    })()
    .map_err(opening())?;
    Ok((spawn(command)?, ends))
}

/// Copies a command's output until its end: that of the pipe, or, once the command is over, of what is in it. A process
/// it left behind may keep the pipe open for ever.
async fn carry(ends: Option<(pipe::Receiver, Output)>, over: &CancellationToken) {
    let Some((from, mut to)) = ends else { return };
    let mut buffer = vec![0; CHUNK];
    loop {
        tokio::select! {
            biased;
            ready = from.readable() => if ready.is_err() { break },
            () = over.cancelled() => {}
        }
        match from.try_read(&mut buffer) {
            Ok(read @ 1..) => {
                if to.write_all(buffer.get(..read).unwrap_or_default()).await.is_err() {
                    // Nobody reads any more, and the command learns it from its pipe.
                    return;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && !over.is_cancelled() => {}
            // The end; a terminal whose program is gone gives an error.
            Ok(_) | Err(_) => break,
        }
    }
    // It fails only when nobody reads any more.
    let _ = to.shutdown().await;
}

/// Copies the client's input, and tells its end.
async fn feed(ends: Option<(Input, pipe::Sender)>, terminal: bool) {
    let Some((mut from, mut to)) = ends else { return };
    let mut buffer = vec![0; CHUNK];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        if to.write_all(buffer.get(..read).unwrap_or_default()).await.is_err() {
            return;
        }
    }
    if terminal {
        // A terminal cannot be half closed; a program that reads lines takes this for the end.
        let _ = to.write_all(&[END_OF_TRANSMISSION]).await;
    }
}

async fn follow_size(terminal: Option<(Terminal, watch::Receiver<Option<TerminalSize>>)>) {
    let Some((terminal, mut sizes)) = terminal else { return };
    while sizes.changed().await.is_ok() {
        let size = *sizes.borrow_and_update();
        if let Some(TerminalSize { columns, rows }) = size
            && let Err(problem) = terminal.resize(columns, rows)
        {
            tracing::debug!(%problem, "a terminal kept its size");
        }
    }
}
