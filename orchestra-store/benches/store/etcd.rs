//! A real etcd of one member, syncing its disk, for as long as a workload runs.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use orchestra_store::{EtcdOptions, EtcdStore, Store};

use crate::Result;

/// How long it may take until it serves.
const START: Duration = Duration::from_secs(30);
const PROGRAM: &str = "etcd";

/// Whether there is an etcd to compare with.
pub(crate) fn is_installed() -> bool {
    let version = Command::new(PROGRAM).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    version.is_ok_and(|status| status.success())
}

/// A running etcd; it ends with the value.
#[derive(Debug)]
pub(crate) struct Etcd {
    child: Child,
    client: String,
}

impl Etcd {
    pub(crate) fn start(dir: &Path) -> Result<Self> {
        // Both held at once, so that they differ.
        let ports = [TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?];
        let [client, peer] = ports.map(|listener| listener.local_addr().map(|at| format!("http://{at}")));
        let (client, peer) = (client?, peer?);
        let child = Command::new(PROGRAM)
            .args(["--name", "one", "--data-dir"])
            .arg(dir.join("etcd"))
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("one={peer}")])
            // Room for the largest workload; everything else is as etcd comes.
            .args(["--quota-backend-bytes", "8589934592"])
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self { child, client })
    }

    pub(crate) async fn connect(&self) -> Result<EtcdStore> {
        let options = EtcdOptions::parse(&self.client)?;
        let serving = async {
            loop {
                match EtcdStore::connect(options.clone()).await {
                    Ok(store) if store.status().await.is_ok() => return store,
                    _ => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            }
        };
        Ok(tokio::time::timeout(START, serving).await.map_err(|_| "etcd does not serve")?)
    }

    pub(crate) fn process(&self) -> String {
        self.child.id().to_string()
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        // It may have ended by itself; there is nothing to be done about it here.
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}
