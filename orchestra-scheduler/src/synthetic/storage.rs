//! Storage classes, volumes and claims with few distinct values.

use rand::seq::IndexedRandom;
use serde_json::{Value, json};

use super::World;
use super::world::{NAMESPACES, ZONE};

const CLASSES: [&str; 4] = ["now", "late", "local", "none"];
const CLAIMS: [&str; 4] = ["v1", "v2", "v3", "v4"];
const VOLUMES: [&str; 5] = ["pv1", "pv2", "pv3", "pv4", "pv5"];
const DRIVERS: [&str; 2] = ["a.csi.io", "b.csi.io"];

impl World {
    /// Classes, volumes, claims, and what some nodes say of their drivers.
    pub fn storage(&mut self, nodes: &[String]) -> Vec<Value> {
        let mut all: Vec<_> = CLASSES.iter().take(3).map(|name| self.storage_class(name)).collect();
        all.extend(VOLUMES.map(|name| self.volume(name, nodes)));
        for claim in CLAIMS {
            for namespace in NAMESPACES {
                all.push(self.claim(namespace, claim, nodes));
            }
        }
        for node in nodes {
            if self.chance(30) {
                all.push(self.csi_node(node));
            }
        }
        all
    }

    /// One of these.
    pub fn stored(&mut self, nodes: &[String]) -> Value {
        match self.number(9) {
            0 => {
                let name = self.one(&CLASSES);
                self.storage_class(name)
            }
            1..=3 => {
                let name = self.one(&VOLUMES);
                self.volume(name, nodes)
            }
            4 => {
                let node = self.some_node(nodes);
                self.csi_node(&node)
            }
            5 => json!({"kind": "VolumeAttachment", "metadata": {"name": self.one(&["at1", "at2"])},
                "spec": {"nodeName": self.some_node(nodes), "attacher": self.one(&DRIVERS),
                    "source": {"persistentVolumeName": self.one(&VOLUMES)}}}),
            6 => {
                json!({"kind": "CSIStorageCapacity", "metadata": {"name": self.one(&["r1", "r2"]), "namespace": "one"},
                "storageClassName": self.one(&CLASSES), "capacity": self.one(&["1Gi", "5Gi"]),
                "nodeTopology": {"matchLabels": {ZONE: self.one(&["z1", "z2"])}}})
            }
            7 => json!({"kind": "CSIDriver", "metadata": {"name": self.one(&DRIVERS)},
                "spec": {"storageCapacity": self.chance(50)}}),
            _ => {
                let (namespace, name) = (self.one(&NAMESPACES), self.one(&CLAIMS));
                self.claim(namespace, name, nodes)
            }
        }
    }

    /// What a pod mounts.
    pub(super) fn mounts(&mut self) -> Value {
        let mount = |world: &mut Self, name: &str| {
            if world.chance(15) {
                let disk = json!({"pdName": world.one(&["d1", "d2"]), "readOnly": world.chance(50)});
                return json!({"name": name, "gcePersistentDisk": disk});
            }
            json!({"name": name, "persistentVolumeClaim": {"claimName": world.one(&CLAIMS)}})
        };
        match self.chance(30) {
            true => json!([mount(self, "m"), mount(self, "n")]),
            false => json!([mount(self, "m")]),
        }
    }

    fn some_node(&mut self, nodes: &[String]) -> String {
        nodes.choose(self.random()).cloned().unwrap_or_default()
    }

    fn storage_class(&mut self, name: &str) -> Value {
        let provisioner = if name == "local" { "kubernetes.io/no-provisioner" } else { self.one(&DRIVERS) };
        let mode = if name == "now" { "Immediate" } else { "WaitForFirstConsumer" };
        let mut class = json!({"kind": "StorageClass", "metadata": {"name": name},
            "provisioner": provisioner, "volumeBindingMode": mode});
        if self.chance(30) {
            class["allowedTopologies"] =
                json!([{"matchLabelExpressions": [{"key": ZONE, "values": [self.one(&["z1", "z2"])]}]}]);
        }
        class
    }

    fn volume(&mut self, name: &str, nodes: &[String]) -> Value {
        let mut spec = json!({"capacity": {"storage": self.one(&["1Gi", "2Gi", "5Gi"])},
            "accessModes": ["ReadWriteOnce", self.one(&["ReadWriteOncePod", "ReadOnlyMany"])],
            "storageClassName": self.one(&CLASSES)});
        if self.chance(60) {
            spec["csi"] = json!({"driver": self.one(&DRIVERS), "volumeHandle": name});
        }
        let requirement = match self.number(3) {
            0 => Some(json!({"key": ZONE, "operator": "In", "values": [self.one(&["z1", "z2"]), "z3"]})),
            1 => Some(json!({"key": "kubernetes.io/hostname", "operator": "In",
                "values": [self.some_node(nodes), self.some_node(nodes)]})),
            2 => Some(json!({"key": "disk", "operator": "NotIn", "values": [self.one(&["a", "b"])]})),
            _ => None,
        };
        if let Some(requirement) = requirement {
            spec["nodeAffinity"] =
                json!({"required": {"nodeSelectorTerms": [{"matchExpressions": [requirement]}]}});
        }
        if self.chance(20) {
            spec["claimRef"] = json!({"namespace": self.one(&NAMESPACES), "name": self.one(&CLAIMS)});
        }
        let mut labels = json!({});
        if self.chance(15) {
            labels[ZONE] = json!(self.one(&["z1", "z2__z3"]));
        }
        json!({"kind": "PersistentVolume", "metadata": {"name": name, "labels": labels}, "spec": spec,
            "status": {"phase": self.one(&["Available", "Available", "Bound"])}})
    }

    fn claim(&mut self, namespace: &str, name: &str, nodes: &[String]) -> Value {
        let mut spec = json!({"storageClassName": self.one(&CLASSES),
            "accessModes": [self.one(&["ReadWriteOnce", "ReadWriteOnce", "ReadWriteOncePod"])],
            "resources": {"requests": {"storage": self.one(&["1Gi", "2Gi"])}}});
        let (mut annotations, mut phase) = (json!({}), "Pending");
        match self.number(3) {
            0 | 1 => {
                spec["volumeName"] = json!(self.one(&VOLUMES));
                phase = "Bound";
            }
            2 if self.chance(30) => {
                annotations["volume.kubernetes.io/selected-node"] = json!(self.some_node(nodes));
            }
            _ => {}
        }
        json!({"kind": "PersistentVolumeClaim",
            "metadata": {"namespace": namespace, "name": name, "uid": name, "annotations": annotations},
            "spec": spec, "status": {"phase": phase}})
    }

    fn csi_node(&mut self, node: &str) -> Value {
        let driver = |world: &mut Self, name: &str| {
            json!({"name": name, "nodeID": node,
            "allocatable": {"count": world.one(&[&0, &1, &2, &9])}})
        };
        json!({"kind": "CSINode", "metadata": {"name": node},
            "spec": {"drivers": [driver(self, DRIVERS[0]), driver(self, DRIVERS[1])]}})
    }
}
