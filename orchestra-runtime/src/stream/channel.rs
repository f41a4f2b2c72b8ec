//! Messages on numbered channels over a WebSocket.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::Duplex;
use super::upgrade::Codec;

/// The largest message taken, which is also upstream's limit.
const MAX_MESSAGE: usize = 32 << 20;
/// The longest a client may take to close after it was told goodbye.
const LINGER: Duration = Duration::from_secs(5);
/// Bytes of output in one message.
const CHUNK: usize = 16 * 1024;

/// The end, when all is well: clients take an end without a reason for a failure.
pub(super) fn goodbye_frame() -> Message {
    Message::Close(Some(CloseFrame { code: CloseCode::Normal, reason: "".into() }))
}

/// A WebSocket on a connection that was upgraded.
pub(super) async fn accept<T: Duplex>(io: T) -> WebSocketStream<T> {
    let limits = WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE))
        .write_buffer_size(0);
    WebSocketStream::from_raw_socket(io, Role::Server, Some(limits)).await
}

/// The way to the client. Sending waits until the connection takes the message.
pub(super) struct Sender<T> {
    sink: Arc<Mutex<SplitSink<WebSocketStream<T>, Message>>>,
    codec: Codec,
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self { sink: self.sink.clone(), codec: self.codec }
    }
}

/// The way from the client.
pub(super) struct Receiver<T> {
    stream: SplitStream<WebSocketStream<T>>,
    codec: Codec,
}

/// Opens the channels of a connection.
pub(super) async fn open<T: Duplex>(io: T, codec: Codec) -> (Sender<T>, Receiver<T>) {
    let (sink, stream) = accept(io).await.split();
    (Sender { sink: Arc::new(Mutex::new(sink)), codec }, Receiver { stream, codec })
}

impl<T: Duplex> Sender<T> {
    /// Sends bytes on a channel.
    pub(super) async fn send(&self, channel: u8, bytes: &[u8]) -> Result<(), Error> {
        self.sink.lock().await.send(encode(self.codec, channel, bytes)).await
    }

    /// Tells a client that waits that somebody is there.
    pub(super) async fn pong(&self) -> Result<(), Error> {
        self.sink.lock().await.send(Message::Pong(Bytes::new())).await
    }

    /// Sends what comes from a reader, until its end or the client's.
    pub(super) async fn pump(self, channel: u8, mut from: impl AsyncRead + Unpin) {
        let mut buffer = vec![0; CHUNK];
        while let Ok(read) = from.read(&mut buffer).await {
            let piece = buffer.get(..read).unwrap_or_default();
            if read == 0 || self.send(channel, piece).await.is_err() {
                return;
            }
        }
    }

    /// Says goodbye and waits until the client does: closing with bytes unread would lose what it has not read.
    pub(super) async fn close(self, mut receiver: Receiver<T>) {
        let goodbye = async {
            self.sink.lock().await.send(goodbye_frame()).await?;
            while let Some(message) = receiver.stream.next().await {
                message?;
            }
            Ok::<_, Error>(())
        };
        if let Ok(Err(problem)) = timeout(LINGER, goodbye).await {
            tracing::trace!(%problem, "a client did not wait for goodbye");
        }
    }
}

impl<T: Duplex> Receiver<T> {
    /// The next message; `None` when the client is gone or speaks something else.
    pub(super) async fn next(&mut self) -> Option<(u8, Bytes)> {
        loop {
            let message = match self.stream.next().await? {
                Ok(Message::Close(_)) => return None,
                Ok(message) => message,
                Err(problem) => {
                    tracing::debug!(%problem, "a client went away");
                    return None;
                }
            };
            match decode(self.codec, message) {
                Ok(Some(found)) => return Some(found),
                Ok(None) => {}
                Err(problem) => {
                    tracing::debug!(problem, "a client broke the protocol");
                    return None;
                }
            }
        }
    }
}

fn encode(codec: Codec, channel: u8, bytes: &[u8]) -> Message {
    match codec {
        Codec::Binary => {
            let mut message = Vec::with_capacity(bytes.len() + 1);
            message.push(channel);
            message.extend_from_slice(bytes);
            Message::Binary(message.into())
        }
        Codec::Base64 => {
            let mut text = String::from(char::from(b'0'.wrapping_add(channel)));
            BASE64_STANDARD.encode_string(bytes, &mut text);
            Message::Text(text.into())
        }
    }
}

/// The channel and what is on it; nothing for what is no message of the protocol, such as a ping.
fn decode(codec: Codec, message: Message) -> Result<Option<(u8, Bytes)>, &'static str> {
    let bytes = match message {
        Message::Binary(bytes) => bytes,
        Message::Text(text) => Bytes::from(text),
        _ => return Ok(None),
    };
    let Some(first) = bytes.first().copied() else { return Ok(None) };
    let rest = bytes.slice(1..);
    match codec {
        Codec::Binary => Ok(Some((first, rest))),
        Codec::Base64 => {
            let channel = first.checked_sub(b'0').ok_or("a channel that is no digit")?;
            let bytes = BASE64_STANDARD.decode(&rest).map_err(|_| "a message that is not base64")?;
            Ok(Some((channel, bytes.into())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_as_they_are_written() {
        for codec in [Codec::Binary, Codec::Base64] {
            let message = encode(codec, 2, b"text\n");
            assert_eq!(decode(codec, message), Ok(Some((2, Bytes::from_static(b"text\n")))));
        }
        assert_eq!(decode(Codec::Binary, Message::Binary(Bytes::new())), Ok(None));
        assert_eq!(decode(Codec::Binary, Message::Ping(Bytes::new())), Ok(None));
        assert!(decode(Codec::Base64, Message::Text("0?".into())).is_err());
        assert!(decode(Codec::Base64, Message::Text("!".into())).is_err());
    }
}
