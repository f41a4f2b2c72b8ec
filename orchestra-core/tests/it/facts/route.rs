//! Ways from a kind to a field, and objects that have the field.

use std::sync::Arc;

use orchestra_core::kind::Kind;
use orchestra_core::kinds::Registry;
use orchestra_core::schema::{self, Field, ObjectType, Shape};
use serde_json::{Map, Value};

/// A way from a kind to a field of a type it leads to.
#[derive(Clone)]
pub(super) struct Route {
    pub(super) kind: Arc<dyn Kind>,
    pub(super) root: &'static ObjectType,
    /// The fields on the way, the last one included.
    pub(super) fields: Vec<&'static Field>,
    /// The type that has the last field.
    pub(super) owner: &'static ObjectType,
}

impl Route {
    pub(super) fn field(&self) -> &'static Field {
        self.fields.last().unwrap()
    }

    /// The type's name without its group, and the field: `Container.imagePullPolicy`.
    pub(super) fn name(&self) -> String {
        format!("{}.{}", self.owner.name.trim_start_matches("io.k8s.api."), self.field().name)
    }

    /// Whether the field is part of the status, which is written and checked on a way of its own.
    pub(super) fn is_in_status(&self) -> bool {
        self.fields.first().is_some_and(|field| field.name == "status") && self.fields.len() > 1
    }

    /// The path as violations show it, up to the first `count` fields; items are the first, entries have the key `k`.
    fn path_of(&self, count: usize) -> String {
        let mut path = String::new();
        for (at, field) in self.fields[..count].iter().enumerate() {
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(field.name);
            if at + 1 < count {
                path.push_str(step(field));
            }
        }
        path
    }

    pub(super) fn path(&self) -> String {
        self.path_of(self.fields.len())
    }

    /// An object of the kind in which the field has the value; without one, in which its owner is there and empty.
    pub(super) fn object(&self, value: Option<Value>) -> Value {
        let (last, before) = self.fields.split_last().unwrap();
        let mut inner = Value::Object(value.map(|value| (last.name.to_owned(), value)).into_iter().collect());
        for field in before.iter().rev() {
            let held = match field.shape {
                Shape::Single => inner,
                Shape::List => Value::Array(vec![inner]),
                Shape::Map | Shape::MapOfLists => Value::Object(Map::from_iter([("k".to_owned(), inner)])),
            };
            inner = Value::Object(Map::from_iter([(field.name.to_owned(), held)]));
        }
        self.accompany(&mut inner);
        inner
    }

    /// Adds what has to stand beside a field for it to be looked at.
    fn accompany(&self, object: &mut Value) {
        let (mut at, mut owner) = (object, self.root);
        for field in &self.fields {
            for (_, _, beside, value) in COMPANIONS
                .iter()
                .filter(|(ty, name, ..)| owner.name.ends_with(&format!(".{ty}")) && *name == field.name)
            {
                at[*beside] = serde_json::from_str(value).unwrap();
            }
            let Some(next) = field.object().filter(|_| at.get(field.name).is_some()) else { return };
            owner = next;
            at = match field.shape {
                Shape::Single => &mut at[field.name],
                Shape::List => &mut at[field.name][0],
                Shape::Map | Shape::MapOfLists => &mut at[field.name]["k"],
            };
        }
    }

    /// What stands in the field of such an object.
    pub(super) fn read<'a>(&self, object: &'a Value) -> Option<&'a Value> {
        let (last, before) = self.fields.split_last().unwrap();
        let mut at = object;
        for field in before {
            at = at.get(field.name)?;
            at = match field.shape {
                Shape::Single => at,
                Shape::List => at.get(0)?,
                Shape::Map | Shape::MapOfLists => at.get("k")?,
            };
        }
        at.get(last.name)
    }
}

/// Fields that are looked at only beside another: the type, the field, and what is beside it.
const COMPANIONS: [(&str, &str, &str, &str); 19] = [
    ("v2.MetricSpec", "object", "type", r#""Object""#),
    ("flowcontrol.v1.Subject", "group", "kind", r#""Group""#),
    ("flowcontrol.v1.Subject", "serviceAccount", "kind", r#""ServiceAccount""#),
    ("flowcontrol.v1.Subject", "user", "kind", r#""User""#),
    ("PriorityLevelConfigurationSpec", "limited", "type", r#""Limited""#),
    ("core.v1.Toleration", "operator", "key", r#""k""#),
    ("core.v1.ServiceSpec", "externalTrafficPolicy", "type", r#""NodePort""#),
    ("core.v1.Lifecycle", "stopSignal", "stopSignal", r#""SIGTERM""#),
    ("batch.v1.PodFailurePolicyRule", "action", "onExitCodes", r#"{"operator": "In", "values": [1]}"#),
    ("rbac.v1.Subject", "name", "kind", r#""User""#),
    ("CustomResourceConversion", "webhook", "strategy", r#""Webhook""#),
    ("core.v1.Container", "restartPolicyRules", "restartPolicy", r#""Never""#),
    ("core.v1.ContainerRestartRule", "action", "exitCodes", r#"{"operator": "In", "values": [1]}"#),
    ("core.v1.HostPathVolumeSource", "type", "path", r#""/data""#),
    ("batch.v1.JobSpec", "successPolicy", "completionMode", r#""Indexed""#),
    ("core.v1.ClusterTrustBundleProjection", "labelSelector", "signerName", r#""example.com/signer""#),
    (
        "CustomResourceDefinitionVersion",
        "selectableFields",
        "schema",
        r#"{"openAPIV3Schema": {"type": "object"}}"#,
    ),
    ("core.v1.VolumeMount", "mountPropagation", "name", r#""v""#),
    ("resource.v1.ResourceSliceSpec", "devices", "perDeviceNodeSelection", "true"),
];

fn step(field: &Field) -> &'static str {
    match field.shape {
        Shape::Single => "",
        Shape::List => "[0]",
        Shape::Map | Shape::MapOfLists => "[k]",
    }
}

/// Every way from every kind to the fields that are asked for; no type is passed twice on one way.
pub(super) fn routes(wanted: impl Fn(&ObjectType, &Field) -> bool) -> Vec<Route> {
    let mut found = Vec::new();
    for kind in Registry::builtin().iter() {
        let description = kind.description();
        let root = schema::of_kind(&description.gv, &description.kind).unwrap();
        let mut search =
            Search { kind, root, wanted: &wanted, passed: vec![root], way: Vec::new(), found: &mut found };
        search.enter(root);
    }
    found
}

struct Search<'a> {
    kind: &'a Arc<dyn Kind>,
    root: &'static ObjectType,
    wanted: &'a dyn Fn(&ObjectType, &Field) -> bool,
    passed: Vec<&'static ObjectType>,
    way: Vec<&'static Field>,
    found: &'a mut Vec<Route>,
}

impl Search<'_> {
    fn enter(&mut self, ty: &'static ObjectType) {
        for field in &ty.fields {
            self.way.push(field);
            if (self.wanted)(ty, field) {
                let (kind, fields) = (self.kind.clone(), self.way.clone());
                self.found.push(Route { kind, root: self.root, fields, owner: ty });
            }
            if let Some(next) = field.object().filter(|next| !self.passed.contains(next)) {
                self.passed.push(next);
                self.enter(next);
                self.passed.pop();
            }
            self.way.pop();
        }
    }
}
