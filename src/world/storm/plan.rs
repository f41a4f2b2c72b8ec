//! What happens in a storm: made up from a seed, before anything happens, so that it can be told again in part.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use orchestra_controllers::Controller;
use serde_json::{Value, json};

use super::super::chance::Chance;
use super::super::provisioner::PROVISIONER;
use super::super::wire::Death;
use super::super::{CONTROLLERS, SCHEDULER, component_of};
use super::kind::Kind;

/// One thing that happens.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// When, since the storm began.
    pub at: Duration,
    /// What.
    pub act: Act,
}

/// What can happen.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Act {
    /// A user makes an object.
    Create(Kind, &'static str, Value),
    /// A user changes one.
    Change(Kind, &'static str, String, Value),
    /// A user deletes one.
    Delete(Kind, &'static str, String, &'static str),
    /// A user evicts the pod of this number, in the order of their names.
    Evict(u64),
    /// A user takes a node out of service and evicts its pods.
    Drain(String),
    /// The node may be used again.
    Uncordon(String),
    /// A component dies at once.
    Kill(String),
    /// A component dies at one of its next writes.
    KillAt(String, Death),
    /// All watches of a component end.
    BreakWatches(String),
    /// A node goes.
    NodeDown(String),
    /// It is back, and what ran on it still runs.
    NodeUp(String),
    /// All that ran on a node is gone.
    Reboot(String),
    /// A container of a node fails; which, the number says.
    FailContainer(String, u64),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>8.3}s ", self.at.as_secs_f64())?;
        match &self.act {
            Act::Create(kind, namespace, object) => write!(f, "create {kind:?} in {namespace}: {object}"),
            Act::Change(kind, namespace, name, patch) => {
                write!(f, "change {kind:?} {namespace}/{name}: {patch}")
            }
            Act::Delete(kind, namespace, name, policy) => {
                write!(f, "delete {kind:?} {namespace}/{name} ({policy})")
            }
            other => write!(f, "{other:?}"),
        }
    }
}

/// How storms are made up.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recipe {
    /// How many nodes there are.
    pub nodes: u8,
    /// How many things happen.
    pub steps: u64,
    /// The longest time between two of them.
    pub pause: Duration,
    /// In how many of a hundred cases it is a fault, and not a user.
    pub faults: u64,
    /// How many controllers live apart from the others, so that each dies alone.
    pub apart: usize,
    /// Components that die besides the controllers, the scheduler, the provisioner of volumes and the nodes.
    pub components: Vec<String>,
    /// A kind that users deal with more than with others.
    pub favours: Option<Kind>,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            nodes: 3,
            steps: 24,
            pause: Duration::from_secs(5),
            faults: 35,
            apart: 2,
            components: Vec::new(),
            favours: None,
        }
    }
}

impl Recipe {
    /// What happens in the storm of `seed`.
    pub fn plan(&self, seed: u64) -> Vec<Step> {
        let mut author = Author {
            chance: Chance::of(seed, "plan"),
            storage: Chance::of(seed, "storage"),
            recipe: self,
            mortal: self.mortal(seed),
            living: Vec::new(),
            made: 0,
        };
        let mut at = Duration::from_secs(1);
        let mut steps = Vec::new();
        for number in 0..self.steps {
            // First something that the rest can happen to.
            let is_fault = number > 2 && author.chance.percent(self.faults);
            let act = if is_fault { author.fault() } else { author.deed(number) };
            steps.push(Step { at, act });
            at += author.chance.span(self.pause);
        }
        steps
    }

    /// The controllers that live apart in the storm of `seed`: each has its turn.
    pub fn living_apart(&self, seed: u64) -> BTreeSet<Controller> {
        let (mut chance, mut left) = (Chance::of(seed, "apart"), BUSY.to_vec());
        let draws = self.apart.min(left.len());
        let mut draw = || left.remove(usize::try_from(chance.below(left.len() as u64)).unwrap_or(0));
        (0..draws).map(|_| draw()).collect()
    }

    /// The components that die at times; what is named twice dies twice as often. The nodes are besides.
    fn mortal(&self, seed: u64) -> Vec<String> {
        let mut mortal: Vec<String> =
            [CONTROLLERS, CONTROLLERS, SCHEDULER, PROVISIONER].map(str::to_owned).to_vec();
        mortal.extend(self.living_apart(seed).into_iter().map(component_of));
        mortal.extend(self.components.iter().cloned());
        mortal
    }
}

/// The controllers that have something to do in a storm.
const BUSY: [Controller; 21] = [
    Controller::CronJob,
    Controller::DaemonSet,
    Controller::Deployment,
    Controller::Disruption,
    Controller::EndpointSlice,
    Controller::Endpoints,
    Controller::GarbageCollector,
    Controller::HorizontalPodAutoscaler,
    Controller::Job,
    Controller::Namespace,
    Controller::NodeLifecycle,
    Controller::PodGarbageCollector,
    Controller::ReplicaSet,
    Controller::ResourceQuota,
    Controller::ServiceAccount,
    Controller::StatefulSet,
    Controller::TaintEviction,
    Controller::TtlAfterFinished,
    Controller::Volume,
    Controller::NodeTtl,
    Controller::EndpointSliceMirroring,
];

struct Living {
    kind: Kind,
    namespace: &'static str,
    name: String,
}

struct Author<'a> {
    chance: Chance,
    /// What has volumes, and which, is drawn apart: storms without claims are as they are without this.
    storage: Chance,
    recipe: &'a Recipe,
    mortal: Vec<String>,
    living: Vec<Living>,
    made: u32,
}

/// Where workloads live; the second has a quota at times, the third is deleted as a whole.
pub(super) const NAMESPACES: [&str; 3] = ["default", "shop", "fleeting"];

/// The classes of volumes, and when a claim of theirs is bound.
pub(super) const CLASSES: [(&str, &str); 2] =
    [("at-once", "Immediate"), ("when-used", "WaitForFirstConsumer")];

impl Author<'_> {
    fn node(&mut self) -> String {
        format!("node-{}", self.chance.between(1, u64::from(self.recipe.nodes.max(1))))
    }

    fn fault(&mut self) -> Act {
        let node = self.node();
        let choice = usize::try_from(self.chance.below(self.mortal.len() as u64 + 1)).unwrap_or(0);
        let component = self.mortal.get(choice).cloned().unwrap_or(node);
        match self.chance.below(20) {
            0..=7 => {
                let after = self.chance.below(12);
                let death = if self.chance.percent(50) { Death::Before(after) } else { Death::After(after) };
                Act::KillAt(component, death)
            }
            8..=9 => Act::Kill(component),
            10..=12 => Act::BreakWatches(component),
            13..=14 => Act::NodeDown(self.node()),
            15..=16 => Act::NodeUp(self.node()),
            17 => Act::Reboot(self.node()),
            _ => Act::FailContainer(self.node(), self.chance.draw()),
        }
    }

    fn deed(&mut self, number: u64) -> Act {
        if let Some(kind) = self.recipe.favours
            && self.chance.percent(40)
        {
            return self.favoured(kind);
        }
        let fresh = number < 2 || self.living.is_empty();
        match if fresh { self.chance.below(6) } else { self.chance.below(22) } {
            0..=3 => self.make(),
            4..=5 => self.make_beside(),
            6..=15 => self.change(),
            16..=17 => self.delete(),
            18..=19 => Act::Evict(self.chance.draw()),
            20 => Act::Drain(self.node()),
            _ => Act::Uncordon(self.node()),
        }
    }

    fn place(&mut self) -> &'static str {
        match self.chance.below(10) {
            0..=5 => NAMESPACES[0],
            6..=8 => NAMESPACES[1],
            _ => NAMESPACES[2],
        }
    }

    fn name(&mut self, letter: &str) -> String {
        self.made += 1;
        format!("{letter}{}", self.made)
    }

    fn make(&mut self) -> Act {
        let kind = match self.chance.below(10) {
            0..=3 => Kind::Deployment,
            4..=5 => Kind::StatefulSet,
            6 => Kind::DaemonSet,
            7..=8 => Kind::Job,
            _ => Kind::CronJob,
        };
        self.workload(kind)
    }

    /// Something is done with a kind that is favoured; with what is of use only beside others, that is evicting, too.
    fn favoured(&mut self, kind: Kind) -> Act {
        match kind {
            Kind::PodDisruptionBudget if self.chance.percent(50) => Act::Drain(self.node()),
            Kind::PodDisruptionBudget => self.beside(0),
            Kind::Service => self.beside(3),
            Kind::HorizontalPodAutoscaler => self.beside(5),
            Kind::ResourceQuota => self.beside(7),
            kind => self.workload(kind),
        }
    }

    fn workload(&mut self, kind: Kind) -> Act {
        let namespace = self.place();
        let (kind, object) = match kind {
            Kind::StatefulSet => (kind, self.stateful_set()),
            Kind::DaemonSet => (kind, self.daemon_set()),
            Kind::Job => (kind, self.job()),
            Kind::CronJob => (kind, self.cron_job()),
            _ => (Kind::Deployment, self.deployment()),
        };
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        self.living.push(Living { kind, namespace, name });
        Act::Create(kind, namespace, object)
    }

    /// Something that is of use only beside a workload.
    fn make_beside(&mut self) -> Act {
        let choice = self.chance.below(8);
        self.beside(choice)
    }

    fn beside(&mut self, choice: u64) -> Act {
        let scaled: Vec<usize> = (0..self.living.len())
            .filter(|at| matches!(self.living[*at].kind, Kind::Deployment | Kind::StatefulSet))
            .collect();
        let Some(Living { kind, namespace, name }) = self.chance.pick(&scaled).map(|at| &self.living[*at])
        else {
            return self.make();
        };
        let (kind, namespace, of) = (*kind, *namespace, name.clone());
        let selector = json!({"app": of});
        match choice {
            0..=2 => {
                let name = self.name("b");
                let bound = self.chance.between(1, 2);
                let field = if self.chance.percent(50) { "minAvailable" } else { "maxUnavailable" };
                let spec = json!({"selector": {"matchLabels": selector}, field: bound});
                Act::Create(
                    Kind::PodDisruptionBudget,
                    namespace,
                    json!({"metadata": {"name": name}, "spec": spec}),
                )
            }
            3..=4 => {
                let name = self.name("s");
                let spec = json!({"selector": selector, "ports": [{"port": 80}]});
                Act::Create(Kind::Service, namespace, json!({"metadata": {"name": name}, "spec": spec}))
            }
            5..=6 if kind == Kind::Deployment => {
                let name = self.name("h");
                let spec = json!({
                    "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": of},
                    "minReplicas": self.chance.between(1, 2), "maxReplicas": self.chance.between(3, 6),
                    "metrics": [{"type": "Resource", "resource": {
                        "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50},
                    }}],
                    "behavior": {"scaleDown": {"stabilizationWindowSeconds": 10}},
                });
                Act::Create(
                    Kind::HorizontalPodAutoscaler,
                    namespace,
                    json!({"metadata": {"name": name}, "spec": spec}),
                )
            }
            _ => {
                let name = self.name("q");
                let spec = json!({"hard": {"pods": self.chance.between(2, 9).to_string()}});
                Act::Create(
                    Kind::ResourceQuota,
                    NAMESPACES[1],
                    json!({"metadata": {"name": name}, "spec": spec}),
                )
            }
        }
    }

    fn change(&mut self) -> Act {
        let at = self.chance.below(self.living.len() as u64);
        let Some(Living { kind, namespace, name }) =
            usize::try_from(at).ok().and_then(|at| self.living.get(at))
        else {
            return self.make();
        };
        let (kind, namespace, name) = (*kind, *namespace, name.clone());
        let patch = match (kind, self.chance.below(10)) {
            (Kind::Job, 0..=4) => json!({"spec": {"suspend": self.chance.percent(50)}}),
            (Kind::Job, _) => json!({"spec": {"parallelism": self.chance.between(1, 3)}}),
            (Kind::CronJob, _) => json!({"spec": {"suspend": self.chance.percent(50)}}),
            (Kind::DaemonSet, _) => self.another_template(),
            (_, 0..=4) => json!({"spec": {"replicas": self.chance.below(7)}}),
            (Kind::Deployment, 5) => json!({"spec": {"paused": self.chance.percent(40)}}),
            (Kind::StatefulSet, 5) => {
                json!({"spec": {"updateStrategy": {"rollingUpdate": {"partition": self.chance.below(3)}}}})
            }
            _ => self.another_template(),
        };
        Act::Change(kind, namespace, name, patch)
    }

    /// Another image, or one of those before: a rollback.
    fn another_template(&mut self) -> Value {
        let ready_after = self.ready_after();
        json!({"spec": {"template": {
            "metadata": {"annotations": {"sim.orchestra.dev/ready-after": ready_after}},
            "spec": {"containers": [{"name": "c", "image": format!("v{}", self.chance.below(4))}]},
        }}})
    }

    fn delete(&mut self) -> Act {
        if self.chance.percent(15) {
            self.living.retain(|living| living.namespace != NAMESPACES[2]);
            return Act::Delete(Kind::Namespace, "", NAMESPACES[2].to_owned(), "Background");
        }
        let at = usize::try_from(self.chance.below(self.living.len() as u64)).unwrap_or(0);
        if at >= self.living.len() {
            return self.make();
        }
        let Living { kind, namespace, name } = self.living.remove(at);
        let policy = *self.chance.pick(&["Background", "Background", "Foreground"]).unwrap_or(&"Background");
        Act::Delete(kind, namespace, name, policy)
    }

    fn ready_after(&mut self) -> String {
        // Now and then a version that never works.
        if self.chance.percent(8) { "1000000".to_owned() } else { self.chance.between(0, 4).to_string() }
    }

    fn template(&mut self, app: &str, annotations: Value) -> Value {
        let probe = json!({"exec": {"command": ["true"]}, "periodSeconds": 2});
        json!({
            "metadata": {"labels": {"app": app}, "annotations": annotations},
            "spec": {"terminationGracePeriodSeconds": 2, "containers": [{
                "name": "c", "image": format!("v{}", self.chance.below(4)), "readinessProbe": probe,
                "resources": {"requests": {"cpu": "100m"}},
            }]},
        })
    }

    fn lasting(&mut self, app: &str) -> Value {
        let annotations = json!({"sim.orchestra.dev/ready-after": self.ready_after()});
        self.template(app, annotations)
    }

    fn deployment(&mut self) -> Value {
        let name = self.name("d");
        let mut spec = json!({
            "replicas": self.chance.between(1, 6),
            "selector": {"matchLabels": {"app": name}},
            "template": self.lasting(&name),
            "minReadySeconds": self.chance.below(3),
            "progressDeadlineSeconds": 50,
            "revisionHistoryLimit": self.chance.between(1, 3),
        });
        spec["strategy"] = match self.chance.below(10) {
            0..=1 => json!({"type": "Recreate"}),
            2..=4 => json!({"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}),
            5..=7 => json!({"rollingUpdate": {"maxSurge": self.chance.between(1, 2), "maxUnavailable": 0}}),
            _ => json!({"rollingUpdate": {"maxSurge": 0, "maxUnavailable": self.chance.between(1, 2)}}),
        };
        json!({"metadata": {"name": name}, "spec": spec})
    }

    fn stateful_set(&mut self) -> Value {
        let name = self.name("t");
        let policy = if self.chance.percent(75) { "OrderedReady" } else { "Parallel" };
        let mut spec = json!({
            "replicas": self.chance.between(1, 4), "serviceName": name, "podManagementPolicy": policy,
            "selector": {"matchLabels": {"app": name}}, "template": self.lasting(&name),
        });
        if self.storage.percent(40) {
            self.keep_volumes(&mut spec);
        }
        json!({"metadata": {"name": name}, "spec": spec})
    }

    /// Each pod of a StatefulSet has a volume of its own.
    fn keep_volumes(&mut self, spec: &mut Value) {
        let (class, _) = self.storage.pick(&CLASSES).copied().unwrap_or_default();
        spec["volumeClaimTemplates"] = json!([{"metadata": {"name": "v"}, "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": class,
            "resources": {"requests": {"storage": "1Gi"}},
        }}]);
        spec["template"]["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "v", "mountPath": "/v"}]);
        let mut policy = || self.storage.pick(&["Delete", "Retain"]).copied();
        spec["persistentVolumeClaimRetentionPolicy"] =
            json!({"whenDeleted": policy(), "whenScaled": policy()});
    }

    fn daemon_set(&mut self) -> Value {
        let name = self.name("a");
        let rolling = if self.chance.percent(50) {
            json!({"maxSurge": 1, "maxUnavailable": 0})
        } else {
            json!({"maxUnavailable": 1})
        };
        let mut template = self.lasting(&name);
        // It stays where it is, as those of real clusters do.
        template["spec"]["tolerations"] = json!([{"operator": "Exists"}]);
        template["metadata"]["annotations"]["sim.orchestra.dev/ready-after"] = json!("1");
        let spec = json!({
            "selector": {"matchLabels": {"app": name}}, "template": template,
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": rolling},
        });
        json!({"metadata": {"name": name}, "spec": spec})
    }

    fn ending(&mut self, app: &str) -> Value {
        let code = if self.chance.percent(20) { "1" } else { "0" };
        let annotations = json!({
            "sim.orchestra.dev/exit-after": self.chance.between(1, 6).to_string(),
            "sim.orchestra.dev/exit-code": code,
        });
        let mut template = self.template(app, annotations);
        template["spec"]["restartPolicy"] = json!("Never");
        template
    }

    fn job_spec(&mut self, app: &str) -> Value {
        let completions = self.chance.between(1, 5);
        let mode = if self.chance.percent(60) { "Indexed" } else { "NonIndexed" };
        json!({
            "completions": completions, "parallelism": self.chance.between(1, 3), "completionMode": mode,
            "backoffLimit": self.chance.between(0, 2), "template": self.ending(app),
        })
    }

    fn job(&mut self) -> Value {
        let name = self.name("j");
        let mut spec = self.job_spec(&name);
        if self.chance.percent(30) {
            spec["ttlSecondsAfterFinished"] = json!(self.chance.between(0, 20));
        }
        json!({"metadata": {"name": name}, "spec": spec})
    }

    fn cron_job(&mut self) -> Value {
        let name = self.name("c");
        let policy = self.chance.pick(&["Allow", "Forbid", "Replace"]).copied();
        let template = json!({"spec": self.job_spec(&name)});
        json!({"metadata": {"name": name}, "spec": {
            "schedule": "* * * * *", "concurrencyPolicy": policy, "jobTemplate": template,
            "successfulJobsHistoryLimit": 1, "failedJobsHistoryLimit": 1,
        }})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_has_one_plan_and_its_times_only_grow() {
        let recipe = Recipe::default();
        let plan = recipe.plan(5);
        assert_eq!(plan, recipe.plan(5));
        assert_ne!(plan, recipe.plan(6));
        assert!(plan.is_sorted_by_key(|step| step.at));
        assert_eq!(plan.len() as u64, recipe.steps);
    }
}
