//! Objects with few distinct values, so that they match, collide and tie often.

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Map, Value, json};

/// Makes up nodes and pods.
#[derive(Clone, Debug)]
pub struct World {
    random: SmallRng,
    pods: u64,
    /// Whether pods want each other near or away.
    sociable: bool,
    /// Whether there are devices, and pods that claim them.
    devices: bool,
    /// Whether pods mount volumes.
    storage: bool,
}

const KEYS: [&str; 4] = ["disk", "gpu", "tier", "rank"];
const VALUES: [&str; 4] = ["a", "b", "1", "7"];
const TAINTS: [&str; 3] = ["dedicated", "spot", "old"];
pub(super) const ZONE: &str = "topology.kubernetes.io/zone";
const IMAGES: [&str; 3] = ["web:latest", "db:latest", "registry:5000/batch:1"];
const APPS: [&str; 3] = ["web", "db", "batch"];
pub(super) const NAMESPACES: [&str; 2] = ["one", "two"];
const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

impl World {
    /// A world that follows from `seed`.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        let mut random = SmallRng::seed_from_u64(seed);
        let sociable = random.random_bool(0.4);
        let devices = random.random_bool(0.2);
        let storage = random.random_bool(0.3);
        Self { random, pods: 0, sociable, devices, storage }
    }

    /// The source of chance.
    pub fn random(&mut self) -> &mut SmallRng {
        &mut self.random
    }

    pub(super) fn chance(&mut self, percent: u32) -> bool {
        self.random.random_range(0..100) < percent
    }

    pub(super) fn one<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of.choose(&mut self.random).expect("a list that is not empty")
    }

    pub(super) fn number(&mut self, to: u32) -> u32 {
        self.random.random_range(0..=to)
    }

    /// Whether there are devices in it.
    #[must_use]
    pub fn has_devices(&self) -> bool {
        self.devices
    }

    /// Whether pods mount volumes in it.
    #[must_use]
    pub fn has_storage(&self) -> bool {
        self.storage
    }

    /// A Node of this name, different every time.
    pub fn node(&mut self, name: &str) -> Value {
        let mut labels = Map::from_iter([("kubernetes.io/hostname".to_owned(), json!(name))]);
        if self.chance(80) {
            labels.insert(ZONE.into(), json!(self.one(&["z1", "z2", "z3"])));
        }
        for key in KEYS {
            if self.chance(50) {
                labels.insert(key.into(), json!(self.one(&VALUES)));
            }
        }
        let mut taints = Vec::new();
        for key in TAINTS {
            if self.chance(12) {
                taints.push(
                    json!({"key": key, "value": self.one(&["", "x", "y"]), "effect": self.one(&EFFECTS)}),
                );
            }
        }
        let mut offered = json!({
            "cpu": self.one(&["2", "4", "4", "4500m"]),
            "memory": self.one(&["4Gi", "8Gi", "8Gi", "7777777777"]),
            "pods": self.one(&["3", "10", "110"]),
        });
        if self.chance(30) {
            offered["example.com/gpu"] = json!(self.one(&["1", "4", "8"]));
        }
        if self.devices && self.chance(20) {
            let resource = self.resource();
            offered[resource] = json!(self.one(&["0", "1", "2"]));
        }
        if self.chance(30) {
            offered["ephemeral-storage"] = json!(self.one(&["1Gi", "10Gi"]));
        }
        if self.chance(3) {
            offered = json!({"pods": "5"});
        }
        let images: Vec<_> = (0..self.number(1) * self.number(2)).map(|_| self.image()).collect();
        json!({
            "metadata": {"name": name, "labels": labels},
            "spec": {"taints": taints, "unschedulable": self.chance(5)},
            "status": {"allocatable": offered, "images": images},
        })
    }

    /// A Pod that no other pod of this world is named like. `nodes` are names it may ask for.
    pub fn pod(&mut self, nodes: &[String]) -> Value {
        self.pods += 1;
        let name = format!("p{}", self.pods);
        let mut spec =
            json!({"containers": [self.container("app")], "priority": self.one(&[&0, &0, &0, &5, &10])});
        if self.chance(10) {
            spec["containers"] = json!([self.container("app"), self.container("side")]);
        }
        if self.chance(5) {
            spec["initContainers"] = json!([self.container("init")]);
        }
        if self.devices && self.chance(10) {
            let mut sidecar = self.container("sidecar");
            sidecar["restartPolicy"] = json!("Always");
            spec["initContainers"] = json!([self.container("init"), sidecar]);
        }
        if self.chance(20) {
            spec["nodeSelector"] = json!({self.one(&KEYS): self.one(&VALUES)});
        }
        if self.chance(30) {
            spec["affinity"]["nodeAffinity"] = self.node_affinity(nodes);
        }
        if self.sociable && self.chance(30) {
            let which = self.one(&["podAffinity", "podAntiAffinity", "podAntiAffinity"]);
            spec["affinity"][which] = self.pod_affinity();
        }
        if self.chance(40) {
            let tolerations: Vec<_> = (0..=self.number(2)).map(|_| self.toleration()).collect();
            spec["tolerations"] = json!(tolerations);
        }
        if self.chance(15) {
            spec["topologySpreadConstraints"] = json!([self.spread()]);
            if self.chance(50) {
                spec["topologySpreadConstraints"] = json!([self.spread(), self.spread()]);
            }
        }
        if self.devices && self.chance(40) {
            spec["resourceClaims"] = json!([self.claims()]);
        }
        if self.storage && self.chance(50) {
            spec["volumes"] = self.mounts();
        }
        if self.chance(4) {
            spec["preemptionPolicy"] = json!("Never");
        }
        if self.chance(5) {
            spec["overhead"] = json!({"cpu": "50m"});
        }
        let mut metadata = json!({
            "name": name, "uid": name, "namespace": self.one(&NAMESPACES),
            "labels": {"app": self.one(&APPS)},
        });
        if self.chance(30) {
            metadata["labels"]["version"] = json!(self.one(&["1", "2"]));
        }
        if self.chance(20) {
            metadata["ownerReferences"] = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "uid": "u",
                "name": self.one(&APPS), "controller": true}]);
        }
        if self.chance(3) {
            metadata["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        }
        let mut status = json!({});
        if self.chance(40) {
            status["startTime"] = json!(self.one(&["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"]));
        }
        if self.chance(4) {
            status["conditions"] =
                json!([{"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}]);
        }
        json!({"metadata": metadata, "spec": spec, "status": status})
    }

    /// The name of a pod that comes soon.
    pub(super) fn later_pod(&mut self) -> String {
        format!("p{}", self.pods + 1 + u64::from(self.number(10)))
    }

    /// Services, ReplicaSets, Namespaces and PodDisruptionBudgets that pods of this world may belong to.
    pub fn groups(&mut self) -> Vec<Value> {
        (0..self.number(4)).map(|_| self.group()).collect()
    }

    /// One of them.
    pub fn group(&mut self) -> Value {
        let kind = self.one(&["Service", "ReplicaSet", "Namespace", "PodDisruptionBudget"]);
        let (app, namespace) = (self.one(&APPS), self.one(&NAMESPACES));
        match kind {
            "Namespace" => json!({"kind": kind, "metadata": {"name": namespace, "labels": {"team": app}}}),
            "PodDisruptionBudget" => json!({"kind": kind, "metadata": {"name": app, "namespace": namespace},
                "spec": {"selector": {"matchLabels": {"app": app}}},
                "status": {"disruptionsAllowed": self.number(2), "currentHealthy": 3, "desiredHealthy": 1, "expectedPods": 3}}),
            "Service" => json!({"kind": kind, "metadata": {"name": app, "namespace": namespace},
                "spec": {"selector": {"app": app}}}),
            _ => json!({"kind": kind, "metadata": {"name": app, "namespace": namespace},
                "spec": {"selector": {"matchLabels": {"app": app}}, "template": {}}}),
        }
    }

    fn spread(&mut self) -> Value {
        let mut constraint = json!({
            "maxSkew": self.one(&[&1, &1, &2, &3]),
            "topologyKey": self.one(&["kubernetes.io/hostname", ZONE, ZONE, "disk"]),
            "whenUnsatisfiable": self.one(&["DoNotSchedule", "ScheduleAnyway"]),
        });
        if self.chance(90) {
            constraint["labelSelector"] = self.selector();
        }
        if self.chance(15) && constraint["whenUnsatisfiable"] == "DoNotSchedule" {
            constraint["minDomains"] = json!(self.one(&[&1, &2, &4]));
        }
        for policy in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            if self.chance(30) {
                constraint[policy] = json!(self.one(&["Honor", "Ignore"]));
            }
        }
        if self.chance(10) {
            constraint["matchLabelKeys"] = json!(["version"]);
        }
        constraint
    }

    fn pod_affinity(&mut self) -> Value {
        let mut affinity = json!({});
        if self.chance(60) {
            let terms: Vec<_> = (0..=self.number(1)).map(|_| self.pod_term()).collect();
            affinity["requiredDuringSchedulingIgnoredDuringExecution"] = json!(terms);
        }
        if self.chance(60) {
            let weighted = |world: &mut Self| json!({"weight": world.one(&[&1, &7, &100]), "podAffinityTerm": world.pod_term()});
            let weighted: Vec<_> = (0..=self.number(1)).map(|_| weighted(self)).collect();
            affinity["preferredDuringSchedulingIgnoredDuringExecution"] = json!(weighted);
        }
        affinity
    }

    fn pod_term(&mut self) -> Value {
        let mut term = json!({"topologyKey": self.one(&["kubernetes.io/hostname", ZONE, ZONE, "disk"])});
        if self.chance(90) {
            term["labelSelector"] = self.selector();
        }
        if self.chance(20) {
            term["namespaces"] = json!([self.one(&NAMESPACES)]);
        }
        if self.chance(20) {
            let everything = json!({});
            let team = json!({"matchLabels": {"team": self.one(&APPS)}});
            term["namespaceSelector"] = if self.chance(50) { everything } else { team };
        }
        if self.chance(10) {
            term["matchLabelKeys"] = json!(["version"]);
        }
        term
    }

    fn selector(&mut self) -> Value {
        match self.number(9) {
            0 => json!({}),
            1 => {
                json!({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": [self.one(&APPS)]}]})
            }
            2 => json!({"matchExpressions": [{"key": "version", "operator": "Exists"}]}),
            _ => json!({"matchLabels": {"app": self.one(&APPS)}}),
        }
    }

    fn image(&mut self) -> Value {
        json!({"names": [self.one(&IMAGES)], "sizeBytes": self.one(&[&30_000_000, &700_000_000, &2_000_000_000])})
    }

    fn container(&mut self, name: &str) -> Value {
        let mut requests = Map::new();
        if self.chance(70) {
            requests.insert("cpu".into(), json!(self.one(&["0", "100m", "250m", "500m", "1", "3"])));
        }
        if self.chance(70) {
            requests.insert("memory".into(), json!(self.one(&["0", "128Mi", "1Gi", "2Gi"])));
        }
        if self.chance(8) {
            requests.insert("example.com/gpu".into(), json!(self.one(&["0", "1", "2"])));
        }
        if self.chance(8) {
            requests.insert("ephemeral-storage".into(), json!("300Mi"));
        }
        if self.devices && self.chance(40) {
            let resource = self.resource();
            requests.insert(resource, json!(self.one(&["0", "1", "1", "2"])));
        }
        let mut container = json!({"name": name, "resources": {"requests": requests}});
        if self.chance(50) {
            container["image"] = json!(self.one(&IMAGES).trim_end_matches(":latest"));
        }
        if self.chance(10) {
            let number = self.one(&[&80, &443]);
            let mut port = json!({"containerPort": number, "hostPort": number});
            if self.chance(40) {
                port["hostIP"] = json!(self.one(&["0.0.0.0", "10.0.0.1", "10.0.0.2"]));
            }
            if self.chance(30) {
                port["protocol"] = json!("UDP");
            }
            container["ports"] = json!([port]);
        }
        container
    }

    fn toleration(&mut self) -> Value {
        let mut toleration = json!({});
        if self.chance(80) {
            toleration["key"] = json!(self.one(&TAINTS));
        }
        if self.chance(70) || toleration.get("key").is_none() {
            toleration["operator"] = json!("Exists");
        } else {
            toleration["value"] = json!(self.one(&["", "x", "y"]));
        }
        if self.chance(50) {
            toleration["effect"] = json!(self.one(&EFFECTS));
        }
        toleration
    }

    fn node_affinity(&mut self, nodes: &[String]) -> Value {
        let mut affinity = json!({});
        if self.chance(50) {
            let terms: Vec<_> = (0..=self.number(1)).map(|_| self.selector_term(nodes)).collect();
            affinity["requiredDuringSchedulingIgnoredDuringExecution"] = json!({"nodeSelectorTerms": terms});
        }
        if self.chance(60) {
            let preferred = |world: &mut Self| json!({"weight": world.one(&[&1, &3, &50, &100]), "preference": world.selector_term(&[])});
            let preferred: Vec<_> = (0..=self.number(2)).map(|_| preferred(self)).collect();
            affinity["preferredDuringSchedulingIgnoredDuringExecution"] = json!(preferred);
        }
        affinity
    }

    fn selector_term(&mut self, nodes: &[String]) -> Value {
        if !nodes.is_empty() && self.chance(25) {
            let name = nodes.choose(&mut self.random).map_or("", String::as_str);
            let field = json!({"key": "metadata.name", "operator": self.one(&["In", "In", "NotIn"]), "values": [name]});
            return json!({"matchFields": [field]});
        }
        let expressions: Vec<_> = (0..=self.number(1)).map(|_| self.requirement()).collect();
        json!({"matchExpressions": expressions})
    }

    fn requirement(&mut self) -> Value {
        let operator = self.one(&["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]);
        let values = match operator {
            "In" | "NotIn" => json!([self.one(&VALUES), self.one(&VALUES)]),
            "Gt" | "Lt" => json!([self.one(&["3", "0"])]),
            _ => json!([]),
        };
        json!({"key": self.one(&KEYS), "operator": operator, "values": values})
    }
}
