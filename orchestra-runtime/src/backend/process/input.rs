//! The input of a container, where the container has one: its standard input, or the keyboard and the size of its terminal.
//!
//! Whoever supervises the program keeps the other end, for clients come and go, and so does the agent. Clients connect to
//! a socket in the container's folder; the first byte says what follows. Only the folder's owner gets there. Output needs
//! nothing of the kind: it is in the log, from which clients read it, each at its own pace.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::ChildStdin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};

use super::layout::{ContainerDir, ContainerRecord};
use crate::runtime::TerminalSize;
use crate::sys::Terminal;

/// Bytes for the program follow, until the client closes its end.
pub(super) const BYTES: u8 = b'i';
/// Sizes of the client's terminal follow, [`SIZE_BYTES`] each.
pub(super) const SIZES: u8 = b's';
/// Columns and lines, as two numbers of 16 bits, the lower byte first.
pub(super) const SIZE_BYTES: usize = 4;

/// What a terminal takes for the end of input.
const END_OF_TRANSMISSION: u8 = 4;
/// Between two tries to take clients, when the machine has no room for another one.
const NO_ROOM: Duration = Duration::from_millis(100);

/// Where clients connect. Dropped, no more are taken.
pub(super) struct Door(Arc<UnixListener>);

impl Drop for Door {
    fn drop(&mut self) {
        // Wakes the thread that takes clients, which ends then. There is nothing else that could fail.
        let _ = rustix::net::shutdown(&self.0, rustix::net::Shutdown::Both);
    }
}

struct Shared {
    /// Taken away when the program is to read no more.
    to: Mutex<Option<File>>,
    terminal: Option<Terminal>,
    once: bool,
}

/// Lets clients in to a program's input, if it has one. The error is for the user.
pub(super) fn open(
    record: &ContainerRecord,
    dir: &ContainerDir,
    stdin: Option<ChildStdin>,
    terminal: Option<&Terminal>,
) -> Result<Option<Door>, String> {
    if stdin.is_none() && terminal.is_none() {
        return Ok(None);
    }
    let opening = |e: io::Error| format!("opening the input: {e}");
    let keyboard = terminal.filter(|_| record.config.stdin).map(Terminal::another).transpose();
    let to = match stdin {
        Some(stdin) => Some(OwnedFd::from(stdin)),
        None => keyboard.map_err(opening)?,
    };
    let shared = Arc::new(Shared {
        to: Mutex::new(to.map(File::from)),
        terminal: terminal.map(Terminal::share).transpose().map_err(opening)?,
        once: record.config.stdin_once,
    });
    let (_folder, path) = address(dir).map_err(opening)?;
    let listener = Arc::new(UnixListener::bind(path).map_err(opening)?);
    let door = Door(listener.clone());
    start(move || take_clients(&listener, &shared)).map_err(opening)?;
    Ok(Some(door))
}

/// The socket's path, short enough for a socket however long the folder's is. It is good as long as the file is open.
pub(super) fn address(dir: &ContainerDir) -> io::Result<(File, PathBuf)> {
    let folder = File::open(&dir.0)?;
    let name = dir.input();
    let name = name.file_name().unwrap_or_default();
    let path = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name);
    Ok((folder, path))
}

/// A size as it is sent.
pub(super) fn size_bytes(size: TerminalSize) -> [u8; SIZE_BYTES] {
    let ([a, b], [c, d]) = (size.columns.to_le_bytes(), size.rows.to_le_bytes());
    [a, b, c, d]
}

fn start(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new()
        .name("orchestra-input".to_owned())
        .stack_size(128 * 1024)
        .spawn(work)
        .map(drop)
}

fn take_clients(listener: &UnixListener, shared: &Arc<Shared>) {
    for client in listener.incoming() {
        match client {
            Ok(client) => {
                let shared = shared.clone();
                // Without a thread the client finds its connection closed.
                let _ = start(move || serve(client, &shared));
            }
            // The door was shut.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return,
            Err(_) => std::thread::sleep(NO_ROOM),
        }
    }
}

fn serve(mut client: UnixStream, shared: &Shared) {
    let mut what = [0];
    // However a client goes, it is gone: the program gets what came until then.
    match client.read_exact(&mut what).map(|()| what) {
        Ok([BYTES]) => {
            let _ = feed(&mut client, shared);
            if shared.once {
                close(shared);
            }
        }
        Ok([SIZES]) => {
            let mut size = [0; SIZE_BYTES];
            while client.read_exact(&mut size).is_ok() {
                let [a, b, c, d] = size;
                let (columns, rows) = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
                let _ = shared.terminal.as_ref().map(|terminal| terminal.resize(columns, rows));
            }
        }
        _ => {}
    }
}

fn feed(client: &mut UnixStream, shared: &Shared) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = match client.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let to = shared.to.lock().unwrap_or_else(PoisonError::into_inner);
        let written = match &*to {
            Some(to) => write_all(to, buffer.get(..read).unwrap_or_default()),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        };
        drop(to);
        if written.is_err() {
            // The program reads no more, and the client learns it at once.
            client.shutdown(Shutdown::Both)?;
            return written;
        }
    }
}

/// The end of the input, which a terminal cannot have but its program can be told.
fn close(shared: &Shared) {
    let to = shared.to.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let (Some(to), Some(_)) = (to, &shared.terminal) {
        // It fails only when the program is gone.
        let _ = write_all(&to, &[END_OF_TRANSMISSION]);
    }
}

/// Writes everything, also where writes do not wait by themselves.
fn write_all(mut to: &File, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match to.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                poll(&mut [PollFd::new(&to, PollFlags::OUT)], None)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
