//! A transaction of the store as one of etcd, and its answer back. Pure.

use prost::Message;

use super::lease::Names;
use super::proto::{
    Compare, DeleteRangeRequest, PutRequest, RangeRequest, RangeResponse, Request, TxnRequest, TxnResponse,
};
use super::space::Space;
use crate::limits::MAX_TXN_OPS;
use crate::revision::Revision;
use crate::store::{Entry, Error, Result};
use crate::txn::{Committed, Op, Outcome, Txn};

/// What etcd wraps around a request before it measures it: numbers, and the name of a user.
const WRAPPING: usize = 512;

/// The transaction as etcd's. When it is refused, it reads what each compared key holds, at the same revision.
///
/// # Errors
/// [`Error::TooLarge`], when etcd would not take it.
pub(super) fn request(txn: Txn, space: &Space, names: &Names, max_bytes: usize) -> Result<TxnRequest> {
    let failure = txn.compares.iter().map(|compare| {
        Request::Range(RangeRequest { key: space.keys.outer(&compare.key), ..RangeRequest::default() }).into()
    });
    let failure = failure.collect();
    let mut compare: Vec<Compare> = txn
        .compares
        .iter()
        .map(|compare| {
            Compare::unchanged_since(
                space.keys.outer(&compare.key),
                space.origin.compared(compare.mod_revision),
            )
        })
        .collect();
    // etcd takes no more compares than we do, so the largest transaction goes without this one.
    if compare.len() < MAX_TXN_OPS {
        compare.push(Compare::unchanged_since(space.keys.meta(), space.origin.meta));
    }
    let success = txn.ops.into_iter().map(|op| operation(op, space, names).into()).collect();
    let request = TxnRequest { compare, success, failure };
    let actual = request.encoded_len() + WRAPPING;
    if actual > max_bytes {
        return Err(Error::TooLarge { what: "size of a request to etcd in bytes", actual, limit: max_bytes });
    }
    Ok(request)
}

fn operation(op: Op, space: &Space, names: &Names) -> Request {
    match op {
        Op::Put { key, value, lease } => {
            let lease = lease.map_or(0, |lease| names.theirs(lease));
            Request::Put(PutRequest { key: space.keys.outer(&key), value, lease, ..PutRequest::default() })
        }
        Op::Delete { key } => Request::Delete(DeleteRangeRequest {
            key: space.keys.outer(&key),
            ..DeleteRangeRequest::default()
        }),
    }
}

/// What etcd's answer means, to a transaction that compared these revisions.
///
/// # Errors
/// [`Error::Unavailable`] when the store is not there any more.
pub(super) fn answer(compared: &[Revision], answer: TxnResponse, space: &Space) -> Result<Committed> {
    let revision = answer.header.as_ref().map_or(0, |header| header.revision);
    let revision = space.origin.ours(revision)?;
    if answer.succeeded {
        return Ok(Committed { revision, outcome: Outcome::Applied });
    }
    let found = |range: RangeResponse| range.kvs.first().map(|kv| space.entry(kv)).transpose();
    let found: Vec<Option<Entry>> = answer.into_ranges().map(found).collect::<Result<_>>()?;
    let holds = |(entry, wanted): (&Option<Entry>, &Revision)| {
        entry.as_ref().map_or(Revision::NONE, |entry| entry.mod_revision) == *wanted
    };
    if found.iter().zip(compared).all(holds) {
        // So it was the compare with `meta` that failed.
        return Err(Error::Unavailable(format!(
            "etcd: what lay below {} was removed or replaced",
            space.keys.root()
        )));
    }
    Ok(Committed { revision, outcome: Outcome::Refused(found) })
}
