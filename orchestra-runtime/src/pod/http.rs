//! The little HTTP that probes and hooks need.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{Container, HTTPGetAction};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use tokio::net::TcpStream;

/// How much of an answer is read.
const MAX_ANSWER: usize = 10 * 1024;

/// Why there was no answer.
#[derive(Debug)]
pub(crate) enum NoAnswer {
    /// Nobody listens there.
    Refused(String),
    Other(String),
}

/// The number of a port given by number or by name.
pub(crate) fn port(container: &Container, port: &IntOrString) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => name.parse().ok().or_else(|| {
            let ports = container.ports.iter().flatten();
            ports.clone().find(|p| p.name.as_deref() == Some(name)).map(|p| p.container_port)
        }),
    };
    let number = number.and_then(|n| u16::try_from(n).ok()).filter(|n| *n > 0);
    number.ok_or_else(|| format!("invalid port: {port:?}"))
}

/// Connects, in the words of upstream where that fails.
pub(crate) async fn connect(host: &str, port: u16) -> Result<TcpStream, NoAnswer> {
    let shown = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    TcpStream::connect((host, port)).await.map_err(|e| {
        if e.kind() == std::io::ErrorKind::ConnectionRefused {
            NoAnswer::Refused(format!("dial tcp {shown}:{port}: connect: connection refused"))
        } else {
            NoAnswer::Other(format!("dial tcp {shown}:{port}: {e}"))
        }
    })
}

/// One GET request, and the beginning of its answer.
pub(crate) async fn get(
    container: &Container,
    address: &str,
    action: &HTTPGetAction,
    agent: &str,
    timeout: Duration,
) -> Result<(StatusCode, String), NoAnswer> {
    if action.scheme.as_deref() == Some("HTTPS") {
        return Err(NoAnswer::Other("HTTPS is not supported by this node yet".to_owned()));
    }
    let host = action.host.as_deref().filter(|h| !h.is_empty()).unwrap_or(address);
    let port = port(container, &action.port).map_err(NoAnswer::Other)?;
    let path = action.path.as_deref().filter(|p| !p.is_empty()).unwrap_or("/");
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let authority = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let asked = format!("Get \"http://{authority}{path}\"");
    let request = request(&path, &authority, agent, action).map_err(NoAnswer::Other)?;
    let exchange = async {
        let stream = connect(host, port).await.map_err(|no| match no {
            NoAnswer::Refused(why) => NoAnswer::Refused(format!("{asked}: {why}")),
            NoAnswer::Other(why) => NoAnswer::Other(format!("{asked}: {why}")),
        })?;
        let failed = |e: hyper::Error| NoAnswer::Other(format!("{asked}: {e}"));
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
        let answer = async {
            let response = sender.send_request(request).await.map_err(failed)?;
            let status = response.status();
            // An answer that is too long or breaks off still has its status.
            let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
            let body = body.map(|b| String::from_utf8_lossy(&b.to_bytes()).into_owned()).unwrap_or_default();
            Ok((status, body))
        };
        tokio::pin!(answer, connection);
        tokio::select! {
            biased;
            answer = &mut answer => answer,
            // The connection may end before its answer was taken out.
            _ = &mut connection => answer.await,
        }
    };
    match tokio::time::timeout(timeout, exchange).await {
        Ok(answer) => answer,
        Err(_) => Err(NoAnswer::Other(format!(
            "{asked}: context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
        ))),
    }
}

fn request(
    path: &str,
    authority: &str,
    agent: &str,
    action: &HTTPGetAction,
) -> Result<Request<Empty<Bytes>>, String> {
    let mut request = Request::get(path)
        .header(header::USER_AGENT, agent)
        .header(header::ACCEPT, "*/*")
        .header(header::CONNECTION, "close");
    let given = action.http_headers.as_deref().unwrap_or_default();
    for h in given {
        request = request.header(&h.name, &h.value);
    }
    if !given.iter().any(|h| h.name.eq_ignore_ascii_case("host")) {
        request = request.header(header::HOST, authority);
    }
    request.body(Empty::new()).map_err(|e| e.to_string())
}
