//! Where several stores, or other programs, share one etcd, its revision moves on without any change of ours, and nothing in our watch
//! tells that it has come that far. Then we make a change: writing the fence shows where everything before it ends.
//!
//! An etcd of one's own never sees a fence: there every revision is a change of the store.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::time::sleep;

use super::connection::{Connection, TXN};
use super::live::Live;
use super::proto::{Compare, PutRequest, Request, TxnRequest, TxnResponse};
use super::space::Space;

/// How long a watch may stand still behind what is known of etcd before a fence is written.
const STILL: Duration = Duration::from_secs(1);

/// For how many times [`STILL`] a change of our own is waited for.
const LONG: u32 = 5;

/// Writes fences when they are needed.
#[derive(Debug)]
pub(super) struct Fence<'a> {
    pub(super) live: &'a Live,
    pub(super) connection: &'a Connection,
    pub(super) space: &'a Space,
    pub(super) committed: &'a AtomicI64,
}

impl Fence<'_> {
    /// For as long as it is polled.
    pub(super) async fn keep(&self) {
        let (mut before, mut still) = (None, 0);
        loop {
            sleep(STILL).await;
            let (position, awaited) = self.live.position();
            let behind = awaited || self.connection.seen() > position;
            still = if behind && before == Some(position) { still + 1 } else { 0 };
            before = Some(position);
            // What we were told last may be a change of ours that is on its way, which will do. It may also be what others
            // changed, such as when a commit of ours changed nothing, so it is not waited for any longer.
            let coming = self.committed.load(Ordering::Relaxed) > position;
            if still >= if coming { LONG } else { 1 } {
                self.write().await;
            }
        }
    }

    async fn write(&self) {
        let keys = &self.space.keys;
        let put = PutRequest { key: keys.fence(), ..PutRequest::default() };
        let request = TxnRequest {
            compare: vec![Compare::unchanged_since(keys.meta(), self.space.origin.meta)],
            success: vec![Request::Put(put).into()],
            failure: Vec::new(),
        };
        // Tried again a second later, if it is still needed then.
        if let Err(status) = self.connection.send::<_, TxnResponse>(TXN, request).await {
            tracing::debug!(%status, "could not write the fence");
        }
    }
}
