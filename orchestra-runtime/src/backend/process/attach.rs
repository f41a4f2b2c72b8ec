//! Connects a client to a container that runs.
//!
//! Output is read from the log, from its end on: a client that reads slowly holds up nobody, and what it has not read yet
//! lies on disk. Input goes to whoever supervises the program (the module `input`).

use std::io;
use std::path::Path;
use std::pin::Pin;

use bytes::Bytes;
use futures::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::watch;

use super::input;
use super::layout::ContainerDir;
use super::registry::Entry;
use super::until_ended;
use crate::logs::{self, Follow, LogOptions, Stream};
use crate::runtime::{Error, Input, Output, Result, Streams, TerminalSize};

/// Bytes moved at once.
const CHUNK: usize = 16 * 1024;

/// Serves a client until the container ended, and everything it wrote was taken.
pub(super) async fn run(entry: &Entry, dir: &ContainerDir, streams: Streams) -> Result<()> {
    let Streams { stdin, stdout, stderr, terminal } = streams;
    let config = &entry.record.config;
    let (over, end) = watch::channel(false);
    // Before any input: what the program answers is then behind the place where reading begins.
    let stdout = open(&config.log_path, Stream::Stdout, stdout, &end).await?;
    let stderr = open(&config.log_path, Stream::Stderr, stderr, &end).await?;
    let stdin = stdin.filter(|_| config.stdin);
    let terminal = terminal.filter(|_| config.tty);
    let ending = async {
        until_ended(entry).await;
        over.send_replace(true);
    };
    let outputs = async { tokio::join!(show(stdout), show(stderr)) };
    let inputs = async {
        let done = tokio::join!(feed(dir, stdin), tell_size(dir, terminal));
        for problem in [done.0, done.1].into_iter().filter_map(io::Result::err) {
            tracing::debug!(%problem, "the input of a container is closed");
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        ((), (out, err)) = async { tokio::join!(ending, outputs) } => {
            out.and(err).map_err(Error::system("reading the output of a container"))
        }
        () = inputs => Ok(()),
    }
}

/// What a container writes from now on, and who wants it.
type Shown = (Pin<Box<dyn futures::Stream<Item = io::Result<Bytes>> + Send>>, Output);

async fn open(
    log: &Path,
    stream: Stream,
    to: Option<Output>,
    end: &watch::Receiver<bool>,
) -> Result<Option<Shown>> {
    let Some(to) = to else { return Ok(None) };
    let options =
        LogOptions { follow: true, tail_lines: Some(0), stream: Some(stream), ..LogOptions::default() };
    let pieces = logs::stream(log.to_owned(), &options, Follow::UntilEnded(end.clone())).await;
    let pieces = pieces.map_err(Error::system(format!("reading {}", log.display())))?;
    Ok(Some((pieces.boxed(), to)))
}

async fn show(shown: Option<Shown>) -> io::Result<()> {
    let Some((mut pieces, mut to)) = shown else { return Ok(()) };
    while let Some(piece) = pieces.next().await {
        if to.write_all(&piece?).await.is_err() {
            // Nobody reads any more; the container goes on.
            return Ok(());
        }
    }
    // It fails only when nobody reads any more.
    let _ = to.shutdown().await;
    Ok(())
}

async fn connect(dir: &ContainerDir, what: u8) -> io::Result<UnixStream> {
    let (_folder, path) = input::address(dir)?;
    let mut door = UnixStream::connect(path).await?;
    door.write_all(&[what]).await?;
    Ok(door)
}

async fn feed(dir: &ContainerDir, from: Option<Input>) -> io::Result<()> {
    let Some(mut from) = from else { return Ok(()) };
    let mut door = connect(dir, input::BYTES).await?;
    let mut buffer = vec![0; CHUNK];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return door.shutdown().await;
        }
        door.write_all(buffer.get(..read).unwrap_or_default()).await?;
    }
}

async fn tell_size(
    dir: &ContainerDir,
    sizes: Option<watch::Receiver<Option<TerminalSize>>>,
) -> io::Result<()> {
    let Some(mut sizes) = sizes else { return Ok(()) };
    let mut door = connect(dir, input::SIZES).await?;
    loop {
        let size = *sizes.borrow_and_update();
        if let Some(size) = size {
            door.write_all(&input::size_bytes(size)).await?;
        }
        if sizes.changed().await.is_err() {
            return Ok(());
        }
    }
}
