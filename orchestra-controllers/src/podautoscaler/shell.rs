//! Autoscalers: reads scale and metrics, asks the plan, writes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::autoscaling::v1::Scale;
use k8s_openapi::api::autoscaling::v2::{HorizontalPodAutoscaler, HorizontalPodAutoscalerStatus, MetricSpec};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::core::{ApiResource, DynamicObject, GroupVersion, GroupVersionKind};
use orchestra_core::selector::LabelSelector;

use super::memory::Memory;
use super::plan::{Observed, Target, done, is_measured, plan, refused};
use super::readings::Reading;
use super::sources;
use crate::controller::{Next, Reconcile};
use crate::error::{Error, Result, unless_gone};
use crate::events::Mood;
use crate::family::Known;
use crate::key::Key;
use crate::queue::Queue;
use crate::world::{World, post_params};

const COMPONENT: &str = "horizontal-pod-autoscaler";
/// How often an autoscaler is looked at.
const PERIOD: Duration = Duration::from_secs(15);

pub(crate) struct Autoscalers {
    world: Arc<World>,
    held: Mutex<BTreeMap<Key, Held>>,
    /// The resources of kinds, once found.
    resources: Mutex<BTreeMap<(String, String), ApiResource>>,
}

/// What is kept of an autoscaler between two looks.
#[derive(Default)]
struct Held {
    memory: Memory,
    /// What its target's pods are chosen by.
    selector: Option<LabelSelector>,
}

/// Connects the controller to the world.
pub(crate) fn setup(world: &Arc<World>) -> (Arc<Autoscalers>, Arc<Queue<Key>>) {
    let queue = Arc::new(Queue::new());
    world.pods.want();
    let autoscalers =
        Arc::new(Autoscalers { world: world.clone(), held: Mutex::default(), resources: Mutex::default() });
    let (added, weak) = (queue.clone(), Arc::downgrade(&autoscalers));
    world.autoscalers.on_change(move |change| {
        match (change.old, change.new) {
            // Its status is this controller's own.
            (Some(old), Some(new)) if old.spec == new.spec => {}
            (_, Some(new)) => added.add(new.key()),
            (Some(old), None) => {
                if let Some(autoscalers) = weak.upgrade() {
                    autoscalers.held().remove(&old.key());
                }
            }
            (None, None) => {}
        }
    });
    (autoscalers, queue)
}

fn chooses(selector: &LabelSelector, pod: &Pod) -> bool {
    static NONE: BTreeMap<String, String> = BTreeMap::new();
    selector.matches(pod.metadata.labels.as_ref().unwrap_or(&NONE))
}

impl Reconcile for Autoscalers {
    type Key = Key;

    fn name(&self) -> &'static str {
        "horizontalpodautoscaler"
    }

    async fn reconcile(&self, key: &Key) -> Result<Next> {
        let Some(autoscaler) = self.world.autoscalers.get(key) else { return Ok(Next::Wait) };
        self.look_at(key, &autoscaler).await?;
        Ok(Next::After(PERIOD))
    }
}

impl Autoscalers {
    fn held(&self) -> MutexGuard<'_, BTreeMap<Key, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn look_at(&self, key: &Key, autoscaler: &HorizontalPodAutoscaler) -> Result<()> {
        let found = self.scale(key, autoscaler).await;
        let said = found.as_ref().err().map(Error::said);
        let scale = found.as_ref().ok().map(|(_, scale)| scale);
        let target = scale.map(|scale| Target {
            wanted: scale.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or_default(),
            there: scale.status.as_ref().map_or(0, |status| status.replicas),
            selector: scale.status.as_ref().and_then(|status| status.selector.as_deref()),
        });
        let pods = target.map(|target| self.pods(key, target.selector)).unwrap_or_else(|| Ok(Vec::new()));
        let mut readings = Vec::new();
        if let (Some(target), Ok(_)) = (&target, &pods)
            && is_measured(autoscaler, target)
        {
            readings = self.readings(key, autoscaler, target.selector.unwrap_or_default()).await;
        }
        let observed = Observed {
            autoscaler,
            target: target.ok_or(said.as_deref().unwrap_or_default()),
            pods: pods.as_deref().map_err(|(reason, message)| (*reason, message.as_str())),
            readings: &readings,
            now: self.world.clock.now(),
        };
        let mut memory = std::mem::take(&mut self.held().entry(key.clone()).or_default().memory);
        let mut decision = plan(&observed, &mut memory);
        if let (Some(rescale), Ok((resource, scale))) = (decision.rescale.clone(), &found) {
            match self.rescale(key, autoscaler, resource, scale, rescale.to).await {
                Ok(()) => {
                    let (mood, reason, message) = rescale.words();
                    self.world.recorder.record(COMPONENT, autoscaler, mood, reason, message);
                    done(&observed, &rescale, &mut memory);
                }
                Err(error) => decision = refused(&observed, &decision, &rescale, &error.said()),
            }
        }
        if let Some(held) = self.held().get_mut(key) {
            held.memory = memory;
        }
        for (reason, message) in decision.warnings {
            self.world.recorder.record(COMPONENT, autoscaler, Mood::Warning, reason, message);
        }
        if autoscaler.status.as_ref() != Some(&decision.status) {
            self.set_status(key, autoscaler, decision.status).await?;
        }
        Ok(())
    }

    /// The scale of an autoscaler's target, and by which resource it is reached.
    async fn scale(&self, key: &Key, autoscaler: &HorizontalPodAutoscaler) -> Result<(ApiResource, Scale)> {
        let reference = &autoscaler.spec.scale_target_ref;
        let resource =
            self.resource(reference.api_version.as_deref().unwrap_or_default(), &reference.kind).await?;
        let api = Api::<DynamicObject>::namespaced_with(self.world.client.clone(), &key.namespace, &resource);
        let scale = api.get_scale(&reference.name).await?;
        Ok((resource, scale))
    }

    async fn rescale(
        &self,
        key: &Key,
        autoscaler: &HorizontalPodAutoscaler,
        resource: &ApiResource,
        scale: &Scale,
        to: i32,
    ) -> Result<()> {
        let name = &autoscaler.spec.scale_target_ref.name;
        let mut wanted = scale.clone();
        wanted.spec.get_or_insert_default().replicas = Some(to);
        let api = Api::<DynamicObject>::namespaced_with(self.world.client.clone(), &key.namespace, resource);
        api.replace_scale(name, &post_params(), &wanted).await?;
        Ok(())
    }

    /// The resource of a kind, asked of the server once.
    async fn resource(&self, api_version: &str, kind: &str) -> Result<ApiResource> {
        let known = (api_version.to_owned(), kind.to_owned());
        let resources = || self.resources.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(resource) = resources().get(&known) {
            return Ok(resource.clone());
        }
        let malformed = || Error::Malformed(format!("unexpected GroupVersion string: {api_version}"));
        let version: GroupVersion = api_version.parse().map_err(|_| malformed())?;
        let gvk = GroupVersionKind::gvk(&version.group, &version.version, kind);
        let found = kube::discovery::pinned_kind(&self.world.client, &gvk).await;
        let (resource, _) = found.map_err(|error| match error {
            kube::Error::Discovery(_) => {
                let group = if version.group.is_empty() { "core" } else { &*version.group };
                Error::Malformed(format!("no matches for kind \"{kind}\" in group \"{group}\""))
            }
            other => other.into(),
        })?;
        resources().insert(known, resource.clone());
        Ok(resource)
    }

    /// The pods of an autoscaler's target, which must be no other's.
    fn pods(
        &self,
        key: &Key,
        selector: Option<&str>,
    ) -> std::result::Result<Vec<Arc<Pod>>, (&'static str, String)> {
        let Some(text) = selector.filter(|text| !text.is_empty()) else {
            return Err(("InvalidSelector", "selector is required".into()));
        };
        let wanted = LabelSelector::parse(text).map_err(|problem| {
            let message =
                format!("couldn't convert selector into a corresponding internal selector object: {problem}");
            ("InvalidSelector", message)
        })?;
        let mut pods = self.world.pods.in_namespace(&key.namespace);
        pods.retain(|pod| chooses(&wanted, pod));
        let mut held = self.held();
        held.entry(key.clone()).or_default().selector = Some(wanted);
        let beside = held.range(Key::new(&*key.namespace, "")..);
        let beside = beside.take_while(|(other, _)| other.namespace == key.namespace);
        let shares = |held: &Held| {
            held.selector.as_ref().is_some_and(|theirs| pods.iter().any(|pod| chooses(theirs, pod)))
        };
        let rivals: Vec<String> =
            beside.filter(|(_, held)| shares(held)).map(|(other, _)| other.to_string()).collect();
        if rivals.len() > 1 {
            let rivals = rivals.join(" ");
            let message = format!("pods by selector {text} are controlled by multiple HPAs: [{rivals}]");
            return Err(("AmbiguousSelector", message));
        }
        Ok(pods)
    }

    async fn readings(
        &self,
        key: &Key,
        autoscaler: &HorizontalPodAutoscaler,
        selector: &str,
    ) -> Vec<std::result::Result<Reading, String>> {
        let metrics = autoscaler.spec.metrics.as_deref().unwrap_or_default();
        let each = metrics.iter().map(|metric| self.read(key, selector, metric));
        futures::future::join_all(each).await
    }

    async fn read(
        &self,
        key: &Key,
        selector: &str,
        metric: &MetricSpec,
    ) -> std::result::Result<Reading, String> {
        let plural = async |api_version: &str, kind: &str| {
            let resource = self.resource(api_version, kind).await.map_err(|error| error.said())?;
            Ok(match &*resource.group {
                "" => resource.plural,
                group => format!("{}.{group}", resource.plural),
            })
        };
        sources::read(&self.world.client, &key.namespace, selector, metric, plural).await
    }

    async fn set_status(
        &self,
        key: &Key,
        autoscaler: &HorizontalPodAutoscaler,
        status: HorizontalPodAutoscalerStatus,
    ) -> Result<()> {
        let new = HorizontalPodAutoscaler { status: Some(status), ..autoscaler.clone() };
        let api = HorizontalPodAutoscaler::api(&self.world, &key.namespace);
        if let Some(written) = unless_gone(api.replace_status(&key.name, &post_params(), &new).await)? {
            self.world.autoscalers.observe(written);
        }
        Ok(())
    }
}
