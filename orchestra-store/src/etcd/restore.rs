//! Filling an empty root from a snapshot.
//!
//! While it is filled, `meta` says so, and nobody can open it. Every step compares that `meta` is still ours, so two restores
//! cannot mix, and whatever of an abandoned step arrives late does nothing.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use prost::Message;

use super::connection::{Connection, RANGE, TXN};
use super::failure;
use super::lease::{self, Leases, Names};
use super::meta::{self, Meta};
use super::proto::{
    Compare, DeleteRangeRequest, PutRequest, RangeRequest, RangeResponse, Request, TxnRequest, TxnResponse,
};
use super::space::Keys;
use crate::lease::LeasedKeys;
use crate::limits::MAX_TXN_OPS;
use crate::revision::Revision;
use crate::snapshot::Snapshot;
use crate::store::{Entry, Error, Result};

/// How much of a request is kept free for what surrounds its entries.
const WRAPPING: usize = 1024;
/// How many keys of an abandoned restore are removed at once.
const REMOVED_AT_ONCE: i64 = 5_000;

/// One restore.
#[derive(Debug)]
pub(super) struct Restore<'a> {
    connection: &'a Connection,
    keys: &'a Keys,
    max_request_bytes: usize,
    /// Where `meta` was written that makes the root ours.
    claim: i64,
}

/// Fills the root with what the snapshot holds, and tells the revision it goes on from.
pub(super) async fn restore(
    connection: &Connection,
    keys: &Keys,
    max_request_bytes: usize,
    mut snapshot: Snapshot,
) -> Result<Revision> {
    let claim = claim(connection, keys).await?;
    let restore = Restore { connection, keys, max_request_bytes, claim };
    // Counted to the end: whatever the copied store did until now, it did not come that far.
    let filled = restore.fill(&mut snapshot).await.map(|()| snapshot.restored_revision(SystemTime::now()));
    let finished = filled.as_ref().ok().copied();
    let outcome = match filled {
        Ok(base) => restore.finish(base).await.map(|()| base),
        Err(error) => Err(error),
    };
    match outcome {
        Err(error) => restore.give_up(finished).await.ok_or(error),
        done => done,
    }
}

/// The word that the root is being filled, like no other one.
fn restoring() -> Meta {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Meta::Restoring(format!("{}-{}", std::process::id(), now.as_nanos()))
}

/// Makes the root ours, if it is empty or holds what an abandoned restore left.
async fn claim(connection: &Connection, keys: &Keys) -> Result<i64> {
    let ours = restoring();
    let holds_data = || Error::HoldsData(format!("etcd below {}", keys.root()));
    let claimed = match meta::find(connection, keys).await? {
        None => meta::create(connection, keys, &ours).await?,
        Some(found) => match meta::decode(&found)? {
            Meta::Ready(_) => return Err(holds_data()),
            Meta::Restoring(_) => meta::replace(connection, keys, found.mod_revision, &ours).await?,
        },
    };
    if meta::decode(&claimed)? == ours { Ok(claimed.mod_revision) } else { Err(holds_data()) }
}

impl Restore<'_> {
    /// Says that it is a store.
    async fn finish(&self, base: Revision) -> Result<()> {
        let ready = Meta::Ready(base.0);
        let written = meta::replace(self.connection, self.keys, self.claim, &ready).await?;
        if meta::decode(&written)? == ready { Ok(()) } else { Err(disturbed()) }
    }

    /// Removes what was made, unless it has become a store after all, as `finished` would have it: then that is the revision.
    ///
    /// What we sent last may arrive late. If that was the word that the store is ready, removing must not have begun. So the root is
    /// claimed anew first, after which nothing counts that was sent under the old claim.
    async fn give_up(mut self, finished: Option<Revision>) -> Option<Revision> {
        let anew = restoring();
        let removed = async {
            let found = meta::replace(self.connection, self.keys, self.claim, &anew).await?;
            match meta::decode(&found)? {
                Meta::Ready(base) => return Ok(finished.filter(|finished| finished.0 == base)),
                found if found != anew => return Ok(None),
                Meta::Restoring(_) => {}
            }
            self.claim = found.mod_revision;
            self.remove(true).await.map(|()| None)
        };
        removed.await.unwrap_or_else(|problem: Error| {
            // The next restore does it.
            tracing::warn!(%problem, "a part of what should be restored is left in etcd");
            None
        })
    }

    async fn fill(&self, snapshot: &mut Snapshot) -> Result<()> {
        self.remove(false).await?;
        let mut batch = Batch::default();
        while let Some(entries) = snapshot.next().await {
            for entry in entries? {
                let put = self.put(entry)?;
                let room = self.max_request_bytes.saturating_sub(WRAPPING + put.encoded_len());
                if batch.puts.len() == MAX_TXN_OPS || batch.bytes > room {
                    self.apply(std::mem::take(&mut batch).puts).await?;
                }
                batch.add(put);
            }
        }
        self.apply(batch.puts).await?;
        self.lease(snapshot.leases()).await
    }

    /// Grants the leases anew and attaches their keys. Their time begins now. Their names are new: etcd may hold leases by the old
    /// ones, of the store that was copied or of one that was restored from the same copy, and to share one is to lose keys when the
    /// other store ends it.
    async fn lease(&self, leases: &[LeasedKeys]) -> Result<()> {
        let names = Names::of(self.keys);
        let granting = Leases { connection: self.connection, keys: self.keys, names: &names };
        for LeasedKeys { lease, keys } in leases {
            let id = lease::theirs(granting.grant(lease.ttl).await?.id);
            for part in keys.chunks(MAX_TXN_OPS) {
                let attach = part.iter().map(|key| PutRequest {
                    key: self.keys.outer(key),
                    lease: id,
                    ignore_value: true,
                    ..PutRequest::default()
                });
                self.apply(attach.collect()).await?;
            }
        }
        Ok(())
    }

    fn put(&self, entry: Entry) -> Result<PutRequest> {
        let put =
            PutRequest { key: self.keys.outer(&entry.key), value: entry.value, ..PutRequest::default() };
        let (actual, limit) = (put.encoded_len() + WRAPPING, self.max_request_bytes);
        if actual > limit {
            return Err(Error::TooLarge { what: "size of a request to etcd in bytes", actual, limit });
        }
        Ok(put)
    }

    /// Writes, as long as the root is ours. Safe to repeat.
    async fn apply(&self, puts: Vec<PutRequest>) -> Result<()> {
        self.change(puts.into_iter().map(Request::Put)).await
    }

    async fn change(&self, requests: impl IntoIterator<Item = Request>) -> Result<()> {
        let request = TxnRequest {
            compare: vec![Compare::unchanged_since(self.keys.meta(), self.claim)],
            success: requests.into_iter().map(Into::into).collect(),
            failure: Vec::new(),
        };
        let answer: TxnResponse = self.connection.ask(TXN, request).await.map_err(failure::error)?;
        if answer.succeeded { Ok(()) } else { Err(disturbed()) }
    }

    /// Removes all keys, a part at a time; and with them, if it is to be, the claim.
    async fn remove(&self, also_the_claim: bool) -> Result<()> {
        let (start, range_end) = self.keys.all();
        loop {
            let question = RangeRequest {
                key: start.clone(),
                range_end: range_end.clone(),
                limit: REMOVED_AT_ONCE,
                keys_only: true,
                ..RangeRequest::default()
            };
            let found: RangeResponse = self.connection.ask(RANGE, question).await.map_err(failure::error)?;
            let Some(last) = found.kvs.last() else { break };
            let behind: Bytes = [&last.key[..], b"\0"].concat().into();
            self.change([Request::Delete(DeleteRangeRequest { key: start.clone(), range_end: behind })])
                .await?;
        }
        if also_the_claim {
            let meta = DeleteRangeRequest { key: self.keys.meta(), ..DeleteRangeRequest::default() };
            self.change([Request::Delete(meta)]).await?;
        }
        Ok(())
    }
}

/// Puts of one transaction.
#[derive(Debug, Default)]
struct Batch {
    puts: Vec<PutRequest>,
    bytes: usize,
}

impl Batch {
    fn add(&mut self, put: PutRequest) {
        // What surrounds each one in the request is less than this.
        self.bytes += put.encoded_len() + 32;
        self.puts.push(put);
    }
}

fn disturbed() -> Error {
    Error::Unavailable("etcd: another restore into the same root took over".to_owned())
}
