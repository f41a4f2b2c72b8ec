//! Clients that do this and that at once, and stores with a planted bug for them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use orchestra_store::conformance::Chance;
use orchestra_store::{
    Committed, Entry, Error, Key, KeyRange, Op, Outcome, RangeOptions, ReadAt, Revision, Store, Txn,
    Versioned,
};

use super::history::{Call, History, Reply};

/// Keys that clients meet on.
const KEYS: u64 = 6;

/// What clients talk to.
#[async_trait]
pub(crate) trait Target: Send + Sync {
    /// The answer; `None` when there is none, and nobody knows what became of the call.
    async fn call(&self, call: &Call) -> Option<Reply>;

    /// Whether nobody will ever answer again.
    fn is_gone(&self) -> bool;
}

#[async_trait]
impl Target for Arc<dyn Store> {
    async fn call(&self, call: &Call) -> Option<Reply> {
        let reply = match call {
            Call::Get(key) => {
                let read = self.get(key, ReadAt::Latest).await;
                read.map(|read| Reply::Entries(as_list(read)))
            }
            Call::All => {
                let page = self.range(KeyRange::all(), RangeOptions::new()).await;
                page.map(|page| {
                    Reply::Entries(Versioned { revision: page.revision, value: page.value.entries })
                })
            }
            Call::Commit(txn) => self.commit(txn.clone()).await.map(Reply::Committed),
        };
        match reply {
            Ok(reply) => Some(reply),
            Err(Error::Unavailable(_) | Error::Backend { .. }) => None,
            Err(other) => panic!("{call:?}: {other}"),
        }
    }

    fn is_gone(&self) -> bool {
        false
    }
}

fn as_list(read: Versioned<Option<Entry>>) -> Versioned<Vec<Entry>> {
    Versioned { revision: read.revision, value: read.value.into_iter().collect() }
}

/// What clients do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mix {
    Everything,
    /// Nothing that touches several keys.
    SingleKeys,
}

/// Has clients make so many calls each, one after the other, while there is somebody who answers.
pub(crate) async fn work(
    target: &Arc<dyn Target>,
    history: &Arc<History>,
    clients: u64,
    calls: u64,
    mix: Mix,
    seed: u64,
) {
    let clients = (0..clients).map(|client| {
        let (target, history) = (Arc::clone(target), Arc::clone(history));
        let mut client = Client { chance: Chance(seed << 32 | client), mix, seen: HashMap::new() };
        tokio::spawn(async move {
            for _ in 0..calls {
                let call = client.next();
                let process = history.called(&call);
                match target.call(&call).await {
                    Some(reply) => {
                        client.learn(&reply);
                        history.told(process, reply);
                    }
                    None if target.is_gone() => return,
                    None => {}
                }
            }
        })
    });
    for client in futures::future::join_all(clients).await {
        client.unwrap();
    }
}

struct Client {
    chance: Chance,
    mix: Mix,
    /// The last that was seen of each key.
    seen: HashMap<Key, Revision>,
}

impl Client {
    fn key(&mut self) -> Key {
        format!("k{}", self.chance.below(KEYS)).into()
    }

    /// A value that nobody else writes.
    fn value() -> String {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
    }

    fn next(&mut self) -> Call {
        let key = self.key();
        let seen = self.seen.get(&key).copied().unwrap_or(Revision::NONE);
        let txn = match self.chance.below(if self.mix == Mix::Everything { 14 } else { 10 }) {
            0..3 => return Call::Get(key),
            3..5 => Txn::new().put(key, Self::value()),
            5 => Txn::new().when(key.clone(), Revision::NONE).put(key, Self::value()),
            6..8 => Txn::new().when(key.clone(), seen).put(key, Self::value()),
            8 => Txn::new().when(key.clone(), seen).delete(key),
            9 => Txn::new().delete(key),
            10 => return Call::All,
            _ => self.several(),
        };
        Call::Commit(txn)
    }

    fn several(&mut self) -> Txn {
        let mut txn = Txn::new();
        for _ in 0..2 + self.chance.below(2) {
            let key = self.key();
            if txn.ops.iter().any(|op| *op.key() == key) {
                continue;
            }
            if self.chance.below(3) == 0 {
                txn = txn.when(key.clone(), self.seen.get(&key).copied().unwrap_or(Revision::NONE));
            }
            txn = if self.chance.below(4) == 0 { txn.delete(key) } else { txn.put(key, Self::value()) };
        }
        txn
    }

    fn learn(&mut self, reply: &Reply) {
        let entries = match reply {
            Reply::Entries(entries) => entries.value.iter().collect::<Vec<_>>(),
            Reply::Committed(Committed { outcome: Outcome::Refused(found), .. }) => {
                found.iter().flatten().collect()
            }
            Reply::Committed(_) => return,
        };
        for entry in entries {
            self.seen.insert(entry.key.clone(), entry.mod_revision);
        }
    }
}

/// What is wrong with a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    LosesWrites,
    ReadsStale,
    ReadsStaleAndSaysSo,
    IgnoresCompares,
    RepeatsRevisions,
}

/// A good store behind a bug that shows now and then.
pub(crate) struct Broken {
    inner: Arc<dyn Store>,
    bug: Bug,
    calls: AtomicU64,
}

impl Broken {
    pub(crate) fn new(inner: Arc<dyn Store>, bug: Bug) -> Self {
        Self { inner, bug, calls: AtomicU64::new(0) }
    }

    async fn spoil(&self, call: &Call) -> Option<Reply> {
        match (self.bug, call) {
            (Bug::LosesWrites, Call::Commit(txn)) if txn.compares.is_empty() => {
                let revision = self.inner.status().await.unwrap().revision.next();
                Some(Reply::Committed(Committed { revision, outcome: Outcome::Applied }))
            }
            (Bug::ReadsStale | Bug::ReadsStaleAndSaysSo, Call::Get(key)) => {
                let now = self.inner.status().await.unwrap().revision;
                let at = Revision(now.0.saturating_sub(20).max(1));
                let mut read = as_list(self.inner.get(key, ReadAt::Exactly(at)).await.unwrap());
                if self.bug == Bug::ReadsStale {
                    read.revision = now;
                }
                Some(Reply::Entries(read))
            }
            (Bug::IgnoresCompares, Call::Commit(txn)) if matches!(txn.ops[..], [Op::Put { .. }]) => {
                let txn = Txn { compares: Vec::new(), ops: txn.ops.clone() };
                self.inner.call(&Call::Commit(txn)).await
            }
            (Bug::RepeatsRevisions, _) => match self.inner.call(call).await {
                Some(Reply::Committed(mut committed)) if committed.outcome == Outcome::Applied => {
                    committed.revision = Revision(committed.revision.0 - 1);
                    Some(Reply::Committed(committed))
                }
                other => other,
            },
            _ => self.inner.call(call).await,
        }
    }
}

#[async_trait]
impl Target for Broken {
    async fn call(&self, call: &Call) -> Option<Reply> {
        let nth = self.calls.fetch_add(1, Ordering::Relaxed);
        if nth > 200 && nth % 10 < 2 { self.spoil(call).await } else { self.inner.call(call).await }
    }

    fn is_gone(&self) -> bool {
        false
    }
}
