//! Answers that go on for a while as messages of a WebSocket: watches and logs, for browsers, which cannot take them otherwise.
//!
//! After upstream's `endpoints/handlers/watch.go` and `util/httpstream/wsstream/stream.go`. What is sent is the ordinary answer,
//! decided upon like any other; what the client sends is not looked at. A refusal is an ordinary refusal.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::{Buf, Bytes, BytesMut};
use futures::{SinkExt, StreamExt};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};
use tokio_util::sync::CancellationToken;

use super::tunnels::Place;
use super::upgrade;
use crate::audit::Tunnelled;
use crate::body::{self, Body};
use crate::state::State;
use crate::status::StatusError;

/// The largest message taken of a client, who has nothing to say.
const MAX_MESSAGE: usize = 16 << 10;
/// Bytes as they are, and as text. Clients that name neither get the first.
const BINARY: &str = "binary.k8s.io";
const BASE64: &str = "base64.binary.k8s.io";

/// What is to be answered over a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Events, each of which becomes a message.
    Events,
    /// Text, in as many messages as it comes in pieces.
    Text,
}

/// A WebSocket that a client has asked for and may have.
pub(crate) struct Socket {
    client: OnUpgrade,
    place: Place,
    accept: HeaderValue,
    protocol: Option<HeaderValue>,
    framing: Framing,
}

/// How an answer's bytes become messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// One for each line, which it ends with.
    Lines,
    /// One for each frame with its length before it, which is left out.
    Frames,
    /// As they come, after an empty one that says that the way is open.
    Pieces,
    /// The same in base64.
    Base64,
}

impl Socket {
    /// The WebSocket that `parts` ask for; `None` where they do not, and within this process, where an answer is taken as it is.
    ///
    /// # Errors
    /// The handshake is no such, or too many streams are open.
    pub(crate) fn asked(
        state: &State,
        parts: &mut Parts,
        answer: Answer,
    ) -> Result<Option<Self>, StatusError> {
        let headers = &parts.headers;
        let is_web_socket = || {
            headers
                .get(header::UPGRADE)
                .is_some_and(|name| name.as_bytes().eq_ignore_ascii_case(b"websocket"))
        };
        if !upgrade::is_asked(headers) || !is_web_socket() || parts.method != Method::GET {
            return Ok(None);
        }
        let bad = |why: &str| StatusError::bad_request(format!("unable to upgrade: {why}"));
        if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
            return Err(bad("bad WebSocket version"));
        }
        let key = headers.get(header::SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes).unwrap_or_default();
        if BASE64_STANDARD.decode(key).map(|key| key.len()) != Ok(16) {
            return Err(bad("bad Sec-WebSocket-Key"));
        }
        let accept = HeaderValue::try_from(derive_accept_key(key)).map_err(StatusError::internal)?;
        let offered = upgrade::protocols(headers);
        let (chosen, framing) = match answer {
            Answer::Events => (offered.first().copied(), Framing::Lines),
            Answer::Text if offered.is_empty() => (None, Framing::Pieces),
            Answer::Text => match offered.iter().find(|name| [BINARY, BASE64].contains(name)) {
                Some(&BASE64) => (Some(BASE64), Framing::Base64),
                Some(name) => (Some(*name), Framing::Pieces),
                None => return Err(bad("no subprotocol is supported")),
            },
        };
        let protocol = chosen.map(HeaderValue::from_str).transpose().map_err(StatusError::internal)?;
        let Some(client) = parts.extensions.remove::<OnUpgrade>() else { return Ok(None) };
        Ok(Some(Self { client, place: state.streams.place()?, accept, protocol, framing }))
    }

    /// Sends the body of `answer` over the WebSocket. What is no success is answered as it is.
    pub(crate) fn carry(self, state: &State, answer: Response<Body>) -> Response<Body> {
        if answer.status() != StatusCode::OK {
            return answer;
        }
        let (parts, body) = answer.into_parts();
        let is_json =
            parts.headers.get(header::CONTENT_TYPE).is_some_and(|media| media == "application/json");
        let framing = match self.framing {
            Framing::Lines if !is_json => Framing::Frames,
            other => other,
        };
        let mut agreed = Response::new(body::whole(""));
        *agreed.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = agreed.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, self.accept);
        if let Some(protocol) = self.protocol {
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
        }
        // The request is over when the answer is.
        let told = Tunnelled::default();
        agreed.extensions_mut().insert(told.clone());
        let client = self.client;
        state.streams.run(self.place, |shutdown| async move {
            if let Err(problem) = send(client, body, Messages::new(framing), shutdown).await {
                tracing::debug!(%problem, "an answer over a WebSocket was broken off");
            }
            drop(told);
        });
        agreed
    }
}

/// Sends a body until it ends, the client has gone, or the server goes.
async fn send(
    client: OnUpgrade,
    mut body: Body,
    mut messages: Messages,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let io = match client.await {
        Ok(io) => TokioIo::new(io),
        Err(problem) => return Err(Error::Io(std::io::Error::other(problem))),
    };
    let limits =
        WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE)).max_frame_size(Some(MAX_MESSAGE));
    let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(limits)).await;
    let is_endless = messages.framing.is_text();
    let sending = pump(&mut socket, &mut body, &mut messages);
    let ended = tokio::select! {
        ended = sending => Some(ended?),
        () = parting(&shutdown, is_endless) => None,
    };
    if ended == Some(End::Gone) {
        return Ok(());
    }
    let farewell = CloseFrame { code: CloseCode::Normal, reason: Utf8Bytes::default() };
    // Who has left what it was sent until now may leave this, too.
    timeout(upgrade::GOODBYE, socket.close(Some(farewell))).await.unwrap_or(Ok(()))
}

/// When a server that goes waits no longer: a watch ends by itself, and its end is to arrive; a log has none while it is followed.
async fn parting(shutdown: &CancellationToken, is_endless: bool) {
    shutdown.cancelled().await;
    if !is_endless {
        tokio::time::sleep(upgrade::GOODBYE).await;
    }
}

/// Why no more is sent.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// It was all.
    Sent,
    /// Nobody listens.
    Gone,
}

async fn pump<S: AsyncRead + AsyncWrite + Unpin>(
    socket: &mut WebSocketStream<S>,
    body: &mut Body,
    messages: &mut Messages,
) -> Result<End, Error> {
    if let Some(first) = messages.first() {
        socket.send(first).await?;
    }
    loop {
        tokio::select! {
            said = socket.next() => match said {
                None | Some(Err(_) | Ok(Message::Close(_))) => return Ok(End::Gone),
                Some(Ok(_)) => {}
            },
            frame = body.frame() => {
                let Some(Ok(frame)) = frame else { return Ok(End::Sent) };
                let Ok(piece) = frame.into_data() else { continue };
                for message in messages.of(piece) {
                    socket.feed(message).await?;
                }
                socket.flush().await?;
            }
        }
    }
}

/// Makes messages of the pieces that a body comes in.
struct Messages {
    framing: Framing,
    /// The beginning of a message of which the rest is still to come.
    held: BytesMut,
}

impl Framing {
    fn is_text(self) -> bool {
        matches!(self, Self::Pieces | Self::Base64)
    }
}

impl Messages {
    fn new(framing: Framing) -> Self {
        Self { framing, held: BytesMut::new() }
    }

    /// What is sent before everything else.
    fn first(&self) -> Option<Message> {
        match self.framing {
            Framing::Lines | Framing::Frames => None,
            Framing::Pieces => Some(Message::Binary(Bytes::new())),
            Framing::Base64 => Some(Message::Text(Utf8Bytes::default())),
        }
    }

    fn of(&mut self, piece: Bytes) -> Vec<Message> {
        match self.framing {
            Framing::Pieces => vec![Message::Binary(piece)],
            Framing::Base64 => vec![Message::text(BASE64_STANDARD.encode(&piece))],
            Framing::Lines | Framing::Frames => {
                self.held.extend_from_slice(&piece);
                std::iter::from_fn(|| self.next()).collect()
            }
        }
    }

    /// The first message of what is held, if all of it is there.
    fn next(&mut self) -> Option<Message> {
        if self.framing == Framing::Lines {
            let end = self.held.iter().position(|byte| *byte == b'\n')?;
            let line = self.held.split_to(end + 1).freeze();
            return Some(match Utf8Bytes::try_from(line.clone()) {
                Ok(text) => Message::Text(text),
                Err(_) => Message::Binary(line),
            });
        }
        let head = self.held.first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*head)).ok()?;
        if self.held.len() - 4 < length {
            return None;
        }
        self.held.advance(4);
        Some(Message::Binary(self.held.split_to(length).freeze()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(framing: Framing, pieces: &[&'static [u8]]) -> Vec<Message> {
        let mut messages = Messages::new(framing);
        pieces.iter().flat_map(|piece| messages.of(Bytes::from_static(piece))).collect()
    }

    #[test]
    fn an_event_is_a_message_however_it_comes() {
        let text = |text: &str| Message::text(text);
        assert_eq!(
            told(Framing::Lines, &[b"{}\n{\"a\"", b":1}", b"\n{}\n"]),
            [text("{}\n"), text("{\"a\":1}\n"), text("{}\n")]
        );
        let binary = |bytes: &'static [u8]| Message::Binary(Bytes::from_static(bytes));
        assert_eq!(
            told(Framing::Frames, &[b"\0\0", b"\0\x02ab\0\0\0\0\0\0\0\x01", b"c\0"]),
            [binary(b"ab"), binary(b""), binary(b"c")]
        );
        assert_eq!(told(Framing::Base64, &[b"a\xff"]), [text("Yf8=")]);
        assert_eq!(told(Framing::Pieces, &[b"a", b"\n"]), [binary(b"a"), binary(b"\n")]);
    }
}
