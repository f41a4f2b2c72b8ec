//! Device classes, slices and claims with few distinct values.

use rand::Rng;
use rand::seq::IndexedRandom;
use serde_json::{Value, json};

use super::World;
use super::world::NAMESPACES;

const CLASSES: [&str; 3] = ["gpu", "net", "all"];
/// What classes may stand for: a resource that nodes offer, too, and one that they do not.
const RESOURCES: [&str; 2] = ["example.com/gpu", "d.io/net"];
const CLAIMS: [&str; 4] = ["c1", "c2", "c3", "c4"];
const EXPRESSIONS: [&str; 4] = [
    "device.attributes['d.io'].kind == 'gpu'",
    "device.attributes['d.io'].?numa.orValue(0) == 1",
    "device.capacity['d.io'].memory.compareTo(quantity('2Gi')) >= 0",
    "true",
];

impl World {
    /// Classes, slices for some of the nodes, and claims.
    pub fn devices(&mut self, nodes: &[String]) -> Vec<Value> {
        let mut all: Vec<_> = CLASSES.iter().map(|name| self.device_class(name)).collect();
        for node in nodes {
            if self.chance(50) {
                all.push(self.device_slice(node));
            }
        }
        for claim in CLAIMS {
            for namespace in NAMESPACES {
                all.push(self.device_claim(namespace, claim));
            }
        }
        all
    }

    /// One of these.
    pub fn device(&mut self, nodes: &[String]) -> Value {
        match self.number(5) {
            0 => {
                let name = self.one(&CLASSES);
                self.device_class(name)
            }
            1 | 2 => {
                let node = nodes.choose(self.random()).cloned().unwrap_or_default();
                self.device_slice(&node)
            }
            _ => {
                let (namespace, name) = (self.one(&NAMESPACES), self.one(&CLAIMS));
                self.device_claim(namespace, name)
            }
        }
    }

    /// A pod's use of a claim.
    pub(super) fn claims(&mut self) -> Value {
        json!({"name": "dev", "resourceClaimName": self.one(&CLAIMS)})
    }

    /// An extended resource that a class may stand for, or stands for by its own name.
    pub(super) fn resource(&mut self) -> String {
        match self.number(2) {
            0 => format!("deviceclass.resource.kubernetes.io/{}", self.one(&CLASSES)),
            _ => self.one(&RESOURCES).to_owned(),
        }
    }

    fn device_class(&mut self, name: &str) -> Value {
        let mut spec = json!({});
        if self.chance(80) {
            spec["extendedResourceName"] = json!(self.one(&RESOURCES));
        }
        let made = format!("2026-01-01T00:00:0{}Z", self.number(2));
        if name != "all" {
            spec["selectors"] = json!([self.selector_of_devices()]);
        }
        json!({"kind": "DeviceClass", "metadata": {"name": name, "creationTimestamp": made}, "spec": spec})
    }

    fn selector_of_devices(&mut self) -> Value {
        json!({"cel": {"expression": self.one(&EXPRESSIONS)}})
    }

    fn device_slice(&mut self, node: &str) -> Value {
        let devices: Vec<_> = (0..=self.number(3))
            .map(|at| {
                let mut device = json!({"name": format!("d{at}"),
                    "attributes": {"kind": {"string": self.one(&["gpu", "net"])}, "numa": {"int": self.number(1)}},
                    "capacity": {"memory": {"value": self.one(&["1Gi", "4Gi"])}}});
                if self.chance(10) {
                    device["taints"] = json!([{"key": "broken", "effect": "NoSchedule"}]);
                }
                if self.chance(20) {
                    device["allowMultipleAllocations"] = json!(true);
                }
                device
            })
            .collect();
        let mut spec = json!({"driver": "d.io", "devices": devices,
            "pool": {"name": node, "generation": 1, "resourceSliceCount": 1}});
        match self.number(9) {
            0 => spec["allNodes"] = json!(true),
            _ => spec["nodeName"] = json!(node),
        }
        if self.chance(5) {
            spec["pool"]["resourceSliceCount"] = json!(2);
        }
        json!({"kind": "ResourceSlice", "metadata": {"name": format!("s-{node}")}, "spec": spec})
    }

    fn device_claim(&mut self, namespace: &str, name: &str) -> Value {
        let mut one = |name: &str| {
            let mut exact = json!({"deviceClassName": self.one(&CLASSES)});
            match self.number(5) {
                0 => exact["allocationMode"] = json!("All"),
                1 => exact["count"] = json!(2),
                2 => exact["selectors"] = json!([self.selector_of_devices()]),
                3 => exact["tolerations"] = json!([{"operator": "Exists"}]),
                _ => {}
            }
            if self.chance(20) {
                let (mut first, mut second) = (exact.clone(), exact.clone());
                first["name"] = json!("first");
                second["name"] = json!("second");
                second["deviceClassName"] = json!(self.one(&CLASSES));
                return json!({"name": name, "firstAvailable": [first, second]});
            }
            json!({"name": name, "exactly": exact})
        };
        let mut requests = vec![one("r")];
        let second = one("s");
        if self.random().random_bool(0.3) {
            requests.push(second);
        }
        let mut devices = json!({"requests": requests});
        if self.chance(20) {
            devices["constraints"] = json!([{"matchAttribute": "d.io/numa"}]);
        }
        let mut metadata =
            json!({"name": name, "namespace": namespace, "uid": format!("{namespace}-{name}")});
        if self.chance(15) {
            // Left of an attempt to place a pod that is still to come.
            let pod = self.later_pod();
            metadata["annotations"] = json!({"resource.kubernetes.io/extended-resource-claim": "true"});
            metadata["ownerReferences"] =
                json!([{"apiVersion": "v1", "kind": "Pod", "name": pod, "uid": pod, "controller": true}]);
        }
        json!({"kind": "ResourceClaim", "metadata": metadata, "spec": {"devices": devices}})
    }
}
