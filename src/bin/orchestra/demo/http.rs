//! As much HTTP as the guestbook speaks: one server loop that ends gently, and one call to another part.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Problem, variable};

/// The largest body that is read, from clients and other parts alike.
const LARGEST_BODY: usize = 64 * 1024;
/// How long another part may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// After it was told to stop, a part still answers for so long: requests may be on their way to it.
const FAREWELL: Duration = Duration::from_millis(500);

/// Answers with a text.
pub(super) fn text(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}

/// Serves on `POD_IP:PORT` until told to stop, then takes its leave.
pub(super) async fn serve<H, F>(handler: H) -> Result<(), Problem>
where
    H: Fn(Request<Bytes>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let port: u16 = std::env::var("PORT").unwrap_or_else(|_| "8080".into()).parse()?;
    let address = SocketAddr::new(variable("POD_IP")?.parse()?, port);
    let listener = TcpListener::bind(address)
        .await
        .map_err(|problem| format!("cannot listen on {address}: {problem}"))?;
    println!("listening on {address}");
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let leave = CancellationToken::new();
    let connections = TaskTracker::new();
    let mut leaving = false;
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted?;
                connections.spawn(converse(stream, handler.clone(), leave.clone()));
            }
            _ = terminate.recv(), if !leaving => leaving = announce(),
            _ = interrupt.recv(), if !leaving => leaving = announce(),
            () = sleep(FAREWELL), if leaving => break,
        }
    }
    leave.cancel();
    connections.close();
    connections.wait().await;
    Ok(())
}

fn announce() -> bool {
    println!("told to stop");
    true
}

async fn converse<H, F>(stream: TcpStream, handler: H, leave: CancellationToken)
where
    H: Fn(Request<Bytes>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let handler = handler.clone();
        async move {
            let (head, body) = request.into_parts();
            Ok::<_, Infallible>(match Limited::new(body, LARGEST_BODY).collect().await {
                Ok(body) => handler(Request::from_parts(head, body.to_bytes())).await,
                Err(problem) => text(StatusCode::PAYLOAD_TOO_LARGE, "text/plain", format!("{problem}\n")),
            })
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = leave.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(problem) = ended
        && !problem.is_incomplete_message()
    {
        eprintln!("connection broken off: {problem}");
    }
}

/// Asks another part, at `HOST:PORT`.
pub(super) async fn ask(
    host: &str,
    request: http::request::Builder,
    body: Bytes,
) -> Result<Response<Bytes>, Problem> {
    timeout(PATIENCE, async {
        let stream = TcpStream::connect(host).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let carrier = tokio::spawn(connection);
        let request =
            request.header(header::HOST, host).header(header::CONNECTION, "close").body(Full::new(body))?;
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = Limited::new(body, 16 * LARGEST_BODY).collect().await?.to_bytes();
        drop(sender);
        carrier.await??;
        Ok(Response::from_parts(head, body))
    })
    .await
    .map_err(|_| format!("{host} did not answer within {} s", PATIENCE.as_secs()))?
}
