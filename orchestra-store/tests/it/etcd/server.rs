//! An etcd of one member, as a child of the test: in a directory that goes with it, on free ports, syncing its disk.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use orchestra_store::{EtcdOptions, EtcdStore};
use tempfile::TempDir;

/// How long a member may take until it serves.
const START: Duration = Duration::from_secs(30);
/// So that a request can hold the largest transaction the store's limits allow.
pub(crate) const REQUEST_BYTES: usize = 8 * 1024 * 1024;

/// Whether `etcd` can be run. Says so when it cannot, and fails where it must be there.
pub(crate) fn available() -> bool {
    let found =
        Command::new("etcd").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !found {
        assert!(std::env::var_os("CI").is_none(), "etcd is not on PATH: apt-get install etcd-server");
        eprintln!("skipped: etcd is not on PATH (apt-get install etcd-server)");
    }
    found
}

/// A member that ends with the value.
#[derive(Debug)]
pub(crate) struct Member {
    child: Child,
}

impl Member {
    /// Starts one with these arguments.
    pub(crate) fn start(dir: &Path, arguments: &[String]) -> Self {
        let log = File::options().create(true).append(true).open(dir.join("etcd.log")).unwrap();
        let child = Command::new("etcd")
            .args(arguments)
            .args(["--heartbeat-interval", "20", "--election-timeout", "200", "--logger", "zap"])
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { child }
    }
}

impl Member {
    /// Ends it as a power cut would.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // It may have been killed already.
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}

/// Ports that nobody listens on.
pub(crate) fn free_ports<const N: usize>() -> [u16; N] {
    // All held at once, so that they differ.
    let listeners: [TcpListener; N] = std::array::from_fn(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

/// An etcd of one member.
#[derive(Debug)]
pub(crate) struct Single {
    member: Member,
    dir: TempDir,
    arguments: Vec<String>,
    port: u16,
}

impl Single {
    /// Starts one.
    pub(crate) fn start() -> Self {
        Self::start_taking(REQUEST_BYTES)
    }

    /// Starts one that takes requests of so many bytes.
    pub(crate) fn start_taking(bytes: usize) -> Self {
        Self::start_with("http", &["--max-request-bytes".to_owned(), bytes.to_string()])
    }

    /// Starts one with TLS, as these arguments say.
    pub(crate) fn start_secure(tls: &[String]) -> Self {
        Self::start_with("https", tls)
    }

    fn start_with(scheme: &str, more: &[String]) -> Self {
        let (dir, [client, peer]) = (tempfile::tempdir().unwrap(), free_ports());
        let cluster = format!("one={}", http(peer));
        let url = format!("{scheme}://127.0.0.1:{client}");
        let own = member_arguments("one", dir.path(), &url, peer, peer, &cluster);
        let arguments = [&own, more].concat();
        let member = Member::start(dir.path(), &arguments);
        Self { member, dir, arguments, port: client }
    }

    /// Kills it, and starts it again on the same disk.
    pub(crate) fn restart(&mut self) {
        self.member.kill();
        self.member = Member::start(self.dir.path(), &self.arguments);
    }

    /// Where a store below this root is.
    pub(crate) fn url(&self, scheme: &str, root: &str) -> String {
        format!("{scheme}://127.0.0.1:{}{root}", self.port)
    }

    /// What leads to it.
    pub(crate) fn options(&self) -> EtcdOptions {
        self.options_at("")
    }

    /// What leads to a store below this root.
    pub(crate) fn options_at(&self, root: &str) -> EtcdOptions {
        EtcdOptions::parse(&self.url("etcd", root)).unwrap().max_request_bytes(REQUEST_BYTES)
    }

    /// Asks etcd itself, beside the store: what its JSON gateway answers.
    pub(crate) fn ask(&self, path: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let length = body.len();
        write!(stream, "POST {path} HTTP/1.1\r\nHost: etcd\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
        answer
    }

    /// A store in it.
    pub(crate) async fn store(&self) -> EtcdStore {
        connect(self.options()).await
    }
}

/// Connects as soon as there is somebody who answers.
pub(crate) async fn connect(options: EtcdOptions) -> EtcdStore {
    let begun = Instant::now();
    loop {
        match EtcdStore::connect(options.clone()).await {
            Ok(store) => return store,
            Err(error) => assert!(begun.elapsed() < START, "etcd does not serve: {error}"),
        }
    }
}

pub(crate) fn http(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

/// Of a member whose peers reach it at another port than the one it listens on.
pub(crate) fn member_arguments(
    name: &str,
    dir: &Path,
    client: &str,
    peer: u16,
    reached_at: u16,
    cluster: &str,
) -> Vec<String> {
    let (peer, reached_at) = (http(peer), http(reached_at));
    let data = dir.join("data").display().to_string();
    [
        ["--name", name],
        ["--data-dir", &data],
        ["--listen-client-urls", client],
        ["--advertise-client-urls", client],
        ["--listen-peer-urls", &peer],
        ["--initial-advertise-peer-urls", &reached_at],
        ["--initial-cluster", cluster],
    ]
    .concat()
    .into_iter()
    .map(str::to_owned)
    .collect()
}
