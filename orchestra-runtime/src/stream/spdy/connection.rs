//! A SPDY connection, seen from the server: streams come in, each a reader and a writer.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex, split};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::frame::{self, FIN, FrameError, HEAD, Head, Kind, Reset, control};
use super::header::{Decoder, Encoder, Headers};
use crate::stream::{Duplex, FAREWELL, PIPE};

/// The longest a client may take to close after it was told goodbye.
const LINGER: Duration = Duration::from_secs(5);
/// Bytes moved at once, and so the largest data frame sent.
const CHUNK: usize = 16 * 1024;

/// A stream the client opened.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) headers: Headers,
    /// Its end is the client's half-close; shutting it down is ours, and dropping it ends both.
    pub(crate) stream: DuplexStream,
}

/// Serves a connection. The future runs it, until the client goes or the receiver was dropped and the streams have ended.
///
/// More than `max_streams` at once are refused.
pub(crate) fn serve<T: Duplex>(
    io: T,
    max_streams: usize,
) -> (mpsc::Receiver<Incoming>, impl Future<Output = ()> + Send + 'static) {
    let (sender, receiver) = mpsc::channel(1);
    let (reader, writer) = split(io);
    let writer = Arc::new(Writer(Mutex::new((writer, Encoder::default()))));
    let connection = Connection {
        reader,
        writer,
        sender,
        decoder: Decoder::new(),
        streams: HashMap::new(),
        pumps: JoinSet::new(),
        last: 0,
        max_streams,
    };
    (receiver, connection.run())
}

/// The way back, a frame at a time.
struct Writer<T>(Mutex<(WriteHalf<T>, Encoder)>);

impl<T: Duplex> Writer<T> {
    async fn send(&self, parts: &[&[u8]]) -> io::Result<()> {
        let mut locked = self.0.lock().await;
        for part in parts {
            locked.0.write_all(part).await?;
        }
        locked.0.flush().await
    }

    async fn reply(&self, stream: u32) -> io::Result<()> {
        let mut locked = self.0.lock().await;
        let mut payload = stream.to_be_bytes().to_vec();
        payload.extend(locked.1.empty());
        locked.0.write_all(&frame::encode(control::SYN_REPLY, 0, &payload)).await?;
        locked.0.flush().await
    }
}

struct Connection<T> {
    reader: ReadHalf<T>,
    writer: Arc<Writer<T>>,
    sender: mpsc::Sender<Incoming>,
    decoder: Decoder,
    /// Where the client's bytes go; absent once it closed its half.
    streams: HashMap<u32, WriteHalf<DuplexStream>>,
    /// What brings the other direction; each yields its stream when that has ended.
    pumps: JoinSet<()>,
    last: u32,
    max_streams: usize,
}

/// Why a connection ends.
enum End {
    /// Nobody takes its streams any more.
    Done,
    Broken(FrameError),
    Lost(io::Error),
}

impl From<FrameError> for End {
    fn from(error: FrameError) -> Self {
        Self::Broken(error)
    }
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Lost(error)
    }
}

impl<T: Duplex> Connection<T> {
    async fn run(mut self) {
        let sender = self.sender.clone();
        let end = loop {
            tokio::select! {
                biased;
                // Cancelled in the midst of a frame, the connection is not read again but to its end.
                () = sender.closed() => break End::Done,
                step = self.step() => if let Err(end) = step { break end },
            }
        };
        match end {
            End::Done => {
                // What was written before the end is still on its way.
                let pumped = async { while self.pumps.join_next().await.is_some() {} };
                if timeout(FAREWELL, pumped).await.is_err() {
                    tracing::debug!("a client did not take the rest of a stream");
                }
                self.leave(true).await;
            }
            End::Broken(problem) => {
                tracing::debug!(%problem, "a client broke the protocol");
                self.leave(false).await;
            }
            End::Lost(problem) => tracing::debug!(%problem, "a client went away"),
        }
    }

    /// Says goodbye, and reads until the client goes too: closing with bytes unread would lose what it has not read.
    async fn leave(mut self, clean: bool) {
        self.streams.clear();
        let goodbye = async {
            self.writer.send(&[&frame::goaway(self.last, clean)]).await?;
            self.writer.0.lock().await.0.shutdown().await?;
            tokio::io::copy(&mut self.reader, &mut tokio::io::sink()).await
        };
        if let Ok(Err(problem)) = timeout(LINGER, goodbye).await {
            tracing::trace!(%problem, "a client did not wait for goodbye");
        }
    }

    /// Reads one frame and acts on it.
    async fn step(&mut self) -> Result<(), End> {
        let mut head = [0; HEAD];
        self.reader.read_exact(&mut head).await?;
        let head = Head::decode(head)?;
        let number = match head.kind {
            Kind::Data(stream) => return self.data(stream, head).await,
            Kind::Control(number) => number,
        };
        let mut payload = vec![0; head.length];
        self.reader.read_exact(&mut payload).await?;
        match number {
            control::SYN_STREAM => self.open(&payload, head.flags).await,
            control::RST_STREAM => {
                self.streams.remove(&frame::number(&payload, 0)?);
                Ok(())
            }
            control::PING => {
                self.writer.send(&[&frame::encode(control::PING, 0, &payload)]).await?;
                Ok(())
            }
            // Not read for what they say, but their block is part of the compressed stream.
            control::HEADERS => {
                self.decoder.decode(payload.get(4..).unwrap_or_default())?;
                Ok(())
            }
            // Settings, windows, goodbyes: a client that leaves closes the connection right after.
            _ => Ok(()),
        }
    }

    async fn open(&mut self, payload: &[u8], flags: u8) -> Result<(), End> {
        let id = frame::number(payload, 0)?;
        // Also of a stream that is refused: the blocks of all streams are one compressed stream.
        let headers = self.decoder.decode(payload.get(10..).ok_or(FrameError::TooShort)?)?;
        while self.pumps.try_join_next().is_some() {}
        // Clients open streams of odd numbers, each greater than the last.
        if id % 2 == 0 || id <= self.last {
            self.writer.send(&[&frame::reset(id, Reset::ProtocolError)]).await?;
            return Ok(());
        }
        self.last = id;
        if self.pumps.len() >= self.max_streams {
            self.writer.send(&[&frame::reset(id, Reset::RefusedStream)]).await?;
            return Ok(());
        }
        self.writer.reply(id).await?;
        let (near, stream) = duplex(PIPE);
        let (from, mut to) = split(near);
        if flags & FIN == 0 {
            self.streams.insert(id, to);
        } else {
            to.shutdown().await?;
        }
        self.pumps.spawn(pump(id, from, self.writer.clone()));
        self.sender.send(Incoming { headers, stream }).await.map_err(|_| End::Done)
    }

    /// Passes a data frame on as it comes, however long it says it is.
    async fn data(&mut self, id: u32, head: Head) -> Result<(), End> {
        let mut to = self.streams.remove(&id);
        let known = to.is_some() || id <= self.last;
        let mut buffer = vec![0; head.length.min(CHUNK)];
        let mut left = head.length;
        while left > 0 {
            let room = left.min(CHUNK);
            let piece = buffer.get_mut(..room).unwrap_or_default();
            let read = self.reader.read(piece).await?;
            if read == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            left -= read;
            if let Some(open) = &mut to
                && open.write_all(buffer.get(..read).unwrap_or_default()).await.is_err()
            {
                // Nobody reads the stream any more; the rest of it is passed over.
                to = None;
            }
        }
        match to {
            Some(mut open) if head.flags & FIN != 0 => open.shutdown().await?,
            Some(open) => {
                self.streams.insert(id, open);
            }
            None if !known => self.writer.send(&[&frame::reset(id, Reset::InvalidStream)]).await?,
            None => {}
        }
        Ok(())
    }
}

/// Brings what the stream's owner writes to the client, and its end.
async fn pump<T: Duplex>(id: u32, mut from: ReadHalf<DuplexStream>, writer: Arc<Writer<T>>) {
    let mut buffer = vec![0; CHUNK];
    loop {
        let read = from.read(&mut buffer).await.unwrap_or_default();
        let piece = buffer.get(..read).unwrap_or_default();
        let flags = if read == 0 { FIN } else { 0 };
        let sent = writer.send(&[&frame::data(id, flags, read), piece]).await;
        if read == 0 || sent.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(id: u32) -> Vec<u8> {
        let mut payload = id.to_be_bytes().to_vec();
        payload.extend_from_slice(&[0; 6]);
        payload.extend(Encoder::default().empty());
        frame::encode(control::SYN_STREAM, 0, &payload)
    }

    async fn expect(client: &mut DuplexStream, wanted: &[u8]) {
        let mut got = vec![0; wanted.len()];
        client.read_exact(&mut got).await.unwrap();
        assert_eq!(got, wanted);
    }

    fn reply(id: u32) -> Vec<u8> {
        let mut payload = id.to_be_bytes().to_vec();
        payload.extend(Encoder::default().empty());
        frame::encode(control::SYN_REPLY, 0, &payload)
    }

    fn bytes(id: u32, flags: u8, text: &[u8]) -> Vec<u8> {
        [frame::data(id, flags, text.len()).as_slice(), text].concat()
    }

    #[tokio::test(start_paused = true)]
    async fn each_half_of_a_stream_closes_for_itself() {
        let (mut client, server) = duplex(1024);
        let (mut streams, run) = serve(server, 4);
        let running = tokio::spawn(run);
        client.write_all(&open(1)).await.unwrap();
        expect(&mut client, &reply(1)).await;
        let mut stream = streams.recv().await.unwrap().stream;
        client.write_all(&bytes(1, FIN, b"question")).await.unwrap();
        let mut question = String::new();
        stream.read_to_string(&mut question).await.unwrap();
        assert_eq!(question, "question");
        stream.write_all(b"answer").await.unwrap();
        drop(stream);
        drop(streams);
        expect(&mut client, &bytes(1, 0, b"answer")).await;
        expect(&mut client, &bytes(1, FIN, b"")).await;
        expect(&mut client, &frame::goaway(1, true)).await;
        drop(client);
        running.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn too_many_streams_and_unknown_ones_are_refused() {
        let (mut client, server) = duplex(1024);
        let (mut streams, run) = serve(server, 1);
        let running = tokio::spawn(run);
        client.write_all(&open(1)).await.unwrap();
        expect(&mut client, &reply(1)).await;
        let held = streams.recv().await.unwrap();
        client.write_all(&bytes(5, 0, b"x")).await.unwrap();
        expect(&mut client, &frame::reset(5, Reset::InvalidStream)).await;
        client.write_all(&frame::encode(control::PING, 0, &[0, 0, 0, 1])).await.unwrap();
        expect(&mut client, &frame::encode(control::PING, 0, &[0, 0, 0, 1])).await;
        let mut second = 3u32.to_be_bytes().to_vec();
        second.extend_from_slice(&[0; 6]);
        let mut encoder = Encoder::default();
        encoder.empty();
        second.extend(encoder.empty());
        client.write_all(&frame::encode(control::SYN_STREAM, 0, &second)).await.unwrap();
        expect(&mut client, &frame::reset(3, Reset::RefusedStream)).await;
        client.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        // The letters are the head of a data frame of a megabyte; then the client is gone.
        drop((client, held));
        running.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_nobody_reads_makes_the_client_wait() {
        let (mut client, server) = duplex(1024);
        let (mut streams, run) = serve(server, 1);
        let running = tokio::spawn(run);
        client.write_all(&open(1)).await.unwrap();
        let held = streams.recv().await.unwrap();
        let much = bytes(1, 0, &vec![7; 4 * PIPE]);
        let sending = timeout(Duration::from_secs(60), client.write_all(&much)).await;
        assert!(sending.is_err(), "everything was taken");
        drop((held, client));
        running.await.unwrap();
    }
}
