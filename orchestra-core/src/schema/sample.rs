//! Trees of every type, for property tests.

mod tidy;

use proptest::test_runner::Config;
use serde_json::{Map, Value, json};

use super::model::{Field, Item, ObjectType, Scalar, Shape};

/// How many cases a property is tried with that takes long: as said, or as `PROPTEST_CASES` of the environment says.
pub(crate) fn cases(count: u32) -> Config {
    let asked = Config::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { asked.cases } else { count };
    Config { cases, failure_persistence: None, ..asked }
}

/// Makes trees that fit a type out of a number.
pub(crate) struct Seed(u64);

impl Seed {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    /// A tree of the type; it may hold values that are as good as absent.
    pub(crate) fn object(&mut self, ty: &'static ObjectType, depth: u64) -> Map<String, Value> {
        let mut map = Map::new();
        for field in &ty.fields {
            // Validation sees to it that required times are there; an unset one reads as null.
            let is_needed = field.required && field.item == Item::Scalar(Scalar::Time);
            if field.number.is_some() && (is_needed || self.below(3 + depth * 2) == 0) {
                map.insert(field.name.to_owned(), self.field(field, depth));
            }
        }
        map
    }

    fn field(&mut self, field: &'static Field, depth: u64) -> Value {
        let length = self.below(3);
        match field.shape {
            Shape::Single => self.item(field, depth),
            Shape::List => (0..length).map(|_| self.item(field, depth)).collect(),
            Shape::Map => (0..length).map(|at| (format!("k{at}"), self.item(field, depth))).collect(),
            Shape::MapOfLists => {
                (0..length).map(|at| (format!("k{at}"), json!(["a", self.text()]))).collect()
            }
        }
    }

    fn item(&mut self, field: &'static Field, depth: u64) -> Value {
        match field.item {
            Item::Object(_) => Value::Object(self.object(field.object().unwrap(), depth + 1)),
            Item::Scalar(scalar) => self.scalar(scalar),
        }
    }

    fn scalar(&mut self, scalar: Scalar) -> Value {
        match scalar {
            Scalar::String => self.text().into(),
            Scalar::Bool => (self.below(2) == 0).into(),
            Scalar::Int32 => (self.below(1 << 32) as i32).into(),
            Scalar::Int64 => (self.below(u64::MAX) as i64).into(),
            Scalar::Float64 => (self.below(1000) as f64 / 8.0).into(),
            Scalar::Bytes => ["", "aGk=", "/+8="][self.below(3) as usize].into(),
            Scalar::Quantity => ["1", "100m", "2Gi"][self.below(3) as usize].into(),
            Scalar::IntOrString => [json!(8080), json!("http"), json!(-1)][self.below(3) as usize].clone(),
            Scalar::Time => ["2026-01-02T03:04:05Z", "1969-12-28T23:59:59Z"][self.below(2) as usize].into(),
            Scalar::MicroTime => {
                ["2026-01-02T03:04:05.000006Z", "1969-12-28T23:59:59.250000Z"][self.below(2) as usize].into()
            }
            Scalar::RawExtension | Scalar::FieldsV1 | Scalar::Json => json!({"f:a": {}, "n": [1, 2.5, null]}),
            Scalar::SchemaOrBool => {
                [json!(true), json!(false), json!({"type":"string"})][self.below(3) as usize].clone()
            }
            Scalar::SchemaOrArray => {
                [json!({}), json!([{"type":"string"}, {}])][self.below(2) as usize].clone()
            }
            Scalar::SchemaOrStringArray => [json!({}), json!(["a", "b"])][self.below(2) as usize].clone(),
        }
    }

    fn text(&mut self) -> String {
        ["", "a", "größer"][self.below(3) as usize].to_owned()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::schema::{complete, conform, types};

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "[a-z0-9/+=.]{0,8}".prop_map(Value::from),
        ];
        let key =
            prop_oneof!["metadata", "spec", "status", "items", "name", "data", "template", "[a-z]{1,3}"];
        leaf.prop_recursive(5, 60, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((key.clone(), inner), 0..6)
                    .prop_map(|entries| Value::Object(entries.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn completing_is_undone_by_conforming(kind in 0..types().len(), seed in any::<u64>()) {
            let ty = &types()[kind];
            let mut lean = Value::Object(Seed::new(seed).object(ty, 0));
            prop_assert_eq!(conform(&mut lean, ty).unwrap(), []);
            let mut complete_once = lean.clone();
            complete(&mut complete_once, ty);
            let mut complete_twice = complete_once.clone();
            complete(&mut complete_twice, ty);
            prop_assert_eq!(&complete_once, &complete_twice);
            prop_assert_eq!(conform(&mut complete_once, ty).unwrap(), []);
            prop_assert_eq!(complete_once, lean);
        }

        #[test]
        fn no_tree_makes_conforming_panic(kind in 0..types().len(), mut tree in any_json()) {
            let ty = &types()[kind];
            if conform(&mut tree, ty).is_ok() {
                let once = tree.clone();
                prop_assert_eq!(conform(&mut tree, ty).unwrap(), []);
                prop_assert_eq!(tree, once);
            }
        }
    }

    /// Clients with typed structs must be able to read what the server writes.
    fn check<T: serde::de::DeserializeOwned>(name: &str) {
        let ty = crate::schema::by_name(name).unwrap();
        for seed in 0..100 {
            let mut tree = Value::Object(Seed::new(seed).object(ty, 0));
            conform(&mut tree, ty).unwrap();
            complete(&mut tree, ty);
            if let Err(error) = serde_json::from_value::<T>(tree.clone()) {
                panic!("{name}: {error}\n{tree:#}");
            }
        }
    }

    macro_rules! check {
        ($group:ident: $($kind:ident),+) => {$(
            check::<k8s_openapi::api::$group::v1::$kind>(
                concat!("io.k8s.api.", stringify!($group), ".v1.", stringify!($kind)));
        )+};
    }

    #[test]
    fn complete_trees_can_be_read_into_typed_structs() {
        check!(apps: ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet);
        check!(batch: CronJob, Job);
        check!(coordination: Lease);
        check!(core: ConfigMap, Endpoints, Event, LimitRange, Namespace, Node, PersistentVolume);
        check!(core: PersistentVolumeClaim, Pod, PodTemplate, ReplicationController, ResourceQuota, Secret);
        check!(core: Service, ServiceAccount);
        check!(discovery: EndpointSlice);
        check!(networking: Ingress, IngressClass, NetworkPolicy);
        check!(policy: PodDisruptionBudget);
        check!(rbac: ClusterRole, ClusterRoleBinding, Role, RoleBinding);
        check!(storage: StorageClass);
    }
}
