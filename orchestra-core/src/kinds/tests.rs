//! What holds for every kind alike.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::Registry;
use crate::kind::{Kind, Subresource};
use crate::schema::sample::Seed;
use crate::schema::{self, complete, conform};
use crate::{manifest, violation::Violation};

/// Takes an object as the server does before it checks it.
fn admitted(kind: &dyn Kind, object: &mut Value) {
    let description = kind.description();
    let shape = schema::of_kind(&description.gv, &description.kind).expect("every kind has a shape");
    conform(object, shape).expect("the object fits its shape");
    kind.default(object);
    complete(object, shape);
    kind.prepare_create(object);
    complete(object, shape);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Defaulting a second time changes nothing, before and after the encoder's fields are filled in; and no object
    /// that fits its shape makes any rule panic.
    #[test]
    fn defaults_settle_and_rules_hold_out(seed in any::<u64>()) {
        for kind in Registry::builtin().iter() {
            let description = kind.description();
            let shape = schema::of_kind(&description.gv, &description.kind).expect("every kind has a shape");
            let mut object = Value::Object(Seed::new(seed).object(shape, 0));
            conform(&mut object, shape).expect("samples fit");

            kind.default(&mut object);
            let once = object.clone();
            kind.default(&mut object);
            prop_assert_eq!(&object, &once, "{:?}", kind);

            complete(&mut object, shape);
            let whole = object.clone();
            kind.default(&mut object);
            prop_assert_eq!(&object, &whole, "{:?}", kind);

            kind.prepare_create(&mut object);
            kind.validate_create(&object);
            let mut next = Value::Object(Seed::new(seed.rotate_left(7)).object(shape, 0));
            kind.default(&mut next);
            kind.prepare_update(&mut next, &object);
            kind.validate_update(&next, &object);
            kind.prepare_status_update(&mut next, &object);
            kind.validate_status_update(&next, &object);
            prop_assert_eq!(kind.row(&next, 0).len(), kind.columns().len());
            for field in kind.selectable_fields() {
                kind.field_value(&next, field);
            }
        }
    }

    /// An object written back as it was read is no change: the same generation, nothing said of fields that stay.
    #[test]
    fn writing_back_what_was_read_is_no_change(seed in any::<u64>()) {
        for kind in Registry::builtin().iter() {
            let description = kind.description();
            let shape = schema::of_kind(&description.gv, &description.kind).expect("every kind has a shape");
            let mut stored = Value::Object(Seed::new(seed).object(shape, 0));
            admitted(kind.as_ref(), &mut stored);
            let mut again = stored.clone();
            conform(&mut again, shape).expect("what was stored fits");
            kind.default(&mut again);
            complete(&mut again, shape);
            kind.prepare_update(&mut again, &stored);
            complete(&mut again, shape);
            prop_assert_eq!(again.pointer("/metadata/generation"), stored.pointer("/metadata/generation"), "{:?}", kind);
            let frozen = kind.validate_update(&again, &stored);
            let moved: Vec<&Violation> =
                frozen.iter().filter(|violation| violation.detail == "field is immutable").collect();
            prop_assert!(moved.is_empty(), "{:?}: {:?}", kind, moved);
        }
    }
}

#[test]
fn every_kind_of_the_example_is_accepted_as_it_stands() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/guestbook.yaml");
    let text = std::fs::read_to_string(path).unwrap();
    let registry = Registry::builtin();
    let documents = manifest::parse(&text, path).unwrap();
    assert!(documents.len() > 8);
    for document in documents {
        let mut object = document.value;
        let version = object["apiVersion"].as_str().unwrap().to_owned();
        let gv = crate::gvk::GroupVersion::parse(&version).unwrap();
        let kind = registry.get(&gv, object["kind"].as_str().unwrap()).unwrap();
        admitted(kind.as_ref(), &mut object);
        assert_eq!(kind.validate_create(&object), [], "{object:#}");
    }
}

#[test]
fn a_status_is_served_where_upstream_serves_one() {
    let with_status: Vec<String> = Registry::builtin()
        .iter()
        .filter(|kind| kind.description().subresources.contains(&Subresource::Status))
        .map(|kind| kind.description().plural.clone().into_owned())
        .collect();
    assert_eq!(
        with_status,
        [
            "namespaces",
            "nodes",
            "pods",
            "replicationcontrollers",
            "services",
            "persistentvolumes",
            "persistentvolumeclaims",
            "resourcequotas",
            "deployments",
            "replicasets",
            "statefulsets",
            "daemonsets",
            "jobs",
            "cronjobs",
            "ingresses",
            "servicecidrs",
            "volumeattachments",
            "certificatesigningrequests",
            "flowschemas",
            "prioritylevelconfigurations",
            "validatingadmissionpolicies",
            "apiservices",
            "resourceclaims",
            "poddisruptionbudgets",
            "horizontalpodautoscalers",
            "horizontalpodautoscalers",
            "customresourcedefinitions",
        ]
    );
}

#[test]
fn a_client_does_not_choose_generations() {
    let registry = Registry::builtin();
    let gv = crate::gvk::GroupVersion::new("apps", "v1");
    let kind = registry.get(&gv, "Deployment").unwrap();
    let old = json!({"metadata": {"name": "d", "generation": 3}, "spec": {"replicas": 1}});
    let mut new = json!({"metadata": {"name": "d", "generation": 9}, "spec": {"replicas": 1}});
    kind.prepare_update(&mut new, &old);
    assert_eq!(new["metadata"]["generation"], 3);
    new["spec"]["replicas"] = 2.into();
    kind.prepare_update(&mut new, &old);
    assert_eq!(new["metadata"]["generation"], 4);
}
