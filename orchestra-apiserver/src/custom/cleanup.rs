//! Removes the objects of a definition that is to go, and then the definition.

use async_trait::async_trait;
use orchestra_store::{KeyRange, Outcome, RangeOptions, Txn};
use serde_json::Value;

use std::sync::Arc;

use super::FINALIZER;
use super::controller::write;
use super::plan::{self, Condition};
use crate::state::State;
use crate::status::StatusError;
use crate::storage::meta;
use crate::storage::resource::Resource;
use crate::storage::writer::{Edit, Effect, Step, Written};

/// How far the removal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nothing is left to do.
    Done,
    /// Objects wait for their finalizers, or the definition has changed meanwhile.
    Waits,
}

/// How many objects are read at once.
const PAGE: usize = 500;

/// Takes the removal of a definition as far as it goes now.
pub(super) async fn clean(
    state: &State,
    definitions: &Resource,
    definition: &Value,
    resources: &[Arc<Resource>],
) -> Result<Progress, StatusError> {
    if !meta::finalizers(definition).any(|finalizer| finalizer == FINALIZER) {
        return Ok(Progress::Done);
    }
    // Only what was established has objects, and a name that a built-in kind holds never was.
    let condition = if plan::condition_holds(definition, "Established") {
        if !remove_all(state, resources).await? {
            let mut waiting = definition.clone();
            let why = "CustomResource deletion is in progress";
            let condition = Condition::new("Terminating", true, "InstanceDeletionInProgress", why);
            plan::set_condition(&mut waiting, condition, &state.stamp());
            if waiting != *definition {
                write(state, definitions, &waiting).await?;
            }
            return Ok(Progress::Waits);
        }
        Condition::new("Terminating", false, "InstanceDeletionCompleted", "removed all instances")
    } else {
        Condition::new("Terminating", false, "NeverEstablished", "resource was never established")
    };
    let mut last = definition.clone();
    plan::set_condition(&mut last, condition, &state.stamp());
    let finalizers = meta::finalizers(definition).filter(|finalizer| *finalizer != FINALIZER);
    meta::set_finalizers(&mut last, finalizers.map(str::to_owned).collect());
    write(state, definitions, &last).await?;
    // The write is refused where the definition has changed; the change calls the task again.
    Ok(Progress::Waits)
}

/// Removes every object; says whether none is left.
async fn remove_all(state: &State, resources: &[Arc<Resource>]) -> Result<bool, StatusError> {
    // All versions are the same objects.
    let Some(resource) = resources.first() else { return Ok(true) };
    let whole = resource.range(None);
    let mut start = whole.start.clone();
    let mut is_empty = true;
    loop {
        let range = KeyRange { start: start.clone(), end: whole.end.clone() };
        let page = state.store.range(range, RangeOptions::new().limit(PAGE)).await?.value;
        for entry in &page.entries {
            // In whatever version it lies: nothing of it has to be converted for it to go.
            let object: Value = serde_json::from_slice(&entry.value).map_err(StatusError::internal)?;
            if meta::finalizers(&object).next().is_none() {
                let txn = Txn::new().when(entry.key.clone(), entry.mod_revision).delete(entry.key.clone());
                // One that has changed meanwhile is looked at again.
                is_empty &= state.store.commit(txn).await?.outcome == Outcome::Applied;
                continue;
            }
            let (namespace, name) = (meta::namespace(&object), meta::name(&object));
            let edit = Remove { now: state.stamp() };
            let key = resource.key(namespace, name);
            match state.writer.update(resource, key, name, Effect::Real, &edit).await {
                Ok(Written::Removed(_)) => {}
                Ok(_) => is_empty = false,
                Err(error) if error.reason() == "NotFound" => {}
                Err(error) => return Err(error),
            }
        }
        let Some(last) = page.entries.last().filter(|_| page.remaining > 0) else { return Ok(is_empty) };
        start = orchestra_store::Key::new([last.key.as_bytes(), b"\0"].concat());
    }
}

struct Remove {
    now: String,
}

#[async_trait]
impl Edit for Remove {
    async fn edit(&self, current: &Value) -> Result<Step, StatusError> {
        if meta::finalizers(current).next().is_none() {
            return Ok(Step::Remove);
        }
        if meta::is_terminating(current) {
            return Ok(Step::Keep);
        }
        let mut going = current.clone();
        meta::set(&mut going, "deletionTimestamp", self.now.as_str());
        meta::set(&mut going, "deletionGracePeriodSeconds", 0);
        let generation = meta::number(current, "generation").unwrap_or_default();
        meta::set(&mut going, "generation", generation + 1);
        Ok(Step::Put(going))
    }

    async fn create(&self) -> Result<Option<Value>, StatusError> {
        Ok(None)
    }
}
