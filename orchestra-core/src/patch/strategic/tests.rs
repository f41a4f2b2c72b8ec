use serde_json::json;

use super::*;
use crate::patch::PatchError;

/// A hand-written type: fields by name with their rules.
struct Type(&'static str, &'static [(&'static str, Rule)]);

#[derive(Clone, Copy)]
struct Rule {
    strategy: MergeStrategy,
    key: Option<&'static str>,
    child: Of,
}

#[derive(Clone, Copy)]
enum Of {
    Type(&'static Type),
    Map,
    Text,
}

const fn plain(child: Of) -> Rule {
    Rule { strategy: MergeStrategy::Default, key: None, child }
}

const fn merged(key: Option<&'static str>, child: Of) -> Rule {
    Rule { strategy: MergeStrategy::Merge, key, child }
}

static ENV: Type = Type("EnvVar", &[("name", plain(Of::Text)), ("value", plain(Of::Text))]);
static PORT: Type = Type("ContainerPort", &[("containerPort", plain(Of::Text)), ("name", plain(Of::Text))]);
static CONTAINER: Type = Type(
    "Container",
    &[
        ("name", plain(Of::Text)),
        ("image", plain(Of::Text)),
        ("args", plain(Of::Text)),
        ("env", merged(Some("name"), Of::Type(&ENV))),
        ("ports", merged(Some("containerPort"), Of::Type(&PORT))),
    ],
);
static STRATEGY: Type = Type("Strategy", &[("type", plain(Of::Text)), ("rolling", plain(Of::Map))]);
static SPEC: Type = Type(
    "PodSpec",
    &[
        ("containers", merged(Some("name"), Of::Type(&CONTAINER))),
        ("strategy", plain(Of::Type(&STRATEGY))),
        ("affinity", Rule { strategy: MergeStrategy::Replace, key: None, child: Of::Type(&STRATEGY) }),
        ("finalizers", merged(None, Of::Text)),
        ("hosts", plain(Of::Text)),
        ("labels", plain(Of::Map)),
        ("odd", merged(None, Of::Type(&ENV))),
        ("grid", merged(None, Of::Text)),
    ],
);

impl PatchSchema for Type {
    fn name(&self) -> &str {
        self.0
    }

    fn field(&self, name: &str) -> Option<FieldRule<'_>> {
        let (_, rule) = self.1.iter().find(|(field, _)| *field == name)?;
        Some(FieldRule {
            strategy: rule.strategy,
            merge_key: rule.key,
            retain_keys: false,
            child: match rule.child {
                Of::Type(child) => Child::Object(child),
                Of::Map => Child::Map,
                Of::Text => Child::Opaque("string"),
            },
        })
    }
}

fn patched(target: Value, patch: Value) -> Value {
    apply(&target, &patch, &SPEC).unwrap()
}

fn refused(target: Value, patch: Value) -> PatchError {
    apply(&target, &patch, &SPEC).unwrap_err()
}

fn containers(names: &[&str]) -> Value {
    let items: Vec<Value> = names.iter().map(|name| json!({"name": name, "image": "old"})).collect();
    json!({"containers": items})
}

fn names(object: &Value) -> Vec<&str> {
    object["containers"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect()
}

#[test]
fn items_are_merged_by_their_key() {
    let result = patched(containers(&["a", "b"]), json!({"containers": [{"name": "b", "image": "new"}]}));
    assert_eq!(result, json!({"containers": [{"name": "a", "image": "old"}, {"name": "b", "image": "new"}]}));
}

#[test]
fn new_items_come_first_as_upstream_weaves_them() {
    let result = patched(containers(&["a", "b"]), json!({"containers": [{"name": "c"}]}));
    assert_eq!(names(&result), ["c", "a", "b"]);
    let result = patched(containers(&["a", "b"]), json!({"containers": [{"name": "b"}, {"name": "c"}]}));
    assert_eq!(names(&result), ["a", "b", "c"]);
}

#[test]
fn numbers_can_be_keys() {
    let target = json!({"containers": [{"name": "a", "ports": [{"containerPort": 80, "name": "x"}]}]});
    let patch = json!({"containers": [{"name": "a", "ports": [{"containerPort": 80, "name": "y"}]}]});
    assert_eq!(patched(target, patch.clone()), patch);
}

#[test]
fn an_item_can_be_deleted() {
    let patch = json!({"containers": [{"name": "a", "$patch": "delete"}, {"name": "x", "$patch": "delete"}]});
    assert_eq!(names(&patched(containers(&["a", "b"]), patch)), ["b"]);
}

#[test]
fn a_list_can_be_replaced() {
    let patch = json!({"containers": [{"name": "z"}, {"$patch": "replace"}]});
    assert_eq!(patched(containers(&["a", "b"]), patch), json!({"containers": [{"name": "z"}]}));
    assert_eq!(
        patched(containers(&["a"]), json!({"containers": [{"$patch": "replace"}]})),
        json!({"containers": []})
    );
}

#[test]
fn an_object_can_be_replaced_or_emptied() {
    let target = json!({"strategy": {"type": "A", "rolling": {"x": "1"}}});
    let replaced = patched(target.clone(), json!({"strategy": {"$patch": "replace", "type": "B"}}));
    assert_eq!(replaced, json!({"strategy": {"type": "B"}}));
    assert_eq!(patched(target, json!({"strategy": {"$patch": "delete"}})), json!({"strategy": {}}));
}

#[test]
fn null_removes() {
    let target = json!({"strategy": {"type": "A"}, "hosts": [1], "labels": {"a": "1", "b": "2"}});
    let patch = json!({"strategy": null, "hosts": null, "labels": {"a": null, "z": null}, "absent": null});
    assert_eq!(patched(target, patch), json!({"labels": {"b": "2"}}));
}

#[test]
fn lists_without_a_strategy_and_objects_with_replace_are_replaced() {
    let target = json!({"hosts": [1, 2], "affinity": {"type": "A", "rolling": {}}});
    let patch = json!({"hosts": [3], "affinity": {"type": "B"}});
    assert_eq!(patched(target, patch.clone()), patch);
}

#[test]
fn plain_values_are_merged_as_a_set() {
    let target = json!({"finalizers": ["a", "b", "c"]});
    assert_eq!(
        patched(target.clone(), json!({"finalizers": ["c", "d"]})),
        json!({"finalizers": ["a", "b", "c", "d"]})
    );
    assert_eq!(patched(target.clone(), json!({"finalizers": []})), target);
}

#[test]
fn plain_values_can_be_deleted_and_added_at_once() {
    let target = json!({"finalizers": ["a", "b"]});
    let patch = json!({"$deleteFromPrimitiveList/finalizers": ["a"], "finalizers": ["c"]});
    assert_eq!(patched(target, patch), json!({"finalizers": ["c", "b"]}));
    assert_eq!(patched(json!({}), json!({"$deleteFromPrimitiveList/finalizers": ["a"]})), json!({}));
}

#[test]
fn the_order_of_items_can_be_set() {
    let order = |names: &[&str]| names.iter().map(|name| json!({"name": name})).collect::<Vec<_>>();
    let patch =
        json!({"$setElementOrder/containers": order(&["c", "a", "b"]), "containers": [{"name": "c"}]});
    assert_eq!(names(&patched(containers(&["a", "b"]), patch)), ["c", "a", "b"]);
    let patch = json!({"$setElementOrder/containers": order(&["b", "a"])});
    assert_eq!(names(&patched(containers(&["a", "server", "b"]), patch)), ["server", "b", "a"]);
    let patch = json!({"$setElementOrder/finalizers": ["c", "b"], "finalizers": ["c"]});
    assert_eq!(patched(json!({"finalizers": ["a", "b"]}), patch), json!({"finalizers": ["c", "a", "b"]}));
    let patch = json!({
        "$setElementOrder/containers": order(&["b"]),
        "containers": [{"name": "b", "image": "new"}, {"name": "a", "$patch": "delete"}],
    });
    assert_eq!(
        patched(containers(&["a", "b"]), patch),
        json!({"containers": [{"name": "b", "image": "new"}]})
    );
}

#[test]
fn an_ordered_list_can_be_brought_anew() {
    let patch = json!({"$setElementOrder/containers": [{"name": "a"}], "containers": [{"name": "a"}]});
    assert_eq!(patched(json!({}), patch), json!({"containers": [{"name": "a"}]}));
    assert_eq!(patched(json!({}), json!({"$setElementOrder/containers": []})), json!({}));
}

#[test]
fn retained_keys_drop_the_others() {
    let target = json!({"strategy": {"type": "Rolling", "rolling": {"x": "1"}}});
    let patch = json!({"strategy": {"$retainKeys": ["type"], "type": "Recreate"}});
    assert_eq!(patched(target.clone(), patch), json!({"strategy": {"type": "Recreate"}}));
    for list in [json!(["rolling"]), json!("type")] {
        let error = refused(target.clone(), json!({"strategy": {"$retainKeys": list, "type": "Recreate"}}));
        assert_eq!((error.status(), error.to_string().as_str()), (400, "invalid patch format of retainKeys"));
    }
}

#[test]
fn what_is_brought_anew_loses_nulls_and_directives() {
    let patch = json!({
        "labels": {"a": null, "b": "1"},
        "strategy": {"$patch": "delete"},
        "containers": [{"name": "a", "image": null}, {"name": "b", "$patch": "delete"}],
    });
    assert_eq!(patched(json!({}), patch), json!({"labels": {"b": "1"}, "containers": [{"name": "a"}]}));
}

#[test]
fn mistakes_get_upstreams_status_and_words() {
    let some = containers(&["a"]);
    for (patch, status, message) in [
        (
            json!({"containers": [{"image": "x"}]}),
            500,
            "map: map[image:x] does not contain declared merge key: name",
        ),
        (
            json!({"containers": [{"$patch": "delete"}]}),
            500,
            "map: map[$patch:delete] does not contain declared merge key: name",
        ),
        (
            json!({"containers": [{"name": "a", "$patch": "odd"}]}),
            500,
            "unknown patch type: odd in map: map[$patch:odd name:a]",
        ),
        (
            json!({"containers": [{"name": "a", "$patch": "merge"}]}),
            500,
            "merging lists cannot yet be specified in the patch",
        ),
        (json!({"$patch": "odd"}), 500, "unknown patch type: odd in map: map[$patch:odd]"),
        (
            json!({"containers": ["a"]}),
            500,
            "list element types are not identical: [[map[image:old name:a]] [a]]",
        ),
        (
            json!({"$setElementOrder/containers": [{"name": "b"}], "containers": [{"name": "a"}]}),
            500,
            "The order in patch list:\n[map[name:a]]\n doesn't match $setElementOrder list:\n[map[name:b]]\n",
        ),
        (
            json!({"$setElementOrder/containers": "x"}),
            500,
            "expected a []interface {}, but received a string",
        ),
        (json!({"$setElementOrder": []}), 400, "invalid patch format of setElementOrder list"),
        (
            json!({"$setElementOrder/none": []}),
            500,
            "unable to find api field in struct PodSpec for the json field \"none\"",
        ),
        (json!({"$deleteFromPrimitiveList": []}), 400, "invalid patch format of primitive list"),
        (json!([]), 400, "json: cannot unmarshal array into Go value of type map[string]interface {}"),
    ] {
        let error = refused(some.clone(), patch.clone());
        assert_eq!((error.status(), error.to_string().as_str()), (status, message), "{patch}");
    }
    assert_eq!(refused(json!({"grid": [[1]]}), json!({"grid": [[2]]})).status(), 422);
    assert_eq!(
        refused(json!({"odd": [{"name": "a"}]}), json!({"odd": [{"name": "b"}]})).to_string(),
        "cannot merge lists without merge key for struct"
    );
}

#[test]
fn long_lists_take_time_by_their_length_and_not_by_its_square() {
    const COUNT: usize = 40_000;
    let item = |at: usize, image: &str| json!({"name": format!("c{at}"), "image": image});
    let old: Vec<Value> = (0..COUNT).map(|at| item(at, "old")).collect();
    let new: Vec<Value> = (0..COUNT).rev().map(|at| item(at * 2, "new")).collect();
    let gone: Vec<Value> =
        (0..COUNT).map(|at| json!({"name": format!("c{at}"), "$patch": "delete"})).collect();
    let merged = patched(json!({"containers": old.clone()}), json!({"containers": new}));
    assert_eq!(merged["containers"].as_array().unwrap().len(), COUNT + COUNT / 2);
    assert_eq!(patched(json!({"containers": old}), json!({"containers": gone})), json!({"containers": []}));
    let words = |from: usize| -> Vec<String> { (from..from + COUNT).map(|at| at.to_string()).collect() };
    let merged = patched(json!({"finalizers": words(0)}), json!({"finalizers": words(COUNT / 2)}));
    assert_eq!(merged["finalizers"].as_array().unwrap().len(), COUNT + COUNT / 2);
    let rest = json!({"$deleteFromPrimitiveList/finalizers": words(0)});
    assert_eq!(patched(merged, rest)["finalizers"].as_array().unwrap().len(), COUNT / 2);
}

#[test]
fn a_patch_applied_twice_changes_nothing_more() {
    let target = json!({
        "containers": [{"name": "a", "env": [{"name": "X", "value": "1"}]}, {"name": "b"}],
        "finalizers": ["one"],
    });
    let patch = json!({
        "$setElementOrder/containers": [{"name": "b"}, {"name": "a"}, {"name": "c"}],
        "containers": [{"name": "a", "env": [{"name": "Y"}, {"name": "X", "$patch": "delete"}]}, {"name": "c"}],
        "finalizers": ["two"],
    });
    let once = patched(target, patch.clone());
    assert_eq!(patched(once.clone(), patch), once);
}
