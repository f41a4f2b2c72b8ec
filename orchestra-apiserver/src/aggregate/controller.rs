//! The task that follows `APIService` objects and the servers behind them.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use orchestra_core::gvk::GroupVersion;
use orchestra_store::Revision;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::availability::{self, Available};
use super::table::{Remote, RemoteSpec, Table};
use crate::state::State;
use crate::status::StatusError;
use crate::storage::resource::Resource;
use crate::storage::writer::{Edit, Effect, Step};
use crate::watched;

/// When servers that were there are asked again, and those that were not.
const AGAIN: Duration = Duration::from_secs(30);
const SOON: Duration = Duration::from_secs(1);

/// Follows all objects for as long as the server lives.
pub(crate) async fn start(state: &Arc<State>) -> Result<(), StatusError> {
    let Some(services) =
        state.catalog.find(&GroupVersion::new("apiregistration.k8s.io", "v1"), "apiservices")
    else {
        return Ok(());
    };
    // From here on they are followed, and counted as such.
    state.feed.fresh(&services).await?;
    let (shutdown, weak) = (state.shutdown.clone(), Arc::downgrade(state));
    tokio::spawn(async move {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => {}
            () = follow(weak, services) => {}
        }
    });
    Ok(())
}

async fn follow(state: Weak<State>, services: Arc<Resource>) {
    loop {
        let Some(strong) = state.upgrade() else { return };
        let (changed, next) = match pass(&strong, &services).await {
            Ok((changed, next)) => (Some(changed), next),
            Err(problem) => {
                tracing::warn!(%problem, "API services could not be looked at");
                (None, Some(SOON))
            }
        };
        drop(strong);
        let change = async {
            match changed {
                // A collection that is gone has been replaced.
                Some(mut changed) => drop(changed.changed().await),
                None => std::future::pending().await,
            }
        };
        match next {
            // That nothing changed is as good a reason to look again.
            Some(next) => drop(timeout(next, change).await),
            None => change.await,
        }
    }
}

/// One look at all of them: what changed since, and when to look again.
async fn pass(
    state: &State,
    services: &Arc<Resource>,
) -> Result<(watched::Receiver<Revision>, Option<Duration>), StatusError> {
    let (collection, _) = state.feed.fresh(services).await?;
    let mut changed = collection.subscribe();
    changed.mark_seen();
    let snapshot = collection.snapshot("", "", usize::MAX, None);
    let mut specs = Vec::new();
    for object in &snapshot.objects {
        let object: Value = serde_json::from_slice(&object.encoded.json()).map_err(StatusError::internal)?;
        specs.extend(RemoteSpec::of(&object));
    }
    let before = state.aggregated.table();
    if specs.is_empty() && before.0.is_empty() {
        return Ok((changed, None));
    }
    let known = |spec: &RemoteSpec| {
        let key = (spec.group.clone(), spec.version.clone());
        before.0.get(&key).filter(|known| known.spec == *spec)
    };
    let asked = specs.iter().map(|spec| {
        let swagger = known(spec).and_then(|known| known.swagger.as_ref());
        availability::check(state, spec, swagger)
    });
    let checks = join_all(asked).await;
    let mut table = BTreeMap::new();
    for (spec, (available, served)) in specs.iter().zip(&checks) {
        // What it served when it was last there is shown, and said to be stale.
        let known = known(spec);
        let remote = Remote {
            spec: spec.clone(),
            is_available: available.is_true,
            resources: served.resources.clone().or_else(|| known?.resources.clone()),
            openapi: served.openapi.clone().or_else(|| known?.openapi.clone()),
            swagger: served.swagger.clone().or_else(|| known?.swagger.clone()),
        };
        table.insert((spec.group.clone(), spec.version.clone()), remote);
    }
    state.aggregated.replace(Table(table));
    state.catalog.touch();
    let now = state.stamp();
    for (spec, (available, _)) in specs.iter().zip(&checks) {
        let edit = Say { available, now: &now };
        let key = services.key(None, &spec.name);
        match state.writer.update(services, key, &spec.name, Effect::Real, &edit).await {
            Ok(_) => {}
            Err(gone) if gone.reason() == "NotFound" => {}
            Err(problem) => return Err(problem),
        }
    }
    let all_there = checks.iter().all(|(available, _)| available.is_true);
    Ok((changed, Some(if all_there { AGAIN } else { SOON })))
}

/// Says in an object's status whether it is available.
struct Say<'a> {
    available: &'a Available,
    now: &'a str,
}

#[async_trait]
impl Edit for Say<'_> {
    async fn edit(&self, current: &Value) -> Result<Step, StatusError> {
        Ok(match said(current, self.available, self.now) {
            Some(next) => Step::Put(next),
            None => Step::Keep,
        })
    }

    async fn create(&self) -> Result<Option<Value>, StatusError> {
        Ok(None)
    }
}

/// The object with that condition; nothing when it has it.
fn said(object: &Value, available: &Available, now: &str) -> Option<Value> {
    let status = if available.is_true { "True" } else { "False" };
    let list = object.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
    let (mut own, mut others): (Vec<Value>, Vec<Value>) =
        list.into_iter().partition(|condition| condition["type"] == "Available");
    let before = own.pop().unwrap_or_default();
    if before["status"] == status
        && before["reason"] == available.reason
        && before["message"] == available.message.as_str()
    {
        return None;
    }
    let since = if before["status"] == status { before["lastTransitionTime"].clone() } else { now.into() };
    others.push(json!({
        "type": "Available", "status": status, "reason": available.reason, "message": available.message,
        "lastTransitionTime": since,
    }));
    let mut next = object.clone();
    next["status"]["conditions"] = others.into();
    Some(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_written_when_it_changes_and_its_time_when_it_turns() {
        let available =
            |is_true, message: &str| Available { is_true, reason: "R", message: message.to_owned() };
        let object = json!({"metadata": {"name": "a"}});
        let first = said(&object, &available(false, "a"), "1").unwrap();
        assert_eq!(first["status"]["conditions"][0]["status"], "False");
        assert_eq!(said(&first, &available(false, "a"), "2"), None);
        let second = said(&first, &available(false, "b"), "2").unwrap();
        assert_eq!(second["status"]["conditions"][0]["lastTransitionTime"], "1");
        let third = said(&second, &available(true, "b"), "3").unwrap();
        assert_eq!(
            third["status"]["conditions"],
            json!([{
                "type": "Available", "status": "True", "reason": "R", "message": "b", "lastTransitionTime": "3",
            }])
        );
    }
}
