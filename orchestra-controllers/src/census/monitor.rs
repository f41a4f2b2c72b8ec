//! One resource, followed by its metadata alone.

use std::collections::HashSet;
use std::sync::Arc;

use futures::StreamExt;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::graph::{Kind, Uid};
use super::keeper::Census;
use crate::informer::pause;

/// So many failures in a row, and the others no longer wait for this monitor. Nothing is lost by that: every deletion
/// is checked with the server first.
const PATIENCE: u32 = 3;

/// Follows `kind` until cancelled, or until it is no longer served. Tells `ready` when everything has been seen.
pub(super) async fn run(
    census: Arc<Census>,
    kind: Arc<Kind>,
    client: Client,
    ready: oneshot::Sender<()>,
    shutdown: CancellationToken,
) {
    let api: Api<PartialObjectMeta> = Api::all_with(client, &kind.api);
    let mut events = std::pin::pin!(watcher::watcher(api, watcher::Config::default()));
    let mut ready = Some(ready);
    let mut listed: HashSet<Uid> = HashSet::new();
    let mut failures = 0_u32;
    loop {
        let event = tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            event = events.next() => event,
        };
        match event {
            None => return,
            Some(Ok(event)) => {
                failures = 0;
                if take(&census, &kind, event, &mut listed) {
                    ready.take().map(|ready| ready.send(()));
                }
            }
            Some(Err(error)) => {
                failures = failures.saturating_add(1);
                if failures > PATIENCE {
                    ready.take().map(|ready| ready.send(()));
                    if is_not_served(&error) {
                        debug!(kind = kind.resource(), "is not served any more");
                        let left: Vec<Uid> = census.read(|graph| graph.of_kind(&kind).cloned().collect());
                        left.iter().for_each(|uid| census.remove(uid));
                        return census.dismiss(&kind);
                    }
                    warn!(kind = kind.resource(), %error, "watching fails; trying again");
                }
                tokio::select! {
                    biased;
                    () = shutdown.cancelled() => return,
                    () = tokio::time::sleep(pause(failures)) => {}
                }
            }
        }
    }
}

/// Whether the event says that everything has been seen.
fn take(
    census: &Census,
    kind: &Arc<Kind>,
    event: Event<PartialObjectMeta>,
    listed: &mut HashSet<Uid>,
) -> bool {
    match event {
        Event::Init => listed.clear(),
        Event::InitApply(object) => {
            listed.extend(object.metadata.uid.as_deref().map(Uid::from));
            census.observe(kind, &object.metadata);
        }
        Event::InitDone => {
            let gone: Vec<Uid> = census
                .read(|graph| graph.of_kind(kind).filter(|uid| !listed.contains(*uid)).cloned().collect());
            gone.iter().for_each(|uid| census.remove(uid));
            *listed = HashSet::new();
            return true;
        }
        Event::Apply(object) => census.observe(kind, &object.metadata),
        Event::Delete(object) => census.remove(object.metadata.uid.as_deref().unwrap_or_default()),
    }
    false
}

fn is_not_served(error: &watcher::Error) -> bool {
    let status = match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => status,
        _ => return false,
    };
    matches!(status.code, 404 | 405)
}
