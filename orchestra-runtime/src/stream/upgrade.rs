//! Which protocol a connection is to change to, and the answer that says so.
//!
//! Of the protocols a client offers, the first that is known here is taken, as upstream does.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

const STREAM_PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");
const ACCEPTED_PROTOCOLS: HeaderName = HeaderName::from_static("x-accepted-stream-protocol-versions");
const SPDY: &str = "SPDY/3.1";

/// What the streams are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// `exec` and `attach`.
    Command,
    /// `port-forward`.
    Forward,
}

/// The versions of the remote command protocol differ in a few points.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(u8);

impl Version {
    /// Whether the client tells the size of its terminal.
    pub(crate) fn resizes(self) -> bool {
        self.0 >= 3
    }
    /// Whether the status is an object; a text about the failure otherwise.
    pub(crate) fn has_status_object(self) -> bool {
        self.0 >= 4
    }
    /// Whether the end of the input can be told.
    pub(crate) fn closes_channels(self) -> bool {
        self.0 >= 5
    }
}

/// How bytes are put into WebSocket messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Codec {
    /// A byte for the channel, then the bytes.
    Binary,
    /// A digit for the channel, then the bytes in base64, as text.
    Base64,
}

/// What is spoken after the upgrade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// Numbered channels over WebSocket.
    Channels(Version, Codec),
    /// SPDY.
    Spdy(Version),
    /// SPDY inside the messages of a WebSocket.
    TunnelledSpdy,
}

/// Why a request cannot be upgraded.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) status: StatusCode,
    pub(crate) message: String,
    headers: Box<HeaderMap>,
}

impl Refused {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), headers: Box::default() }
    }

    /// Puts on an answer what goes with the refusal.
    pub(crate) fn headers(self, answer: &mut HeaderMap) {
        answer.extend(*self.headers);
    }
}

/// What was agreed on.
#[derive(Debug)]
pub(crate) struct Agreed {
    pub(crate) protocol: Protocol,
    /// The headers of the answer, which has the status 101.
    headers: HeaderMap,
}

impl Agreed {
    /// The answer after which the protocol changes.
    pub(crate) fn answer<B>(&self, body: B) -> Response<B> {
        let mut answer = Response::new(body);
        *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        answer.headers_mut().clone_from(&self.headers);
        answer
    }
}

/// Reads what a client asks for.
pub(crate) fn negotiate(purpose: Purpose, method: &Method, headers: &HeaderMap) -> Result<Agreed, Refused> {
    let bad = |why: &str| Refused::new(StatusCode::BAD_REQUEST, format!("unable to upgrade: {why}"));
    if !tokens(headers, &header::CONNECTION).any(|token| token.eq_ignore_ascii_case("upgrade")) {
        return Err(bad("missing upgrade headers in request"));
    }
    let mut wanted = tokens(headers, &header::UPGRADE);
    match wanted.next() {
        Some(name) if name.eq_ignore_ascii_case("websocket") => web_socket(purpose, method, headers),
        Some(name) if name.eq_ignore_ascii_case(SPDY) => spdy(purpose, headers),
        _ => Err(bad("missing upgrade headers in request")),
    }
}

fn web_socket(purpose: Purpose, method: &Method, headers: &HeaderMap) -> Result<Agreed, Refused> {
    let bad = |why: &str| Refused::new(StatusCode::BAD_REQUEST, format!("unable to upgrade: {why}"));
    if *method != Method::GET {
        return Err(bad("a WebSocket begins with GET"));
    }
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        let mut refused = bad("bad WebSocket version");
        refused.headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        return Err(refused);
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes).unwrap_or_default();
    if BASE64_STANDARD.decode(key).map(|key| key.len()) != Ok(16) {
        return Err(bad("bad Sec-WebSocket-Key"));
    }
    let offered: Vec<&str> = tokens(headers, &header::SEC_WEBSOCKET_PROTOCOL).collect();
    let protocol = match offered.as_slice() {
        // Clients from before the protocols had names.
        [] => Some((Protocol::Channels(Version(1), Codec::Binary), "")),
        some => some.iter().find_map(|name| Some((channels(purpose, name)?, *name))),
    };
    let Some((protocol, name)) = protocol else {
        return Err(Refused::new(StatusCode::FORBIDDEN, "unable to upgrade: no subprotocol is supported"));
    };
    let mut answer = switching("websocket");
    let accept = HeaderValue::try_from(derive_accept_key(key)).map_err(|_| bad("bad Sec-WebSocket-Key"))?;
    answer.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    if let Ok(name) = HeaderValue::from_str(name)
        && !name.is_empty()
    {
        answer.insert(header::SEC_WEBSOCKET_PROTOCOL, name);
    }
    Ok(Agreed { protocol, headers: answer })
}

fn channels(purpose: Purpose, name: &str) -> Option<Protocol> {
    let channels = |version, codec| Some(Protocol::Channels(Version(version), codec));
    match (purpose, name) {
        (_, "v4.channel.k8s.io") => channels(4, Codec::Binary),
        (_, "v4.base64.channel.k8s.io") => channels(4, Codec::Base64),
        (Purpose::Command, "v5.channel.k8s.io") => channels(5, Codec::Binary),
        (Purpose::Command, "channel.k8s.io") => channels(1, Codec::Binary),
        (Purpose::Command, "base64.channel.k8s.io") => channels(1, Codec::Base64),
        (Purpose::Forward, "SPDY/3.1+portforward.k8s.io") => Some(Protocol::TunnelledSpdy),
        _ => None,
    }
}

fn spdy(purpose: Purpose, headers: &HeaderMap) -> Result<Agreed, Refused> {
    let known: &[(&str, u8)] = match purpose {
        Purpose::Command => &[
            ("v4.channel.k8s.io", 4),
            ("v3.channel.k8s.io", 3),
            ("v2.channel.k8s.io", 2),
            ("channel.k8s.io", 1),
        ],
        Purpose::Forward => &[("portforward.k8s.io", 1)],
    };
    let mut answer = switching(SPDY);
    let offered: Vec<&str> = tokens(headers, &STREAM_PROTOCOL).collect();
    let found = offered.iter().find_map(|name| known.iter().find(|(known, _)| known == name));
    match found {
        Some((name, version)) => {
            answer.insert(STREAM_PROTOCOL, HeaderValue::from_static(name));
            Ok(Agreed { protocol: Protocol::Spdy(Version(*version)), headers: answer })
        }
        None if offered.is_empty() => Ok(Agreed { protocol: Protocol::Spdy(Version(1)), headers: answer }),
        None => {
            let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
            let mut refused = Refused::new(
                StatusCode::FORBIDDEN,
                format!(
                    "unable to upgrade: unable to negotiate protocol: client supports [{}], server accepts [{}]",
                    offered.join(" "),
                    names.join(" ")
                ),
            );
            for name in names {
                refused.headers.append(ACCEPTED_PROTOCOLS, HeaderValue::from_static(name));
            }
            Err(refused)
        }
    }
}

fn switching(to: &'static str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static(to));
    headers
}

/// The members of a header that is a list, also one that comes in several lines.
fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(name).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim).filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(purpose: Purpose, method: Method, headers: &[(&str, &str)]) -> Result<Protocol, StatusCode> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::try_from(*name).unwrap(), HeaderValue::from_str(value).unwrap());
        }
        negotiate(purpose, &method, &map).map(|agreed| agreed.protocol).map_err(|refused| refused.status)
    }

    fn web(protocols: &str) -> Vec<(&str, &str)> {
        vec![
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "WebSocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("sec-websocket-protocol", protocols),
        ]
    }

    #[test]
    fn the_first_protocol_that_is_known_is_taken() {
        let v5 = Protocol::Channels(Version(5), Codec::Binary);
        let v4 = Protocol::Channels(Version(4), Codec::Binary);
        let both = web("v6.channel.k8s.io, v5.channel.k8s.io, v4.channel.k8s.io");
        assert_eq!(ask(Purpose::Command, Method::GET, &both), Ok(v5));
        assert_eq!(ask(Purpose::Forward, Method::GET, &both), Ok(v4));
        let tunnel = web("SPDY/3.1+portforward.k8s.io");
        assert_eq!(ask(Purpose::Forward, Method::GET, &tunnel), Ok(Protocol::TunnelledSpdy));
        assert_eq!(ask(Purpose::Command, Method::GET, &tunnel), Err(StatusCode::FORBIDDEN));
        let spdy = [
            ("connection", "Upgrade"),
            ("upgrade", "SPDY/3.1"),
            ("x-stream-protocol-version", "v5.channel.k8s.io"),
            ("x-stream-protocol-version", "v4.channel.k8s.io"),
        ];
        assert_eq!(ask(Purpose::Command, Method::POST, &spdy), Ok(Protocol::Spdy(Version(4))));
        assert_eq!(ask(Purpose::Forward, Method::POST, &spdy), Err(StatusCode::FORBIDDEN));
    }

    #[test]
    fn what_is_no_upgrade_is_refused() {
        for without in ["connection", "upgrade", "sec-websocket-version", "sec-websocket-key"] {
            let mut headers = web("v5.channel.k8s.io");
            headers.retain(|(name, _)| *name != without);
            assert_eq!(
                ask(Purpose::Command, Method::GET, &headers),
                Err(StatusCode::BAD_REQUEST),
                "{without}"
            );
        }
        let headers = web("v5.channel.k8s.io");
        assert_eq!(ask(Purpose::Command, Method::POST, &headers), Err(StatusCode::BAD_REQUEST));
    }

    #[test]
    fn the_answer_proves_that_the_key_was_read() {
        let headers = web("v5.channel.k8s.io").into_iter().map(|(name, value)| {
            (HeaderName::try_from(name).unwrap(), HeaderValue::from_str(value).unwrap())
        });
        let agreed = negotiate(Purpose::Command, &Method::GET, &headers.collect()).unwrap();
        let answer = agreed.answer(());
        assert_eq!(answer.status(), StatusCode::SWITCHING_PROTOCOLS);
        assert_eq!(answer.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(answer.headers()["sec-websocket-protocol"], "v5.channel.k8s.io");
    }
}
