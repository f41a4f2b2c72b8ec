//! `proxy` below pods, services and nodes: the request goes on to what the object stands for, with every method and
//! body, also when it asks for another protocol.

use std::time::Duration;

use http::header::{self, HeaderName};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower::BoxError;

use super::page::{self, Place};
use super::target::{self, Target};
use super::upgrade;
use crate::body::{self, Body};
use crate::request::Verb;
use crate::state::{Call, State};
use crate::status::StatusError;

/// How long a connection may take to come up, as upstream's dialer.
const DIAL: Duration = Duration::from_secs(30);

/// Headers that are about one connection and not about the message.
const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Answers with what the target answers.
pub(super) async fn proxy(
    state: &State,
    call: &Call,
    parts: &mut Parts,
    body: Body,
) -> Result<Response<Body>, StatusError> {
    if call.request.verb == Verb::Other && parts.method != Method::OPTIONS {
        return Err(StatusError::method_not_supported());
    }
    let path = parts.uri.path().to_owned();
    let Some((prefix, rest)) = split(&path) else { return Err(StatusError::no_such_resource()) };
    let upgrade = upgrade::is_asked(&call.headers);
    if rest.is_empty() && !upgrade && matches!(parts.method, Method::GET | Method::HEAD) {
        // Relative links of the page would otherwise lead out of the proxy.
        return Ok(moved(&format!("{path}/"), parts.uri.query()));
    }
    let target = target::find(state, call).await?;
    let query = parts.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let inner = format!("{}{query}", if rest.is_empty() { "/" } else { rest });
    // An agent runs commands on such a connection. Upstream lets `get` of nodes/proxy have that.
    if upgrade && matches!(target, Target::Agent(_)) && call.request.verb != Verb::Create {
        super::demand_create(state, call, &path).await?;
    }
    let place = upgrade.then(|| state.streams.place()).transpose()?;
    let mut request = Request::builder()
        .method(&parts.method)
        .uri(&inner)
        .body(body)
        .map_err(|error| StatusError::bad_request(error.to_string()))?;
    *request.headers_mut() = onward(&call.headers, upgrade, &path);
    let accepted = call.headers.get(header::ACCEPT).and_then(|media| media.to_str().ok());
    if accepted.is_some_and(|media| media.contains("text/html")) {
        // A page that is to be changed on its way comes as it is.
        request.headers_mut().remove(header::ACCEPT_ENCODING);
    }
    let unreachable =
        |error: BoxError| StatusError::unavailable(format!("error trying to reach service: {error}"));
    let mut answer = match &target {
        Target::Agent(node) => {
            let nodes = state.nodes.as_ref();
            let nodes =
                nodes.ok_or_else(|| StatusError::unavailable("this server has no way to reach its nodes"))?;
            nodes.send(node, request).await.map_err(unreachable)?
        }
        Target::Address(ip, port) => {
            let host = std::net::SocketAddr::new(*ip, *port);
            let value = HeaderValue::try_from(host.to_string()).map_err(StatusError::internal)?;
            request.headers_mut().insert(header::HOST, value);
            send(host, request).await.map_err(unreachable)?
        }
    };
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        let Some(place) = place else {
            return Err(unreachable("the service changed to a protocol that nobody asked for".into()));
        };
        return Ok(upgrade::joined(state, place, parts.extensions.remove(), answer));
    }
    let host = |headers: &HeaderMap| {
        headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default().to_owned()
    };
    let place = Place { prefix: prefix.to_owned(), hosts: Some([target.host(), host(&call.headers)]) };
    let is_redirect = returned(&mut answer, &place);
    if is_redirect || !page::is_page(answer.headers()) {
        return Ok(answer);
    }
    answer.headers_mut().remove(header::CONTENT_LENGTH);
    Ok(answer.map(|page| page::inside(page, place).boxed_unsync()))
}

/// The part of a path up to `proxy`, and what follows it, as they came: encodings are the target's business.
fn split(path: &str) -> Option<(&str, &str)> {
    // /api/v1/namespaces/NS/pods/NAME/proxy or /api/v1/nodes/NAME/proxy
    let mut segments = 0;
    for (start, _) in path.match_indices('/') {
        let segment = path.get(start + 1..)?.split('/').next()?;
        if segment.is_empty() {
            continue;
        }
        segments += 1;
        if segment == "proxy" && matches!(segments, 5 | 7) {
            return Some(path.split_at(start + 1 + segment.len()));
        }
    }
    None
}

fn moved(path: &str, query: Option<&str>) -> Response<Body> {
    let mut response = Response::new(body::whole(""));
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    let to = query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
    if let Ok(to) = HeaderValue::try_from(to) {
        response.headers_mut().insert(header::LOCATION, to);
    }
    response
}

/// The headers that go on. Credentials are for this server, and whom the client acts as is settled here.
pub(crate) fn onward(headers: &HeaderMap, upgrade: bool, path: &str) -> HeaderMap {
    let mut out = HeaderMap::new();
    let listed: Vec<String> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    for (name, value) in headers {
        let own = *name == header::AUTHORIZATION
            || name.as_str().starts_with("impersonate-")
            || name.as_str().starts_with("x-remote-");
        if !(own || HOP_BY_HOP.contains(name) || listed.iter().any(|l| l == name.as_str())) {
            out.append(name.clone(), value.clone());
        }
    }
    out.insert("x-forwarded-proto", HeaderValue::from_static("https"));
    if let Ok(uri) = HeaderValue::from_str(path) {
        out.insert("x-forwarded-uri", uri);
    }
    if let Some(host) = headers.get(header::HOST) {
        out.insert("x-forwarded-host", host.clone());
    }
    // There may be a token in it.
    out.remove(header::SEC_WEBSOCKET_PROTOCOL);
    if upgrade {
        out.extend(upgrade::handshake(headers).into_iter().filter_map(|(n, v)| Some((n?, v))));
    }
    out
}

/// Adapts what comes back to where the client thinks it is. Says whether it leads somewhere else.
pub(crate) fn returned(answer: &mut Response<Body>, place: &Place) -> bool {
    let headers = answer.headers_mut();
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
    // Pages of other origins are not to use the credentials a browser has for this server.
    let foreign: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with("access-control-")).cloned().collect();
    for name in foreign {
        headers.remove(name);
    }
    let Some(location) = headers.get(header::LOCATION) else { return false };
    let inside = location.to_str().ok().map(|to| place.inside(to).into_owned());
    if let Some(Ok(inside)) = inside.map(HeaderValue::try_from) {
        headers.insert(header::LOCATION, inside);
    }
    true
}

/// Sends a request over a connection of its own.
async fn send(host: std::net::SocketAddr, request: Request<Body>) -> Result<Response<Body>, BoxError> {
    let stream =
        timeout(DIAL, TcpStream::connect(host)).await.map_err(|_| format!("dial tcp {host}: i/o timeout"))?;
    let stream = stream.map_err(|error| format!("dial tcp {host}: {error}"))?;
    exchange(stream, request).await
}

/// Sends a request over a connection that is open.
pub(crate) async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Body>,
) -> Result<Response<Body>, BoxError> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = connection.with_upgrades();
    tokio::spawn(async move {
        if let Err(problem) = connection.await {
            tracing::debug!(%problem, "a proxied request was broken off");
        }
    });
    let answer = sender.send_request(request).await?;
    Ok(answer.map(|body| body.map_err(|error| -> BoxError { error.into() }).boxed_unsync()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_split_as_it_came() {
        for (path, prefix, rest) in [
            (
                "/api/v1/namespaces/n/pods/p:80/proxy/a%2Fb//c/",
                "/api/v1/namespaces/n/pods/p:80/proxy",
                "/a%2Fb//c/",
            ),
            (
                "/api/v1/namespaces/proxy/services/proxy/proxy",
                "/api/v1/namespaces/proxy/services/proxy/proxy",
                "",
            ),
            ("/api/v1/nodes/n/proxy/proxy/", "/api/v1/nodes/n/proxy", "/proxy/"),
        ] {
            assert_eq!(split(path), Some((prefix, rest)), "{path}");
        }
    }

    #[test]
    fn credentials_do_not_go_on_and_redirects_stay_inside() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("authorization", "Bearer x"),
            ("impersonate-user", "root"),
            ("x-remote-user", "root"),
            ("sec-websocket-protocol", "base64url.bearer.authorization.k8s.io.c2VjcmV0, mine"),
            ("connection", "close, x-once"),
            ("x-once", "1"),
            ("x-kept", "1"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let upgraded = onward(&headers, true, "/api");
        assert_eq!(upgraded[header::SEC_WEBSOCKET_PROTOCOL], "mine");
        let onward = onward(&headers, false, "/api");
        let mut names: Vec<&str> = onward.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["x-forwarded-proto", "x-forwarded-uri", "x-kept"]);

        let mut answer = Response::new(body::whole(""));
        answer
            .headers_mut()
            .insert(header::LOCATION, HeaderValue::from_static("http://10.0.0.1:80/login?a=b"));
        answer.headers_mut().insert("access-control-allow-origin", HeaderValue::from_static("*"));
        let hosts = Some(["10.0.0.1:80".to_owned(), String::new()]);
        returned(&mut answer, &Place { prefix: "/api/v1/nodes/n/proxy".to_owned(), hosts });
        assert_eq!(answer.headers()[header::LOCATION], "/api/v1/nodes/n/proxy/login?a=b");
        assert_eq!(answer.headers().len(), 1);
    }
}
