//! The key that says that a root of etcd is a store, and since when.

use bytes::Bytes;

use super::connection::{Connection, RANGE, TXN};
use super::failure;
use super::proto::{
    Compare, KeyValue, PutRequest, RangeRequest, RangeResponse, Request, TxnRequest, TxnResponse,
};
use super::space::{Keys, Origin};
use crate::store::{Error, Result};

/// How the value begins; another number will be another layout.
const FORMAT: &str = "orchestra-store 1";

/// What `meta` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Meta {
    /// A store whose revision was this one when `meta` was written.
    Ready(u64),
    /// Not yet a store: a restore, known by this name, fills it, or did until it was broken off.
    Restoring(String),
}

impl Meta {
    pub(super) fn encode(&self) -> Bytes {
        match self {
            Self::Ready(base) => format!("{FORMAT} base={base}").into(),
            Self::Restoring(by) => format!("{FORMAT} restoring={by}").into(),
        }
    }

    /// `None` for what this version does not know.
    pub(super) fn decode(value: &[u8]) -> Option<Self> {
        let rest = std::str::from_utf8(value).ok()?.strip_prefix(FORMAT)?;
        if let Some(by) = rest.strip_prefix(" restoring=") {
            return Some(Self::Restoring(by.to_owned()));
        }
        let base = rest.strip_prefix(" base=")?.parse().ok()?;
        (1..=u64::MAX / 4).contains(&base).then_some(Self::Ready(base))
    }
}

/// Finds the store, or makes an empty one where nothing is.
///
/// # Errors
/// [`Error::HoldsData`] when there are keys below the root that are no store's, [`Error::Corrupt`] when `meta` cannot be
/// read, [`Error::Unavailable`] when a restore has not come to its end, and those of the connection.
pub(super) async fn open(connection: &Connection, keys: &Keys) -> Result<Origin> {
    let found = match find(connection, keys).await? {
        Some(found) => found,
        None => create(connection, keys, &Meta::Ready(1)).await?,
    };
    match decode(&found)? {
        Meta::Ready(base) => Ok(Origin { meta: found.mod_revision, base }),
        Meta::Restoring(_) => Err(Error::Unavailable(format!(
            "etcd below {} is being restored; if nobody does that any more, restore it again",
            keys.root()
        ))),
    }
}

/// Writes the first `meta` where nothing is, and tells which one is there then.
pub(super) async fn create(connection: &Connection, keys: &Keys, meta: &Meta) -> Result<KeyValue> {
    // Safe to repeat: it does nothing once the key is there.
    let request = TxnRequest {
        compare: vec![absent(keys), empty(keys)],
        success: vec![put(keys, meta).into()],
        failure: Vec::new(),
    };
    let _written: TxnResponse = connection.ask(TXN, request).await.map_err(failure::error)?;
    let found = find(connection, keys).await?;
    found.ok_or_else(|| Error::HoldsData(format!("etcd below {} is no store of Orchestra, but", keys.root())))
}

/// Writes the next `meta` where it has not changed since `mod_revision`, and tells which one is there then.
pub(super) async fn replace(
    connection: &Connection,
    keys: &Keys,
    mod_revision: i64,
    meta: &Meta,
) -> Result<KeyValue> {
    let request = TxnRequest {
        compare: vec![Compare::unchanged_since(keys.meta(), mod_revision)],
        success: vec![put(keys, meta).into()],
        failure: Vec::new(),
    };
    let _written: TxnResponse = connection.ask(TXN, request).await.map_err(failure::error)?;
    let found = find(connection, keys).await?;
    found.ok_or_else(|| Error::Unavailable("etcd: what was being restored was removed".to_owned()))
}

/// What is there.
pub(super) async fn find(connection: &Connection, keys: &Keys) -> Result<Option<KeyValue>> {
    let question = RangeRequest { key: keys.meta(), ..RangeRequest::default() };
    let answer: RangeResponse = connection.ask(RANGE, question).await.map_err(failure::error)?;
    Ok(answer.kvs.into_iter().next())
}

pub(super) fn decode(found: &KeyValue) -> Result<Meta> {
    let unknown =
        || Error::Corrupt(format!("etcd's key {} is not one of this version", found.key.escape_ascii()));
    Meta::decode(&found.value).ok_or_else(unknown)
}

fn absent(keys: &Keys) -> Compare {
    Compare::unchanged_since(keys.meta(), 0)
}

fn empty(keys: &Keys) -> Compare {
    let (start, end) = keys.all();
    Compare::nothing_in(start, end)
}

fn put(keys: &Keys, meta: &Meta) -> Request {
    Request::Put(PutRequest { key: keys.meta(), value: meta.encode(), ..PutRequest::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_says_is_read_again_and_nothing_else_is() {
        for meta in [Meta::Ready(1_000_050), Meta::Restoring("7-9".to_owned())] {
            assert_eq!(Meta::decode(&meta.encode()), Some(meta));
        }
        for other in [
            "",
            "orchestra-store 1",
            "orchestra-store 2 base=1",
            "orchestra-store 1 base=0",
            "orchestra-store 1 base=x",
        ] {
            assert_eq!(Meta::decode(other.as_bytes()), None, "{other}");
        }
    }
}
