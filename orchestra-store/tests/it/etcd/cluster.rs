//! An etcd of three members that talk to each other through proxies of ours, so that one can be cut off from the others.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use orchestra_store::EtcdOptions;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::server::{Member, REQUEST_BYTES, free_ports, http, member_arguments};

const NAMES: [&str; 3] = ["one", "two", "three"];

/// Three members.
#[derive(Debug)]
pub(crate) struct Cluster {
    members: Vec<Member>,
    arguments: Vec<(PathBuf, Vec<String>)>,
    clients: [u16; 3],
    isolated: watch::Sender<Option<usize>>,
    _dir: TempDir,
}

impl Cluster {
    /// Starts them, and the proxies between them.
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (clients, peers): ([u16; 3], [u16; 3]) = {
            let ports: [u16; 6] = free_ports();
            ([ports[0], ports[1], ports[2]], [ports[3], ports[4], ports[5]])
        };
        let isolated = watch::channel(None).0;
        let names = Arc::new(Sources::default());
        let mut proxies = Vec::new();
        for (member, peer) in peers.into_iter().enumerate() {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            proxies.push(listener.local_addr().unwrap().port());
            tokio::spawn(proxy(listener, member, peer, isolated.subscribe(), Arc::clone(&names)));
        }
        let cluster: Vec<String> = NAMES
            .iter()
            .zip(&proxies)
            .map(|(name, port)| format!("{name}=http://127.0.0.1:{port}"))
            .collect();
        let cluster = cluster.join(",");
        let arguments: Vec<(PathBuf, Vec<String>)> = (0..3)
            .map(|n| {
                let own = dir.path().join(NAMES[n]);
                std::fs::create_dir(&own).unwrap();
                let arguments =
                    member_arguments(NAMES[n], &own, &http(clients[n]), peers[n], proxies[n], &cluster);
                (own, arguments)
            })
            .collect();
        let members = arguments.iter().map(|(dir, arguments)| Member::start(dir, arguments)).collect();
        Self { members, arguments, clients, isolated, _dir: dir }
    }

    /// What leads to all of them, with this one first.
    pub(crate) fn options(&self, first: usize) -> EtcdOptions {
        let hosts: Vec<String> =
            (0..3).map(|n| format!("127.0.0.1:{}", self.clients[(first + n) % 3])).collect();
        EtcdOptions::parse(&format!("etcd://{}", hosts.join(","))).unwrap().max_request_bytes(REQUEST_BYTES)
    }

    /// What leads to this one alone.
    pub(crate) fn only(&self, member: usize) -> EtcdOptions {
        EtcdOptions::parse(&format!("etcd://127.0.0.1:{}", self.clients[member])).unwrap()
    }

    /// Ends one as a power cut would.
    pub(crate) fn kill(&mut self, member: usize) {
        self.members[member].kill();
    }

    /// Starts a killed one again, on its own disk.
    pub(crate) fn start_again(&mut self, member: usize) {
        let (dir, arguments) = &self.arguments[member];
        self.members[member] = Member::start(dir, arguments);
    }

    /// Cuts one off from the others, both ways; its clients still reach it. `None` heals.
    pub(crate) fn isolate(&self, member: Option<usize>) {
        self.isolated.send_replace(member);
    }
}

/// Whose identity is whose: a member never calls itself, so the one that was heard everywhere but there is it.
#[derive(Debug, Default)]
struct Sources(Mutex<HashMap<String, [bool; 3]>>);

impl Sources {
    fn heard(&self, id: &str, at: usize) -> Option<usize> {
        let mut heard = self.0.lock().unwrap();
        let places = heard.entry(id.to_owned()).or_default();
        places[at] = true;
        let silent: Vec<usize> = (0..3).filter(|&n| !places[n]).collect();
        match silent[..] {
            [one] => Some(one),
            _ => None,
        }
    }
}

async fn proxy(
    listener: TcpListener,
    target: usize,
    port: u16,
    isolated: watch::Receiver<Option<usize>>,
    sources: Arc<Sources>,
) {
    while let Ok((from, _)) = listener.accept().await {
        let (mut isolated, sources) = (isolated.clone(), Arc::clone(&sources));
        tokio::spawn(async move {
            let mut source = None;
            let cut = |now: Option<usize>, source: Option<usize>| {
                now.is_some() && (now == Some(target) || now == source)
            };
            let passing = pass(from, port, target, &sources, &mut source, isolated.clone());
            let _ended = tokio::select! {
                ended = passing => ended,
                _ = isolated.wait_for(|&now| cut(now, None)) => Ok(()),
            };
        });
    }
}

/// Carries bytes until the sender is known, then until it is cut off.
async fn pass(
    mut from: TcpStream,
    port: u16,
    target: usize,
    sources: &Sources,
    source: &mut Option<usize>,
    mut isolated: watch::Receiver<Option<usize>>,
) -> std::io::Result<()> {
    let mut to = TcpStream::connect(("127.0.0.1", port)).await?;
    let (mut asked, mut answered) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    let mut heard = Vec::new();
    while source.is_none() {
        tokio::select! {
            read = from.read(&mut asked) => {
                let bytes = &asked[..read?];
                if bytes.is_empty() {
                    return Ok(());
                }
                heard.extend_from_slice(bytes);
                *source = sender(&heard).and_then(|id| sources.heard(&id, target));
                if source.is_some_and(|source| *isolated.borrow() == Some(source)) {
                    return Ok(());
                }
                to.write_all(bytes).await?;
            }
            read = to.read(&mut answered) => {
                let bytes = &answered[..read?];
                if bytes.is_empty() {
                    return Ok(());
                }
                from.write_all(bytes).await?;
            }
        }
    }
    let source = *source;
    tokio::select! {
        ended = copy_bidirectional(&mut from, &mut to) => ended.map(|_| ()),
        _ = isolated.wait_for(|&now| now.is_some() && now == source) => Ok(()),
    }
}

/// The identity in the header that members send to each other.
fn sender(heard: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(heard);
    let (_, rest) = text.split_once("X-Server-From: ")?;
    let (id, _) = rest.split_once("\r\n")?;
    Some(id.to_owned())
}
