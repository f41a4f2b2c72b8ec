//! Where the window begins. etcd does not say so when it is asked; it says so when a watch asks for more.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use futures::channel::mpsc;
use tokio::time::timeout;
use tonic::{Status, Streaming};

use super::connection::{Connection, TXN};
use super::failure::{self, Failure, judge};
use super::proto::{
    RangeRequest, RangeResponse, TxnRequest, TxnResponse, WatchCommand, WatchCreateRequest, WatchRequest,
    WatchResponse,
};
use super::space::Space;
use crate::revision::Revision;
use crate::store::{Error, Result};

/// A member answers within the tenth of a second between two looks at watches that lag.
const ANSWER: Duration = Duration::from_secs(2);
const TRIES: usize = 5;

/// What is known of the window's lower end, which only rises.
#[derive(Debug)]
pub(super) struct Window {
    compacted: AtomicI64,
}

/// State and window at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sight {
    pub(super) revision: Revision,
    pub(super) compacted: Revision,
    pub(super) keys: u64,
}

impl Window {
    pub(super) fn new(space: &Space) -> Self {
        // Below the store's beginning nothing is readable anyway.
        Self { compacted: AtomicI64::new(space.origin.meta - 1) }
    }

    /// Takes notice that etcd is compacted up to there.
    pub(super) fn raise(&self, compacted: i64) {
        self.compacted.fetch_max(compacted, Ordering::Relaxed);
    }

    /// The compacted revision.
    pub(super) async fn compacted(&self, connection: &Connection, space: &Space) -> Result<Revision> {
        Ok(self.look(connection, space).await?.compacted)
    }

    /// One read in the ordinary case: what is known is confirmed by a read just above it.
    pub(super) async fn look(&self, connection: &Connection, space: &Space) -> Result<Sight> {
        let (key, range_end) = space.keys.all();
        for _ in 0..TRIES {
            let known = self.compacted.load(Ordering::Relaxed);
            let confirm = RangeRequest {
                key: space.keys.meta(),
                revision: known,
                count_only: true,
                ..RangeRequest::default()
            };
            let count = RangeRequest {
                key: key.clone(),
                range_end: range_end.clone(),
                count_only: true,
                ..RangeRequest::default()
            };
            let question = TxnRequest {
                success: [confirm, count].map(|range| super::proto::Request::Range(range).into()).into(),
                ..TxnRequest::default()
            };
            match connection.ask::<_, TxnResponse>(TXN, question).await {
                Ok(answer) => {
                    let revision = answer.header.as_ref().map_or(0, |header| header.revision);
                    let keys = answer.into_ranges().last().map_or(0, |range: RangeResponse| range.count);
                    return Ok(Sight {
                        revision: space.origin.ours(revision)?,
                        compacted: space.origin.ours(known)?.max(space.origin.floor()),
                        keys: u64::try_from(keys).unwrap_or_default(),
                    });
                }
                Err(status) if judge(&status) == Failure::Compacted => {
                    let compacted = ask_a_watch(connection, space, known).await.map_err(failure::error)?;
                    compacted.into_iter().for_each(|compacted| self.raise(compacted));
                }
                Err(status) => return Err(failure::error(status)),
            }
        }
        Err(Error::Unavailable("etcd does not say how far it is compacted".to_owned()))
    }
}

/// Asks for what is known to be gone, and is told how much more is.
async fn ask_a_watch(connection: &Connection, space: &Space, gone: i64) -> Result<Option<i64>, Status> {
    let create = WatchCreateRequest {
        key: space.keys.meta(),
        start_revision: gone.max(1),
        ..WatchCreateRequest::default()
    };
    let opened = connection.watch(WatchRequest { command: Some(WatchCommand::Create(create)) }).await;
    let (_orders, mut answers): (mpsc::UnboundedSender<WatchRequest>, Streaming<WatchResponse>) = opened?;
    let answered = timeout(ANSWER, async {
        while let Some(answer) = answers.message().await? {
            if answer.compact_revision > 0 {
                return Ok(Some(answer.compact_revision));
            }
        }
        Ok(None)
    });
    answered.await.unwrap_or(Ok(None))
}
