//! What holds for all configurations.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;

use super::node::Node;
use super::*;
use crate::gvk::GroupVersion;
use crate::schema;

fn schema() -> &'static ObjectType {
    schema::of_kind(&GroupVersion::parse("v1").unwrap(), "Pod").unwrap()
}

fn put(live: Option<&Value>, manager: &str, config: &Value, force: Force) -> Result<Value, ApplyError> {
    let author = Author { manager, api_version: "v1", subresource: "", now: "2026-01-01T00:00:00Z" };
    let target = Target { schema: Schema::Builtin(schema()), versions: Versions::Apart, ignored: &[] };
    let Applied { mut object, account } = apply(live, config, author, target, force)?;
    schema::conform(&mut object, schema()).unwrap();
    schema::complete(&mut object, schema());
    if let Some(account) = account {
        object["metadata"]["managedFields"] = account;
    }
    Ok(object)
}

/// A pod in which every name begins with `prefix`. Empty maps are left out: they are values of their own, and an
/// empty value is not stored, so that two managers who apply one are at odds (upstream as well).
fn config(prefix: &'static str) -> impl Strategy<Value = Value> {
    let labels = proptest::collection::btree_map("[a-d]", "[x-z]", 0..4);
    let containers = proptest::collection::btree_map(
        "[a-d]",
        ("[x-z]", proptest::collection::btree_map("[A-C]", "[x-z]", 0..3)),
        0..4,
    );
    (labels, containers, any::<bool>()).prop_map(move |(labels, containers, reverse)| {
        let named = |name: &str| format!("{prefix}{name}");
        let labels: BTreeMap<String, String> = labels.into_iter().map(|(k, v)| (named(&k), v)).collect();
        let mut containers: Vec<Value> = containers
            .into_iter()
            .map(|(name, (image, env))| {
                let env: Vec<Value> = env
                    .into_iter()
                    .map(|(name, value)| json!({"name": named(&name), "value": value}))
                    .collect();
                json!({"name": named(&name), "image": image, "env": env})
            })
            .collect();
        if reverse {
            containers.reverse();
        }
        let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}});
        if !labels.is_empty() {
            pod["metadata"]["labels"] = json!(labels);
        }
        if !containers.is_empty() {
            pod["spec"]["containers"] = containers.into();
        }
        pod
    })
}

/// The object with the items of its lists in the order of their names.
fn in_order(mut object: Value) -> Value {
    if let Some(items) = object.pointer_mut("/spec/containers").and_then(Value::as_array_mut) {
        items.sort_by_key(|item| item["name"].to_string());
    }
    object
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn applies_of_disjoint_managers_commute(a in config("a-"), b in config("b-"), a2 in config("a-"), b2 in config("b-")) {
        let run = |steps: [(&str, &Value); 4]| {
            steps.into_iter().fold(None, |live: Option<Value>, (manager, config)| {
                Some(put(live.as_ref(), manager, config, Force::No).unwrap())
            })
        };
        let one = run([("a", &a), ("b", &b), ("a", &a2), ("b", &b2)]).unwrap();
        let other = run([("b", &b), ("b", &b2), ("a", &a), ("a", &a2)]).unwrap();
        prop_assert_eq!(in_order(one), in_order(other));
    }

    #[test]
    fn applying_twice_is_applying_once(a in config("x-"), b in config("x-")) {
        let first = put(None, "a", &a, Force::No).unwrap();
        prop_assert_eq!(&put(Some(&first), "a", &a, Force::No).unwrap(), &first);
        let second = put(Some(&first), "b", &b, Force::Yes).unwrap();
        prop_assert_eq!(&put(Some(&second), "b", &b, Force::No).unwrap(), &second);
    }

    #[test]
    fn a_manager_alone_leaves_nothing_behind(a in config("x-"), b in config("x-")) {
        let direct = put(None, "a", &b, Force::No).unwrap();
        let first = put(None, "a", &a, Force::No).unwrap();
        let replaced = put(Some(&first), "a", &b, Force::No).unwrap();
        prop_assert_eq!(in_order(replaced), in_order(direct));
    }

    #[test]
    fn no_manager_loses_a_field_without_force(a in config("x-"), b in config("x-")) {
        let first = put(None, "a", &a, Force::No).unwrap();
        if let Ok(second) = put(Some(&first), "b", &b, Force::No) {
            let account = |object: &Value| {
                let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
                entries.into_iter().find(|entry| entry["manager"] == "a")
            };
            prop_assert_eq!(account(&second), account(&first));
        }
    }

    #[test]
    fn sets_behave_as_sets(a in config("x-"), b in config("x-")) {
        let root = Node::root(Schema::Builtin(schema()));
        let (a, b) = (typed::fields(&a, root), typed::fields(&b, root));
        let both = a.clone().union(b.clone());
        prop_assert_eq!(&both, &b.clone().union(a.clone()));
        prop_assert_eq!(&both.intersection(&a), &a);
        prop_assert_eq!(a.meets(&b), !a.intersection(&b).is_empty());
        let mut rest = both.clone();
        rest.subtract(&b);
        prop_assert_eq!(rest.meets(&b), false);
        prop_assert_eq!(rest.union(b), both.clone());
        let value = both.clone().into_value();
        prop_assert_eq!(FieldSet::parse(&value).unwrap(), both);
    }
}
