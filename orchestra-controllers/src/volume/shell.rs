//! Claims and volumes: reads, asks the plans, writes.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use k8s_openapi::api::core::v1::{
    ObjectReference, PersistentVolume, PersistentVolumeClaim, PersistentVolumeStatus, Pod,
};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, Preconditions};
use serde_json::{Value, json};

use super::claim::{Action as ClaimAction, Note, Observed, plan as plan_claim};
use super::fit::{annotation, claim_of, class_of_claim, default_class, is_for, volume_of, wants_default};
use super::persistent::{Action as VolumeAction, plan as plan_volume};
use super::{BIND_COMPLETED, PROVISIONED_BY, PROVISIONER, binding, directory, protection, provision};
use crate::controller::{Next, Reconcile};
use crate::error::{Error, Result, unless_gone};
use crate::events::Mood;
use crate::key::Key;
use crate::queue::Queue;
use crate::world::{World, patch_params, post_params};

const COMPONENT: &str = "persistentvolume-controller";

/// What the binder works on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Subject {
    /// The class of this crate's provisioner, once at the start.
    Class,
    Claim(Key),
    Volume(String),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Class => f.write_str("storage class"),
            Self::Claim(key) => write!(f, "claim {key}"),
            Self::Volume(name) => write!(f, "volume {name}"),
        }
    }
}

pub(crate) struct Binder {
    world: Arc<World>,
    queue: Arc<Queue<Subject>>,
    base: Option<PathBuf>,
}

/// Connects the binder to the world: which change concerns which claim and volume.
pub(crate) fn setup(world: &Arc<World>, base: Option<&Path>) -> (Arc<Binder>, Arc<Queue<Subject>>) {
    let queue = Arc::new(Queue::new());
    // Should the working directory be gone, the path is refused when a volume is made with it.
    let base = base.map(|base| std::path::absolute(base).unwrap_or_else(|_| base.to_owned()));
    if base.is_some() {
        queue.add(Subject::Class);
    }
    let links = Links { world: Arc::downgrade(world), queue: queue.clone() };
    world.claims.on_change({
        let links = links.clone();
        move |change| links.claim_changed(change.old.map(|old| &**old), change.new.map(|new| &**new))
    });
    world.volumes.on_change({
        let links = links.clone();
        move |change| links.volume_changed(change.old.map(|old| &**old), change.new.map(|new| &**new))
    });
    world.classes.on_change({
        let links = links.clone();
        move |change| {
            let name = change.new.and_then(|class| class.metadata.name.clone()).unwrap_or_default();
            let concerns = |claim: &_| class_of_claim(claim) == name || wants_default(claim);
            links.unbound_claims(|claim| !name.is_empty() && concerns(claim));
        }
    });
    world.pods.on_change(move |change| {
        if let (Some(gone), None) = (change.old, change.new) {
            let namespace = gone.metadata.namespace.as_deref().unwrap_or_default();
            for claim in protection::claims_of(gone) {
                links.queue.add(Subject::Claim(Key::new(namespace, claim)));
            }
        }
    });
    (Arc::new(Binder { world: world.clone(), queue: queue.clone(), base }), queue)
}

/// Finds what a change concerns.
#[derive(Clone)]
struct Links {
    world: Weak<World>,
    queue: Arc<Queue<Subject>>,
}

fn key_of(reference: &ObjectReference) -> Key {
    Key::new(
        reference.namespace.as_deref().unwrap_or_default(),
        reference.name.as_deref().unwrap_or_default(),
    )
}

impl Links {
    fn claim_changed(&self, old: Option<&PersistentVolumeClaim>, new: Option<&PersistentVolumeClaim>) {
        if let Some(new) = new {
            self.queue.add(Subject::Claim(Key::of(&new.metadata)));
        }
        for name in [old, new].into_iter().flatten().filter_map(volume_of) {
            self.queue.add(Subject::Volume(name.to_owned()));
        }
        let uid = |claim: Option<&PersistentVolumeClaim>| claim.and_then(|claim| claim.metadata.uid.clone());
        let (Some(gone), Some(world)) = (old.filter(|_| uid(old) != uid(new)), self.world.upgrade()) else {
            return;
        };
        for volume in world.volumes.all().iter().filter(|volume| is_for(volume, gone)) {
            self.queue.add(Subject::Volume(volume.metadata.name.clone().unwrap_or_default()));
        }
    }

    fn volume_changed(&self, old: Option<&PersistentVolume>, new: Option<&PersistentVolume>) {
        for reference in [old, new].into_iter().flatten().filter_map(claim_of) {
            self.queue.add(Subject::Claim(key_of(reference)));
        }
        let Some(new) = new else { return };
        let name = new.metadata.name.clone().unwrap_or_default();
        if claim_of(new).is_none() {
            self.unbound_claims(|claim| volume_of(claim).is_none_or(|wanted| wanted == name));
        }
        self.queue.add(Subject::Volume(name));
    }

    fn unbound_claims(&self, concerns: impl Fn(&PersistentVolumeClaim) -> bool) {
        let Some(world) = self.world.upgrade() else { return };
        let claims = world.claims.all();
        let unbound = claims.iter().filter(|claim| annotation(&claim.metadata, BIND_COMPLETED).is_none());
        for claim in unbound.filter(|claim| concerns(claim)) {
            self.queue.add(Subject::Claim(Key::of(&claim.metadata)));
        }
    }
}

impl Reconcile for Binder {
    type Key = Subject;

    fn name(&self) -> &'static str {
        "volume"
    }

    async fn reconcile(&self, subject: &Subject) -> Result<Next> {
        match subject {
            Subject::Class => self.offer_class().await?,
            Subject::Claim(key) => {
                if let Some(claim) = self.world.claims.get(key) {
                    self.claim(key, &claim).await?;
                }
            }
            Subject::Volume(name) => {
                if let Some(volume) = self.world.volumes.get(&Key::new("", name)) {
                    self.volume(name, &volume).await?;
                }
            }
        }
        Ok(Next::Wait)
    }
}

impl Binder {
    fn claims(&self, namespace: &str) -> Api<PersistentVolumeClaim> {
        Api::namespaced(self.world.client.clone(), namespace)
    }

    fn volumes(&self) -> Api<PersistentVolume> {
        Api::all(self.world.client.clone())
    }

    async fn offer_class(&self) -> Result<()> {
        let held = self.world.classes.all();
        let class = provision::class(&held);
        if held.iter().any(|held| held.metadata.name == class.metadata.name) {
            return Ok(());
        }
        let api: Api<StorageClass> = Api::all(self.world.client.clone());
        match api.create(&post_params(), &class).await.map_err(Error::from) {
            Ok(_) | Err(Error::AlreadyExists(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn claim(&self, key: &Key, claim: &PersistentVolumeClaim) -> Result<()> {
        let in_use = protection::awaits_release(claim) && self.is_used(key).await?;
        if let Some(finalizers) = protection::of_claim(claim, in_use) {
            let api = self.claims(&key.namespace);
            let patch = Patch::Merge(finalizers_patch(&claim.metadata, &finalizers));
            if let Some(written) = unless_gone(api.patch(&key.name, &patch_params(), &patch).await)? {
                self.world.claims.observe(written);
            }
            // The change brings the claim here again.
            return Ok(());
        }
        let volumes = self.world.volumes.all();
        let class = self.world.classes.get(&Key::new("", class_of_claim(claim)));
        let classes = self.world.classes.all();
        let default = default_class(&classes);
        match plan_claim(&Observed { claim, volumes: &volumes, class: class.as_deref(), default }) {
            ClaimAction::Rest => {}
            ClaimAction::Assume(class) => {
                let mut new = claim.clone();
                new.spec.get_or_insert_default().storage_class_name = Some(class);
                // The change brings the claim here again.
                self.replace_claim(&new).await?;
            }
            ClaimAction::Bind(volume) => self.bind((*volume).clone(), claim.clone()).await?,
            ClaimAction::Provision => {
                let class = class.as_deref().cloned().unwrap_or_default();
                self.provision(claim, &class).await?;
            }
            ClaimAction::Await(provisioner) => {
                let message = format!(
                    "Waiting for a volume to be created either by the external provisioner '{provisioner}' or \
                     manually by the system administrator. If volume creation is delayed, please verify that the \
                     provisioner is running and correctly registered."
                );
                if let Some(new) = binding::awaiting(claim, &provisioner) {
                    self.replace_claim(&new).await?;
                    self.note(claim, Mood::Normal, "ExternalProvisioning", message);
                }
            }
            ClaimAction::Wait(note) => self.tell(claim, note),
            ClaimAction::Lose(note) => {
                let mut new = claim.clone();
                let status = new.status.get_or_insert_default();
                if status.phase.as_deref() != Some("Lost") {
                    status.phase = Some("Lost".into());
                    self.replace_claim_status(&new).await?;
                    self.tell(claim, note);
                }
            }
        }
        Ok(())
    }

    /// Whether a pod keeps the claim; the server has the last word.
    async fn is_used(&self, key: &Key) -> Result<bool> {
        let seen = self.world.pods.in_namespace(&key.namespace);
        if seen.iter().any(|pod| protection::keeps(pod, &key.name)) {
            return Ok(true);
        }
        let pods: Api<Pod> = Api::namespaced(self.world.client.clone(), &key.namespace);
        let live = pods.list(&ListParams::default()).await?;
        Ok(live.items.iter().any(|pod| protection::keeps(pod, &key.name)))
    }

    async fn provision(&self, claim: &PersistentVolumeClaim, class: &StorageClass) -> Result<()> {
        let name = class.metadata.name.as_deref().unwrap_or_default();
        let new = match provision::volume(claim, class, self.base.as_deref()) {
            Ok(new) => new,
            Err(why) => {
                let message = format!("failed to provision volume with StorageClass {name:?}: {why}");
                self.note(claim, Mood::Warning, "ProvisioningFailed", message);
                return Ok(());
            }
        };
        let name = new.metadata.name.clone().unwrap_or_default();
        let made = match self.volumes().create(&post_params(), &new).await.map_err(Error::from) {
            Ok(made) => {
                let message = format!("Successfully provisioned volume {name}");
                self.note(claim, Mood::Normal, "ProvisioningSucceeded", message);
                made
            }
            // Made before a restart, or seen too late.
            Err(Error::AlreadyExists(_)) => match unless_gone(self.volumes().get(&name).await)? {
                Some(held) if is_for(&held, claim) => held,
                _ => return Ok(()),
            },
            Err(error) => {
                let message = format!("Error creating provisioned PV object: {}", error.said());
                self.note(claim, Mood::Warning, "ProvisioningFailed", message);
                return Err(error);
            }
        };
        self.bind(made, claim.clone()).await
    }

    /// Brings a pair together: the volume first, for it is what others could take.
    async fn bind(&self, mut volume: PersistentVolume, mut claim: PersistentVolumeClaim) -> Result<()> {
        if let Some(new) = binding::volume(&volume, &claim) {
            let Some(written) = self.replace_volume(&new).await? else { return Ok(()) };
            volume = written;
        }
        self.set_phase(&volume, "Bound", None).await?;
        if let Some(new) = binding::claim(&claim, &volume) {
            let Some(written) = self.replace_claim(&new).await? else { return Ok(()) };
            claim = written;
        }
        if let Some(new) = binding::claim_status(&claim, &volume) {
            self.replace_claim_status(&new).await?;
        }
        Ok(())
    }

    async fn volume(&self, name: &str, volume: &PersistentVolume) -> Result<()> {
        let claim = self.claim_behind(volume).await?;
        match plan_volume(volume, claim.as_ref()) {
            VolumeAction::Rest => {}
            VolumeAction::SetPhase(phase) => return self.set_phase(volume, phase, None).await,
            VolumeAction::LookAtClaim => {
                if let Some(reference) = claim_of(volume) {
                    self.queue.add(Subject::Claim(key_of(reference)));
                }
            }
            VolumeAction::Unbind => {
                self.replace_volume(&binding::unbound(volume)).await?;
                return Ok(());
            }
            VolumeAction::Reclaim => self.reclaim(name, volume).await?,
        }
        if let Some(finalizers) = protection::of_volume(volume) {
            let patch = Patch::Merge(finalizers_patch(&volume.metadata, &finalizers));
            unless_gone(self.volumes().patch(name, &patch_params(), &patch).await)?;
        }
        Ok(())
    }

    /// The very claim a volume names. The server has the last word on one that was not seen.
    async fn claim_behind(&self, volume: &PersistentVolume) -> Result<Option<PersistentVolumeClaim>> {
        let Some(reference) = claim_of(volume).filter(|reference| reference.uid.is_some()) else {
            return Ok(None);
        };
        let key = key_of(reference);
        let seen = self.world.claims.get(&key).filter(|seen| seen.metadata.uid == reference.uid);
        if let Some(seen) = seen {
            return Ok(Some((*seen).clone()));
        }
        let live = unless_gone(self.claims(&key.namespace).get(&key.name).await)?;
        Ok(live.filter(|live| live.metadata.uid == reference.uid))
    }

    async fn reclaim(&self, name: &str, volume: &PersistentVolume) -> Result<()> {
        match annotation(&volume.metadata, PROVISIONED_BY) {
            Some(PROVISIONER) => {}
            // Whoever made it will remove it.
            Some(_) => return Ok(()),
            None => {
                let why = format!(
                    "error getting deleter volume plugin for volume {name:?}: no deletable volume plugin matched"
                );
                return self.fail(volume, why).await;
            }
        }
        if let Err(error) = self.remove_directory(name, volume).await {
            let why = match std::error::Error::source(&error) {
                Some(source) => format!("{error}: {source}"),
                None => error.to_string(),
            };
            self.fail(volume, why).await?;
            return Err(error);
        }
        if volume.metadata.deletion_timestamp.is_none() {
            let preconditions = Preconditions { uid: volume.metadata.uid.clone(), resource_version: None };
            let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
            unless_gone(self.volumes().delete(name, &params).await)?;
        }
        Ok(())
    }

    async fn remove_directory(&self, name: &str, volume: &PersistentVolume) -> Result<()> {
        let source = volume.spec.as_ref().and_then(|spec| spec.host_path.as_ref());
        let (Some(base), Some(source)) = (self.base.clone(), source) else {
            return Err(Error::Malformed("no directory for volumes is configured".into()));
        };
        let (name, path) = (name.to_owned(), PathBuf::from(&source.path));
        let tried = path.clone();
        let removed = tokio::task::spawn_blocking(move || directory::remove(&base, &name, &tried)).await;
        match removed {
            Ok(Ok(())) => Ok(()),
            Ok(Err(source)) => Err(Error::Directory { path, source }),
            Err(error) => Err(Error::Panicked(error.to_string())),
        }
    }

    /// Lets a volume that cannot be removed say so.
    async fn fail(&self, volume: &PersistentVolume, why: String) -> Result<()> {
        let told = volume.status.as_ref().and_then(|status| status.message.as_ref()) == Some(&why);
        if !told {
            self.world.recorder.record(COMPONENT, volume, Mood::Warning, "VolumeFailedDelete", why.clone());
        }
        self.set_phase(volume, "Failed", Some(why)).await
    }

    async fn set_phase(&self, volume: &PersistentVolume, phase: &str, why: Option<String>) -> Result<()> {
        let held = volume.status.clone().unwrap_or_default();
        let same = held.phase.as_deref() == Some(phase);
        if same && held.message == why {
            return Ok(());
        }
        let since = if same { held.last_phase_transition_time } else { Some(self.world.clock.time()) };
        let status = PersistentVolumeStatus {
            phase: Some(phase.to_owned()),
            message: why,
            last_phase_transition_time: since,
            reason: None,
        };
        let new = PersistentVolume { status: Some(status), ..volume.clone() };
        let name = volume.metadata.name.as_deref().unwrap_or_default();
        if let Some(written) = unless_gone(self.volumes().replace_status(name, &post_params(), &new).await)? {
            self.world.volumes.observe(written);
        }
        Ok(())
    }

    async fn replace_volume(&self, new: &PersistentVolume) -> Result<Option<PersistentVolume>> {
        let name = new.metadata.name.as_deref().unwrap_or_default();
        let written = unless_gone(self.volumes().replace(name, &post_params(), new).await)?;
        if let Some(written) = &written {
            self.world.volumes.observe(written.clone());
        }
        Ok(written)
    }

    async fn replace_claim(&self, new: &PersistentVolumeClaim) -> Result<Option<PersistentVolumeClaim>> {
        let key = Key::of(&new.metadata);
        let written = unless_gone(self.claims(&key.namespace).replace(&key.name, &post_params(), new).await)?;
        if let Some(written) = &written {
            self.world.claims.observe(written.clone());
        }
        Ok(written)
    }

    async fn replace_claim_status(&self, new: &PersistentVolumeClaim) -> Result<()> {
        let key = Key::of(&new.metadata);
        let api = self.claims(&key.namespace);
        if let Some(written) = unless_gone(api.replace_status(&key.name, &post_params(), new).await)? {
            self.world.claims.observe(written);
        }
        Ok(())
    }

    fn tell(&self, claim: &PersistentVolumeClaim, note: Note) {
        let mood = if note.warning { Mood::Warning } else { Mood::Normal };
        self.note(claim, mood, note.reason, note.message);
    }

    fn note(&self, claim: &PersistentVolumeClaim, mood: Mood, reason: &'static str, message: String) {
        self.world.recorder.record(COMPONENT, claim, mood, reason, message);
    }
}

fn finalizers_patch(meta: &ObjectMeta, finalizers: &[String]) -> Value {
    json!({"metadata": {
        "uid": meta.uid, "resourceVersion": meta.resource_version, "finalizers": finalizers,
    }})
}
