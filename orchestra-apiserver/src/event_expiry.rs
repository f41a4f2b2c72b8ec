//! Events are kept for an hour, as upstream does by default.
//!
//! Upstream leaves the count to its store's leases; here a slow sweep removes what nothing has happened to for so long.

use std::sync::Weak;

use jiff::{SignedDuration, Timestamp};
use orchestra_store::{Entry, KeyRange, RangeOptions, Txn};
use serde_json::Value;
use tokio::time::Duration;

use crate::state::State;
use crate::status::StatusError;

const EVENTS: &str = "/registry/core/events/";
const KEPT: SignedDuration = SignedDuration::from_hours(1);
const PERIOD: Duration = Duration::from_secs(300);

/// Sweeps until the server is gone.
pub(crate) async fn expire(state: Weak<State>) {
    loop {
        let Some(shutdown) = state.upgrade().map(|state| state.shutdown.clone()) else { return };
        tokio::select! {
            () = tokio::time::sleep(PERIOD) => {}
            () = shutdown.cancelled() => return,
        }
        let Some(state) = state.upgrade() else { return };
        if let Err(error) = sweep(&state).await {
            tracing::warn!(%error, "old events could not be removed");
        }
    }
}

async fn sweep(state: &State) -> Result<(), StatusError> {
    let oldest = state.clock.now().saturating_sub(KEPT).map_err(StatusError::internal)?;
    let page = state.store.range(KeyRange::prefix(EVENTS), RangeOptions::new()).await?.value;
    for entry in page.entries {
        if last_seen(&entry).is_some_and(|seen| seen < oldest) {
            // Refused when somebody has just written it: then it is not old.
            let txn = Txn::new().when(entry.key.clone(), entry.mod_revision).delete(entry.key);
            state.store.commit(txn).await?;
        }
    }
    Ok(())
}

/// The latest of an event's times.
fn last_seen(entry: &Entry) -> Option<Timestamp> {
    let event: Value = serde_json::from_slice(&entry.value).ok()?;
    let times = [
        "/series/lastObservedTime",
        "/lastTimestamp",
        "/eventTime",
        "/firstTimestamp",
        "/metadata/creationTimestamp",
    ];
    times.iter().filter_map(|at| event.pointer(at)?.as_str()?.parse().ok()).max()
}
