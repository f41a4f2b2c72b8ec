//! The change of protocol, between a client and a node.

use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncWriteExt, copy_bidirectional_with_sizes};
use tokio::time::{Duration, timeout};
use tokio_util::sync::CancellationToken;

use super::tunnels::Place;
use crate::audit::Tunnelled;
use crate::auth::token;
use crate::body::{self, Body};
use crate::state::State;
use crate::status::StatusError;

/// How much is held of each direction of a tunnel.
const BUFFER: usize = 32 * 1024;
/// How long the sides of a stream may take to hear that it ends.
pub(super) const GOODBYE: Duration = Duration::from_secs(2);
/// The most of a node's refusal that is shown.
const MAX_REFUSAL: usize = 64 * 1024;

const STREAM_PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");
const ACCEPTED_PROTOCOLS: HeaderName = HeaderName::from_static("x-accepted-stream-protocol-versions");

/// Whether a request asks for another protocol.
pub(crate) fn is_asked(headers: &HeaderMap) -> bool {
    let mut connection =
        headers.get_all(header::CONNECTION).into_iter().filter_map(|line| line.to_str().ok());
    headers.contains_key(header::UPGRADE)
        && connection.any(|line| line.split(',').any(|token| token.trim().eq_ignore_ascii_case("upgrade")))
}

/// The headers of the handshake, and no others.
pub(super) fn handshake(headers: &HeaderMap) -> HeaderMap {
    let mut out = HeaderMap::new();
    for name in [header::UPGRADE, header::SEC_WEBSOCKET_KEY, header::SEC_WEBSOCKET_VERSION, STREAM_PROTOCOL] {
        for value in headers.get_all(&name) {
            out.append(name.clone(), value.clone());
        }
    }
    out.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    let offered = protocols(headers).join(", ");
    if let Ok(offered) = HeaderValue::from_str(&offered)
        && !offered.is_empty()
    {
        out.insert(header::SEC_WEBSOCKET_PROTOCOL, offered);
    }
    out
}

/// The subprotocols that are offered, without credentials: a node has no business with those.
pub(super) fn protocols(headers: &HeaderMap) -> Vec<&str> {
    offered(headers).filter(|name| !name.starts_with(token::SUBPROTOCOL)).collect()
}

/// All subprotocols that are offered.
pub(crate) fn offered(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).into_iter();
    let names = lines.flat_map(|line| line.to_str().unwrap_or_default().split(',')).map(str::trim);
    names.filter(|name| !name.is_empty())
}

/// The client's answer to what the node answered: the node's agreement, with the connections joined, or a refusal.
pub(super) async fn conclude(
    state: &State,
    place: Place,
    client: Option<OnUpgrade>,
    mut answer: Response<Body>,
) -> Result<Response<Body>, StatusError> {
    let status = answer.status();
    if status != StatusCode::SWITCHING_PROTOCOLS {
        return Err(refusal(answer).await);
    }
    let mut headers = HeaderMap::new();
    for name in [
        header::CONNECTION,
        header::UPGRADE,
        header::SEC_WEBSOCKET_ACCEPT,
        header::SEC_WEBSOCKET_PROTOCOL,
        STREAM_PROTOCOL,
    ] {
        if let Some(value) = answer.headers().get(&name) {
            headers.insert(name, value.clone());
        }
    }
    *answer.headers_mut() = headers;
    Ok(joined(state, place, client, answer))
}

/// The client's answer to an agreement, whose headers it keeps.
pub(crate) fn joined(
    state: &State,
    place: Place,
    client: Option<OnUpgrade>,
    mut answer: Response<Body>,
) -> Response<Body> {
    let node = hyper::upgrade::on(&mut answer);
    let mut agreed = Response::new(body::whole(""));
    *agreed.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    agreed.headers_mut().clone_from(answer.headers());
    match client {
        Some(client) => {
            // The request is over when the tunnel is.
            let told = Tunnelled::default();
            agreed.extensions_mut().insert(told.clone());
            state.streams.run(place, |shutdown| async move {
                join(client, node, shutdown).await;
                drop(told);
            });
        }
        // A client in this process takes the node's connection as it is.
        None => {
            agreed.extensions_mut().insert(node);
        }
    }
    agreed
}

async fn refusal(answer: Response<Body>) -> StatusError {
    let status = answer.status();
    let accepted: Vec<HeaderValue> = answer.headers().get_all(ACCEPTED_PROTOCOLS).iter().cloned().collect();
    let text = match body::read_at_most(answer.into_body(), MAX_REFUSAL).await {
        Ok(text) => String::from_utf8_lossy(&text).trim().to_owned(),
        Err(error) => error.to_string(),
    };
    match status {
        StatusCode::BAD_REQUEST => StatusError::bad_request(text),
        StatusCode::FORBIDDEN if !accepted.is_empty() || text.starts_with("unable to upgrade") => {
            StatusError::bad_request(text)
        }
        _ => StatusError::internal(format!("unable to upgrade connection: {text}")),
    }
}

/// Copies both ways until both have ended, one has failed, or the server goes.
async fn join(client: OnUpgrade, node: OnUpgrade, shutdown: CancellationToken) {
    let (client, node) = match tokio::try_join!(client, node) {
        Ok(both) => both,
        Err(problem) => return tracing::debug!(%problem, "a connection was not upgraded"),
    };
    let (mut client, mut node) = (TokioIo::new(client), TokioIo::new(node));
    tokio::select! {
        () = shutdown.cancelled() => {
            // Both learn that it is over, as far as they still listen.
            let ending = async { tokio::join!(client.shutdown(), node.shutdown()) };
            if let Err(problem) = timeout(GOODBYE, ending).await {
                tracing::debug!(%problem, "a stream did not end in time");
            }
        }
        copied = copy_bidirectional_with_sizes(&mut client, &mut node, BUFFER, BUFFER) => {
            if let Err(problem) = copied {
                tracing::debug!(%problem, "a stream was broken off");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_and_other_headers_stay_here() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "keep-alive, upgrade"),
            ("upgrade", "websocket"),
            ("authorization", "Bearer secret"),
            ("cookie", "a=b"),
            ("x-remote-user", "system:admin"),
            ("sec-websocket-protocol", "base64url.bearer.authorization.k8s.io.c2VjcmV0, v5.channel.k8s.io"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        assert!(is_asked(&headers));
        let passed = handshake(&headers);
        let mut names: Vec<&str> = passed.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["connection", "sec-websocket-protocol", "upgrade"]);
        assert_eq!(passed["sec-websocket-protocol"], "v5.channel.k8s.io");
        headers.remove("connection");
        assert!(!is_asked(&headers));
    }
}
