//! The task that brings definitions into force.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use orchestra_core::gvk::GroupVersion;
use orchestra_store::Revision;
use serde_json::{Value, json};

use super::cleanup::{self, Progress};
use super::conversion::Family;
use super::plan::{self, Decision, Taken};
use crate::aggregate::registration;
use crate::state::State;
use crate::status::StatusError;
use crate::storage::meta;
use crate::storage::resource::Resource;
use crate::storage::writer::{Edit, Effect, Step};
use crate::watched;

/// When to look again after something failed, or while objects of a removed definition wait for their finalizers.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Brings all definitions into force, and then every change of them, for as long as the server lives.
pub(crate) async fn start(state: &Arc<State>) -> Result<(), StatusError> {
    let Some(definitions) = state.definitions.resource.clone() else { return Ok(()) };
    let mut controller = Controller { definitions, served: HashMap::new(), registered: BTreeSet::new() };
    controller.pass(state).await?;
    let shutdown = state.shutdown.clone();
    let weak = Arc::downgrade(state);
    tokio::spawn(async move {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => {}
            () = controller.follow(weak) => {}
        }
    });
    Ok(())
}

struct Controller {
    definitions: Arc<Resource>,
    served: HashMap<String, Served>,
    /// The versions that have an `APIService` by now.
    registered: BTreeSet<GroupVersion>,
}

/// The resources of a definition, and what they were made of.
struct Served {
    spec: Value,
    uid: String,
    resources: Vec<Arc<Resource>>,
}

/// What a pass leaves to be done.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Left {
    Nothing,
    LookAgain,
}

impl Controller {
    async fn follow(mut self, state: Weak<State>) {
        loop {
            let Some(strong) = state.upgrade() else { return };
            let (left, mut changed) = match self.pass(&strong).await {
                Ok((left, changed)) => (left, Some(changed)),
                Err(error) => {
                    tracing::warn!(%error, "definitions of custom resources could not be brought into force");
                    (Left::LookAgain, None)
                }
            };
            drop(strong);
            let change = async {
                match &mut changed {
                    // The collection lives in the feed; one that is gone has been replaced.
                    Some(changed) => drop(changed.changed().await),
                    None => std::future::pending().await,
                }
            };
            if left == Left::LookAgain {
                let _ = tokio::time::timeout(LOOK_AGAIN, change).await;
            } else {
                change.await;
            }
        }
    }

    /// One look at all definitions.
    async fn pass(&mut self, state: &State) -> Result<(Left, watched::Receiver<Revision>), StatusError> {
        let (collection, _) = state.feed.fresh(&self.definitions).await?;
        let mut changed = collection.subscribe();
        changed.mark_seen();
        let snapshot = collection.snapshot("", "", usize::MAX, None);
        let mut all = Vec::with_capacity(snapshot.objects.len());
        for object in &snapshot.objects {
            all.push(serde_json::from_slice(&object.encoded.json()).map_err(StatusError::internal)?);
        }
        let decisions = plan::decide(&all, |group| taken(state, group), &state.stamp());
        self.serve(state, &decisions);
        state.definitions.in_force.send_replace(snapshot.last);
        let versions = self.served.values().flat_map(|served| &served.resources);
        let versions: BTreeSet<_> = versions.map(|resource| resource.description().gv.clone()).collect();
        if versions != self.registered {
            registration::keep(state, &versions).await?;
            self.registered = versions;
        }
        let mut left = Left::Nothing;
        for decision in decisions.iter().filter(|decision| decision.changed) {
            write(state, &self.definitions, &decision.definition).await?;
            left = Left::LookAgain;
        }
        for decision in decisions.iter().filter(|decision| meta::is_terminating(&decision.definition)) {
            let name = meta::name(&decision.definition);
            let resources =
                self.served.get(name).map(|served| served.resources.as_slice()).unwrap_or_default();
            if cleanup::clean(state, &self.definitions, &decision.definition, resources).await?
                == Progress::Waits
            {
                left = Left::LookAgain;
            }
        }
        Ok((left, changed))
    }

    /// Serves what may be served, and nothing else any more.
    fn serve(&mut self, state: &State, decisions: &[Decision]) {
        let mut before = std::mem::take(&mut self.served);
        let mut is_changed = false;
        for decision in decisions.iter().filter(|decision| decision.is_served) {
            let name = meta::name(&decision.definition).to_owned();
            let form = served_form(&decision.definition);
            let uid = meta::text(&decision.definition, "uid");
            let same = before.remove_entry(&name).filter(|(_, s)| s.uid == uid && s.spec == form["spec"]);
            let served = match same {
                Some((_, served)) => served,
                None => {
                    is_changed = true;
                    make(state, &form, uid)
                }
            };
            for resource in &served.resources {
                resource.set_closed(meta::is_terminating(&decision.definition));
            }
            self.served.insert(name, served);
        }
        let kept = |resource: &Arc<Resource>| {
            self.served.values().flat_map(|s| &s.resources).any(|kept| Arc::ptr_eq(kept, resource))
        };
        let withdrawn: Vec<Arc<Resource>> =
            state.catalog.custom().into_iter().filter(|resource| !kept(resource)).collect();
        if !is_changed && withdrawn.is_empty() {
            return;
        }
        let mut all: Vec<Arc<Resource>> =
            self.served.values().flat_map(|s| s.resources.iter().cloned()).collect();
        all.sort_by(|a, b| {
            let (a, b) = (a.description(), b.description());
            a.gv.group
                .cmp(&b.gv.group)
                .then_with(|| orchestra_core::custom::version_order(&a.gv.version, &b.gv.version))
                .then_with(|| a.plural.cmp(&b.plural))
        });
        state.catalog.serve(all);
        for resource in withdrawn {
            state.feed.withdraw(&resource);
        }
    }
}

/// The definition with the names it has, which may be others than it wants.
fn served_form(definition: &Value) -> Value {
    let mut form = json!({"spec": definition.get("spec")});
    if let Some(names) = definition.pointer("/status/acceptedNames") {
        form["spec"]["names"] = names.clone();
    }
    form
}

fn make(state: &State, form: &Value, uid: &str) -> Served {
    let family = Arc::new(Family::of_definition(form, &state.definitions.webhooks, &state.chance));
    let kinds = family.kinds().iter().filter(|kind| kind.is_served());
    Served {
        spec: form.get("spec").cloned().unwrap_or_default(),
        uid: uid.to_owned(),
        resources: kinds.map(|kind| Arc::new(Resource::of_custom(kind.clone(), family.clone()))).collect(),
    }
}

/// The names of built-in kinds: their objects lie where those of a custom resource of the same name would.
fn taken(state: &State, group: &str) -> Taken {
    let mut taken = Taken::default();
    for resource in state.catalog.builtin_of(group) {
        let d = resource.kind.description();
        taken.add(&json!({
            "plural": d.plural, "singular": d.singular, "kind": d.kind, "listKind": d.list_kind,
            "shortNames": d.short_names,
        }));
    }
    taken
}

/// Writes what the task has made of a definition, unless it has changed meanwhile: then the task comes again.
pub(super) async fn write(state: &State, definitions: &Resource, wanted: &Value) -> Result<(), StatusError> {
    let name = meta::name(wanted);
    let edit = IfUnchanged { wanted };
    match state.writer.update(definitions, definitions.key(None, name), name, Effect::Real, &edit).await {
        Ok(_) => Ok(()),
        Err(error) if error.reason() == "NotFound" => Ok(()),
        Err(error) => Err(error),
    }
}

struct IfUnchanged<'a> {
    wanted: &'a Value,
}

#[async_trait]
impl Edit for IfUnchanged<'_> {
    async fn edit(&self, current: &Value) -> Result<Step, StatusError> {
        let same = meta::text(current, "resourceVersion") == meta::text(self.wanted, "resourceVersion");
        Ok(if same { Step::Put(self.wanted.clone()) } else { Step::Keep })
    }

    async fn create(&self) -> Result<Option<Value>, StatusError> {
        Ok(None)
    }
}
