//! What a request costs that nothing is done about: the same HTTP and TLS libraries, a runtime of the same kind, an answer of the
//! same size, and for a write one append that is synced before the answer; for a watch, a line of the size of an event for each write. No
//! server built of them can take less.

use std::convert::Infallible;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};
use tokio_rustls::TlsAcceptor;

use crate::bound::EVENT;
use crate::load::Load;
use crate::objects;
use crate::process::Server;
use crate::report::Report;
use crate::watchers::{self, KINDS};
use crate::wire::Wire;

/// The argument that makes this program the server, before the folder it finds its certificate in.
pub(crate) const SERVE: &str = "serve-floor";
const HOST: &str = "localhost";
/// Requests that wait for their append to be synced.
const WAITING: usize = 1024;
/// Bytes of a pod as it is answered, of ten thousand in a list, and of a page of five hundred.
const POD: usize = 2_070;
const LIST: usize = 20_700_000;
const PAGE: usize = LIST / 20;
/// Answers are cut from this.
static ZEROS: LazyLock<Bytes> = LazyLock::new(|| vec![b'0'; LIST].into());
/// What watchers are sent is cut from these lines: what writers are to write before one of them comes.
static LINES: LazyLock<Bytes> = LazyLock::new(|| {
    let line = [&[b'0'; EVENT - 1][..], b"\n"].concat();
    line.repeat(MOST_EVENTS).into()
});
const MOST_EVENTS: usize = 10_000;
/// As long as the server rests between rounds of a hundred watchers.
const REST: Duration = Duration::from_millis(5);

/// How much is asked for.
pub(crate) struct Amount {
    pub(crate) requests: usize,
    pub(crate) lists: usize,
    pub(crate) watchers: usize,
    pub(crate) events: usize,
}

/// A row for each sort of request.
pub(crate) async fn measure(report: &mut Report, connections: usize, amount: Amount) {
    let Amount { requests: count, lists, watchers, events } = amount;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let made = rcgen::generate_simple_self_signed([HOST.to_owned()]).expect("a certificate");
    std::fs::write(folder.path().join("certificate"), made.cert.der()).expect("a folder");
    std::fs::write(folder.path().join("key"), made.signing_key.serialize_der()).expect("a folder");
    let server = Server::floor(folder.path());
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).expect("a certificate");
    let tls = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let port = std::fs::read_to_string(folder.path().join("port")).expect("written before it is ready");
    let wire = Wire::new(tls, HOST.to_owned(), port.parse().expect("a number"));

    let load = Load { wire: &wire, server: &server, connections };
    for (what, object) in [("ConfigMap", objects::config_map as fn(usize) -> Vec<u8>), ("Pod", objects::pod)]
    {
        let post = async |path: &str| load.run(count, |at| (Method::POST, path.into(), object(at))).await;
        report.row(&format!("floor: a {what} is taken and answered"), &post("/").await);
        report.row("floor: the same, and synced before", &post("/synced").await);
    }
    let get = async |load: &Load<'_>, count, bytes: usize| {
        load.run(count, |_| (Method::GET, format!("/{bytes}"), Vec::new())).await
    };
    report.row(&format!("floor: {POD} bytes are read"), &get(&load, count, POD).await);
    let load = Load { connections: 1, ..load };
    report.row(&format!("floor: {:.1} MB are read", LIST as f64 / 1e6), &get(&load, lists, LIST).await);
    report.row("floor: a twentieth of it", &get(&load, lists * 20, PAGE).await);
    let [(what, resource, object), ..] = KINDS;
    let watched = watchers::run(&wire, &server, resource, object, watchers, events).await;
    report.row(&format!("floor: {watchers} watchers, {what}: deliveries"), &watched);
    server.stop();
}

/// Serves until it is killed.
pub(crate) async fn serve(folder: &Path) {
    let read = |file: &str| std::fs::read(folder.join(file)).expect("the folder was made");
    let certificate = CertificateDer::from(read("certificate"));
    let key = PrivateKeyDer::Pkcs8(read("key").into());
    let tls = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key);
    let acceptor = TlsAcceptor::from(Arc::new(tls.expect("a key")));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let (sender, appended) = mpsc::channel(WAITING);
    let journal = Journal { sender, events: watch::Sender::new(0) };
    let file = File::create(folder.join("journal")).expect("the folder was made");
    std::thread::spawn(move || keep(file, appended));
    let port = listener.local_addr().expect("bound").port();
    std::fs::write(folder.join("port"), port.to_string()).expect("the folder was made");
    println!("ready");
    loop {
        let (stream, _) = listener.accept().await.expect("a client");
        tokio::spawn(welcome(stream, acceptor.clone(), journal.clone()));
    }
}

type Append = (Bytes, oneshot::Sender<()>);

#[derive(Clone)]
struct Journal {
    sender: mpsc::Sender<Append>,
    /// How many writes there were that watchers are told of.
    events: watch::Sender<usize>,
}

impl Journal {
    async fn append(&self, body: Bytes) {
        let (done, synced) = oneshot::channel();
        self.sender.send((body, done)).await.expect("the journal is kept");
        synced.await.expect("the journal is kept");
    }

    /// A line for each write from now on, as many at once as there are.
    fn lines(&self) -> impl Stream<Item = Result<Frame<Bytes>, Infallible>> + use<> {
        let events = self.events.subscribe();
        futures::stream::unfold((events, 0, Instant::now()), |(mut events, seen, rested)| async move {
            sleep_until(rested).await;
            let made = *events.wait_for(|made| *made > seen).await.ok()?;
            let lines = LINES.slice(..(made - seen) * EVENT);
            Some((Ok(Frame::data(lines)), (events, made, Instant::now() + REST)))
        })
    }
}

/// Writes whatever waits at once, and syncs it once, as the store does.
fn keep(mut file: File, mut appended: mpsc::Receiver<Append>) {
    while let Some(first) = appended.blocking_recv() {
        let mut batch = vec![first];
        while let Ok(next) = appended.try_recv() {
            batch.push(next);
        }
        let bytes: Vec<u8> = batch.iter().flat_map(|(bytes, _)| bytes.iter().copied()).collect();
        file.write_all(&bytes).expect("a disk");
        file.sync_data().expect("a disk");
        for (_, done) in batch {
            // Whoever has gone does not wait.
            let _told = done.send(());
        }
    }
}

async fn welcome(stream: TcpStream, acceptor: TlsAcceptor, journal: Journal) {
    stream.set_nodelay(true).expect("a socket");
    let stream = acceptor.accept(stream).await.expect("a handshake");
    let service = service_fn(|request| answer(request, journal.clone()));
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new());
    // A client that has what it wanted goes without a word.
    let _ended = builder.serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(
    request: Request<Incoming>,
    journal: Journal,
) -> Result<Response<UnsyncBoxBody<Bytes, Infallible>>, Infallible> {
    let path = request.uri().path().trim_start_matches('/').to_owned();
    let is_watched = path.ends_with("configmaps");
    let body = if request.method() == Method::POST {
        let body = request.into_body().collect().await.expect("a whole request").to_bytes();
        if is_watched || path == "synced" {
            journal.append(body.clone()).await;
        }
        if is_watched {
            journal.events.send_modify(|made| *made += 1);
        }
        body
    } else if is_watched {
        return Ok(Response::new(StreamBody::new(journal.lines()).boxed_unsync()));
    } else {
        let bytes: usize = path.parse().expect("a number of bytes");
        ZEROS.slice(..bytes)
    };
    Ok(Response::new(Full::new(body).boxed_unsync()))
}
