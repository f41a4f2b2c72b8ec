//! The whole product with its state in a real etcd. Where there is none, these tests say so and pass, except where `CI` is set:
//! there they fail.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::harness::{Cluster, get, guestbook, orchestra, post, text};

/// An etcd of one member that ends with the value.
#[derive(Debug)]
pub(crate) struct Etcd {
    process: Child,
    folder: TempDir,
    client: u16,
    peer: u16,
}

impl Etcd {
    /// Starts one, unless there is none on this machine.
    pub(crate) fn start() -> Option<Self> {
        let version =
            Command::new("etcd").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if version.is_err() {
            assert!(std::env::var_os("CI").is_none(), "etcd is not on PATH: apt-get install etcd-server");
            eprintln!("skipped: etcd is not on PATH (apt-get install etcd-server)");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        // Held together, so that they differ.
        let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [client, peer] = listeners.map(|listener| listener.local_addr().unwrap().port());
        let process = serve(folder.path(), client, peer);
        Some(Self { process, folder, client, peer })
    }

    /// For `--store`.
    pub(crate) fn url(&self) -> String {
        format!("etcd://127.0.0.1:{}/it", self.client)
    }

    /// Ends it as a power cut would.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts it again on its own disk.
    pub(crate) fn start_again(&mut self) {
        self.process = serve(self.folder.path(), self.client, self.peer);
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        // It may have been killed already.
        let _gone = self.process.kill();
        let _status = self.process.wait();
    }
}

fn serve(folder: &Path, client: u16, peer: u16) -> Child {
    let (client, peer) = (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
    Command::new("etcd")
        .arg("--data-dir")
        .arg(folder.join("data"))
        .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        .args([
            "--initial-cluster",
            &format!("default={peer}"),
            "--logger",
            "zap",
            "--log-outputs",
            "/dev/null",
        ])
        .args(["--heartbeat-interval", "20", "--election-timeout", "200"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn a_cluster_in_etcd_runs_the_guestbook_and_is_there_again() {
    let Some(mut etcd) = Etcd::start() else { return };
    let (url, manifest) = (etcd.url(), guestbook());
    let mut cluster = Cluster::start_with(&["--store", &url, "-f", manifest.to_str().unwrap()]);
    let frontend = cluster.service("guestbook/frontend");
    assert_eq!(post(&frontend, "/", "entry=Kept+in+etcd").unwrap().0, 303);
    let (_, page) = get(&frontend, &frontend, "/").unwrap();
    assert!(page.contains("Kept in etcd"), "{page}");
    assert!(!cluster.folder.path().join("store").exists(), "nothing is kept here besides");

    // etcd goes away and comes back; the cluster waits for it.
    etcd.kill();
    assert!(!cluster.kubectl_fails(&["create", "configmap", "lost"]).is_empty());
    etcd.start_again();
    cluster.eventually(&["get", "pods", "-n", "guestbook"], |pods| pods.contains("store-0"));
    cluster.kubectl(&["create", "configmap", "kept", "--from-literal=k=v"]);

    // A snapshot goes into a directory, and what is in etcd is found again by another start.
    let file = cluster.folder.path().join("a.snapshot");
    let kubeconfig = cluster.folder.path().join("admin.kubeconfig");
    let saved =
        orchestra().args(["snapshot", "save"]).arg(&file).env("KUBECONFIG", kubeconfig).output().unwrap();
    assert!(saved.status.success(), "{}", text(&saved.stderr));
    let held = orchestra().args(["snapshot", "restore"]).arg(&file).args(["--store", &url]).output().unwrap();
    assert_eq!(held.status.code(), Some(1));
    assert!(text(&held.stderr).contains("already holds data"), "{}", text(&held.stderr));

    assert_eq!(cluster.stop(), Some(0));
    let elsewhere = format!("{url}-restored");
    let restored =
        orchestra().args(["snapshot", "restore"]).arg(&file).args(["--store", &elsewhere]).output().unwrap();
    assert!(restored.status.success(), "{}", text(&restored.stderr));
    for url in [url, elsewhere] {
        cluster = Cluster::run(
            "server",
            std::mem::replace(&mut cluster.folder, tempfile::tempdir().unwrap()),
            &["--store", &url],
        );
        assert_eq!(cluster.kubectl(&["get", "configmap", "kept", "-o", "jsonpath={.data.k}"]), "v");
        assert!(
            cluster.kubectl(&["get", "secrets", "-n", "guestbook", "-o", "yaml"]).contains("kind: Secret")
        );
        assert_eq!(cluster.stop(), Some(0));
    }
}

#[test]
fn what_is_wrong_with_the_store_is_said_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let fails = |store: &str, more: &[&str]| {
        let mut command = orchestra();
        command
            .args(["server", "--listen", "127.0.0.1:0", "--store", store, "--data-dir"])
            .arg(folder.path());
        let output = command.args(more).output().unwrap();
        (output.status.code(), text(&output.stderr))
    };
    for (store, words) in [
        ("sqlite", "is neither durable nor memory nor a URL"),
        ("etcd://", "names hosts as HOST or HOST:PORT"),
        ("mysql://db", "begins with etcd:// or etcds://"),
        ("etcd://root:pw@h", "holds no user or password"),
        ("etcd://h:99999", "is no port"),
    ] {
        let (code, said) = fails(store, &[]);
        assert_eq!(code, Some(2), "{said}");
        assert!(
            said.lines().next().is_some_and(|line| line.contains(words) && line.contains("--store")),
            "{said}"
        );
    }
    let (code, said) = fails("etcds://127.0.0.1:1", &[]);
    assert_eq!(
        (code, said.as_str()),
        (Some(2), "orchestra: --store etcds://127.0.0.1:1: TLS needs --etcd-cafile\n")
    );
    let (code, said) = fails("etcds://127.0.0.1:1", &["--etcd-cafile", "/nowhere/ca.crt"]);
    assert_eq!(code, Some(1));
    assert_eq!(said, "orchestra: /nowhere/ca.crt: No such file or directory (os error 2)\n");
    let (code, said) = fails("etcd://127.0.0.1:1", &[]);
    assert_eq!((code, said.lines().count()), (Some(1), 1), "{said}");
    assert!(
        said.starts_with("orchestra: --store etcd://127.0.0.1:1: store is unavailable: etcd: "),
        "{said}"
    );
}
