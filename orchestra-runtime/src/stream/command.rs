//! The streams of `exec` and `attach`: they are collected, a command runs on them, and its end is told.

use serde::Deserialize;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Duration, MissedTickBehavior, interval, timeout};

use super::spdy::connection::{self, Incoming};
use super::upgrade::{Codec, Version};
use super::{CREATION, Duplex, FAREWELL, PIPE, channel, status};
use crate::runtime::{Result, Streams, TerminalSize};

/// Between two signs of life while the program does not take its input. Clients wait a minute.
const PULSE: Duration = Duration::from_secs(15);
/// The longest message about a terminal's size.
const MAX_RESIZE: usize = 1024;

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
const CLOSE: u8 = 255;

/// Which streams the client asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) stdin: bool,
    pub(crate) stdout: bool,
    pub(crate) stderr: bool,
    pub(crate) tty: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Size {
    width: u16,
    height: u16,
}

fn resize(message: &[u8], to: &watch::Sender<Option<TerminalSize>>) {
    match serde_json::from_slice::<Size>(message) {
        Ok(Size { width, height }) => {
            to.send_replace(Some(TerminalSize { columns: width, rows: height }));
        }
        Err(problem) => tracing::debug!(%problem, "a client told no size of its terminal"),
    }
}

/// The status as the version has it; nothing when there is nothing to say.
fn told(version: Version, status: &Value) -> String {
    if version.has_status_object() {
        return status.to_string();
    }
    status.get("message").and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// Runs a command on the channels of a WebSocket. Dropping the client's end drops the command.
pub(crate) async fn over_channels<T, F>(
    io: T,
    (version, codec): (Version, Codec),
    wanted: Wanted,
    run: impl FnOnce(Streams) -> F,
) where
    T: Duplex,
    F: Future<Output = Result<i32>>,
{
    let (sender, mut receiver) = channel::open(io, codec).await;
    let mut streams = Streams::new();
    let mut pumps = JoinSet::new();
    let stdin = wanted.stdin.then(|| {
        let (far, near) = duplex(PIPE);
        streams.stdin = Some(Box::new(far));
        near
    });
    for (wants, number, slot) in
        [(wanted.stdout, STDOUT, &mut streams.stdout), (wanted.stderr, STDERR, &mut streams.stderr)]
    {
        if wants {
            let (far, near) = duplex(PIPE);
            *slot = Some(Box::new(far));
            pumps.spawn(sender.clone().pump(number, near));
        }
    }
    let (size, terminal) = watch::channel(None);
    streams.terminal = wanted.tty.then_some(terminal);
    // Tells the client that the streams are open, on the first of those it reads.
    let first = if wanted.stdout {
        STDOUT
    } else if wanted.stderr {
        STDERR
    } else {
        ERROR
    };
    if sender.send(first, &[]).await.is_err() {
        return;
    }
    let listening = listen(&sender, &mut receiver, stdin, &size, version);
    let ended = tokio::select! {
        ended = run(streams) => ended,
        () = listening => return,
    };
    let rest = async {
        while pumps.join_next().await.is_some() {}
        let status = told(version, &status::of_exit(&ended));
        if !status.is_empty() {
            sender.send(ERROR, status.as_bytes()).await?;
        }
        Ok::<_, tokio_tungstenite::tungstenite::Error>(())
    };
    if timeout(FAREWELL, rest).await.is_ok_and(|sent| sent.is_ok()) {
        sender.close(receiver).await;
    }
}

/// Takes what the client sends, until it goes.
async fn listen<T: Duplex>(
    sender: &channel::Sender<T>,
    receiver: &mut channel::Receiver<T>,
    mut stdin: Option<DuplexStream>,
    size: &watch::Sender<Option<TerminalSize>>,
    version: Version,
) {
    while let Some((number, bytes)) = receiver.next().await {
        match number {
            STDIN => {
                let Some(to) = &mut stdin else { continue };
                let Some(written) = write_with_pulse(sender, to, &bytes).await else { return };
                if written.is_err() {
                    // The program closed its input; what comes for it is passed over.
                    stdin = None;
                }
            }
            RESIZE if bytes.len() <= MAX_RESIZE => resize(&bytes, size),
            CLOSE if version.closes_channels() && bytes.first() == Some(&STDIN) => {
                stdin = None;
            }
            _ => {}
        }
    }
}

/// Writes, and gives the client signs of life as long as the program does not read. `None` when the client is gone.
async fn write_with_pulse<T: Duplex>(
    sender: &channel::Sender<T>,
    to: &mut DuplexStream,
    bytes: &[u8],
) -> Option<std::io::Result<()>> {
    let mut pulse = interval(PULSE);
    pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pulse.reset();
    let writing = to.write_all(bytes);
    tokio::pin!(writing);
    loop {
        tokio::select! {
            biased;
            written = &mut writing => return Some(written),
            _ = pulse.tick() => if sender.pong().await.is_err() { return None },
        }
    }
}

/// Runs a command on the streams of a SPDY connection.
pub(crate) async fn over_spdy<T, F>(io: T, version: Version, wanted: Wanted, run: impl FnOnce(Streams) -> F)
where
    T: Duplex,
    F: Future<Output = Result<i32>>,
{
    let (mut incoming, connection) = connection::serve(io, 8);
    let connection = tokio::spawn(connection);
    match timeout(CREATION, collect(&mut incoming, version, wanted)).await {
        Ok(Some((streams, mut error))) => {
            let ended = tokio::select! {
                ended = run(streams) => ended,
                () = gone(&mut incoming) => return,
            };
            let status = told(version, &status::of_exit(&ended));
            if let Err(problem) = error.write_all(status.as_bytes()).await {
                tracing::debug!(%problem, "a client did not wait for the end");
            }
        }
        Ok(None) => tracing::debug!("a client went away before it opened its streams"),
        Err(_) => tracing::debug!("a client did not open its streams in time"),
    }
    drop(incoming);
    // It brings the rest of the output, and has a limit of its own.
    if let Err(problem) = connection.await {
        tracing::warn!(%problem, "a connection was not brought to its end");
    }
}

async fn gone(incoming: &mut mpsc::Receiver<Incoming>) {
    while incoming.recv().await.is_some() {}
}

/// Waits for the streams that were asked for. The status has its own.
async fn collect(
    incoming: &mut mpsc::Receiver<Incoming>,
    version: Version,
    wanted: Wanted,
) -> Option<(Streams, DuplexStream)> {
    let mut streams = Streams::new();
    let mut error = None;
    let mut size_told = !(wanted.tty && version.resizes());
    loop {
        let complete = wanted.stdin == streams.stdin.is_some()
            && wanted.stdout == streams.stdout.is_some()
            && wanted.stderr == streams.stderr.is_some()
            && size_told;
        if complete && let Some(error) = error.take() {
            if wanted.tty && streams.terminal.is_none() {
                streams.terminal = Some(watch::channel(None).1);
            }
            return Some((streams, error));
        }
        let Incoming { headers, stream } = incoming.recv().await?;
        match headers.get("streamtype") {
            Some("error") => error = Some(stream),
            Some("stdin") if wanted.stdin => streams.stdin = Some(Box::new(stream)),
            Some("stdout") if wanted.stdout => streams.stdout = Some(Box::new(stream)),
            Some("stderr") if wanted.stderr => streams.stderr = Some(Box::new(stream)),
            Some("resize") if wanted.tty => {
                let (size, terminal) = watch::channel(None);
                tokio::spawn(sizes(stream, size));
                (streams.terminal, size_told) = (Some(terminal), true);
            }
            other => tracing::debug!(?other, "a stream that nobody asked for"),
        }
    }
}

/// Reads sizes, one JSON value after another.
async fn sizes(mut from: DuplexStream, size: watch::Sender<Option<TerminalSize>>) {
    let mut pending = Vec::new();
    let mut buffer = [0; MAX_RESIZE];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        pending.extend_from_slice(buffer.get(..read).unwrap_or_default());
        while let Some(end) = pending.iter().position(|byte| *byte == b'}') {
            let message: Vec<u8> = pending.drain(..=end).collect();
            resize(message.trim_ascii(), &size);
        }
        if pending.len() > MAX_RESIZE {
            return;
        }
    }
}
