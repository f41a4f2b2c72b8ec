//! Applying by the schema of a custom kind.

use serde_json::json;

use super::*;

fn lamps() -> Structural {
    Structural::read(&json!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": {
            "watts": {"type": "integer"},
            "limit": {"x-kubernetes-int-or-string": true},
            "bulbs": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name", "side"],
                "items": {"type": "object", "properties": {
                    "name": {"type": "string"}, "side": {"type": "string", "default": "left"},
                    "lumen": {"type": "integer"}, "hue": {"type": "string"}}}},
            "rooms": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            "steps": {"type": "array", "items": {"type": "integer"}},
            "pair": {"type": "object", "x-kubernetes-map-type": "atomic",
                "properties": {"a": {"type": "string"}, "b": {"type": "string"}}},
            "notes": {"type": "object", "additionalProperties": {"type": "string"}},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            "inner": {"type": "object", "x-kubernetes-embedded-resource": true,
                "x-kubernetes-preserve-unknown-fields": true},
        }},
    }}))
}

struct Desk {
    schema: Structural,
    live: Option<Value>,
}

impl Desk {
    fn new() -> Self {
        Self { schema: lamps(), live: None }
    }

    fn target(&self) -> Target<'_> {
        Target { schema: Schema::Custom(&self.schema), versions: Versions::Alike, ignored: &[] }
    }

    fn write(&mut self, mut object: Value, account: Option<Value>) {
        if let Some(account) = account {
            object["metadata"]["managedFields"] = account;
        }
        self.live = Some(object);
    }

    fn apply_as(
        &mut self,
        manager: &str,
        api_version: &str,
        spec: Value,
        force: Force,
    ) -> Result<(), ApplyError> {
        let config =
            json!({"apiVersion": api_version, "kind": "Lamp", "metadata": {"name": "x"}, "spec": spec});
        let author = Author { manager, api_version, subresource: "", now: "now" };
        let applied = apply(self.live.as_ref(), &config, author, self.target(), force)?;
        self.write(applied.object, applied.account);
        Ok(())
    }

    fn apply(&mut self, manager: &str, spec: Value) -> Result<(), ApplyError> {
        self.apply_as(manager, "example.com/v1", spec, Force::No)
    }

    fn spec(&self) -> &Value {
        &self.live.as_ref().unwrap()["spec"]
    }

    fn fields(&self, manager: &str) -> Value {
        let entries = self.live.as_ref().unwrap()["metadata"]["managedFields"].as_array().unwrap();
        entries.iter().find(|entry| entry["manager"] == manager).unwrap()["fieldsV1"]["f:spec"].clone()
    }
}

#[test]
fn items_of_lists_have_managers_of_their_own() {
    let mut desk = Desk::new();
    desk.apply("one", json!({"bulbs": [{"name": "a", "side": "left", "lumen": 1}], "rooms": ["hall"]}))
        .unwrap();
    desk.apply("two", json!({"bulbs": [{"name": "b", "side": "left"}], "rooms": ["den", "hall"]})).unwrap();
    assert_eq!(
        desk.spec(),
        &json!({"bulbs": [{"name": "a", "side": "left", "lumen": 1}, {"name": "b", "side": "left"}],
            "rooms": ["den", "hall"]})
    );
    assert_eq!(
        desk.fields("one"),
        json!({"f:bulbs": {"k:{\"name\":\"a\",\"side\":\"left\"}": {".": {}, "f:lumen": {}, "f:name": {}, "f:side": {}}},
            "f:rooms": {"v:\"hall\"": {}}})
    );
    let refused =
        desk.apply("two", json!({"bulbs": [{"name": "a", "side": "left", "lumen": 2}]})).unwrap_err();
    let ApplyError::Conflict(Conflicts(conflicts)) = refused else { panic!() };
    assert_eq!(conflicts[0].path, ".spec.bulbs[name=\"a\",side=\"left\"].lumen");
    desk.apply("one", json!({})).unwrap();
    assert_eq!(desk.spec(), &json!({"bulbs": [{"name": "b", "side": "left"}], "rooms": ["den", "hall"]}));
}

#[test]
fn a_key_left_out_counts_as_its_default() {
    let mut desk = Desk::new();
    desk.apply("one", json!({"bulbs": [{"name": "a"}]})).unwrap();
    let fields = desk.fields("one");
    assert!(fields["f:bulbs"].get("k:{\"name\":\"a\",\"side\":\"left\"}").is_some(), "{fields}");
    let wrong = desk.apply("one", json!({"bulbs": [{"side": "left"}]})).unwrap_err().to_string();
    assert!(
        wrong.contains("associative list with keys has an element that omits key field \"name\""),
        "{wrong}"
    );
    let twice = desk.apply("one", json!({"rooms": ["a", "a"]})).unwrap_err().to_string();
    assert!(twice.contains("duplicate entries for key [=\"a\"]"), "{twice}");
}

#[test]
fn what_is_atomic_is_one_value() {
    let mut desk = Desk::new();
    desk.apply(
        "one",
        json!({"steps": [1, 2], "pair": {"a": "x", "b": "y"}, "notes": {"k": "v"}, "limit": "10%"}),
    )
    .unwrap();
    assert_eq!(
        desk.fields("one"),
        json!({"f:steps": {}, "f:pair": {}, "f:notes": {"f:k": {}}, "f:limit": {}})
    );
    assert!(matches!(desk.apply("two", json!({"steps": [1]})), Err(ApplyError::Conflict(_))));
    assert!(matches!(desk.apply("two", json!({"pair": {"a": "z"}})), Err(ApplyError::Conflict(_))));
    desk.apply("two", json!({"notes": {"l": "w"}})).unwrap();
    desk.apply_as("two", "example.com/v1", json!({"pair": {"a": "z"}, "limit": 3}), Force::Yes).unwrap();
    assert_eq!(
        desk.spec(),
        &json!({"steps": [1, 2], "pair": {"a": "z"}, "notes": {"k": "v"}, "limit": 3}),
        "what the second left out went, what the first has stays"
    );
}

#[test]
fn what_the_schema_does_not_know_is_refused_or_free() {
    let mut desk = Desk::new();
    let said = |desk: &mut Desk, spec: Value| desk.apply("one", spec).unwrap_err().to_string();
    assert_eq!(said(&mut desk, json!({"hue": 1})), ".spec.hue: field not declared in schema");
    assert_eq!(
        said(&mut desk, json!({"watts": "x"})),
        ".spec.watts: expected numeric (int or float), got string"
    );
    assert_eq!(said(&mut desk, json!({"bulbs": {}})), ".spec.bulbs: expected list, got &{map[]}");
    desk.apply(
        "one",
        json!({"free": {"x": {"y": [1]}}, "inner": {"kind": "K", "metadata": {"finalizers": ["a/b"]}, "spec": {"z": 1}}}),
    )
    .unwrap();
    assert_eq!(
        desk.fields("one"),
        json!({"f:free": {"f:x": {".": {}, "f:y": {}}}, "f:inner": {"f:kind": {},
            "f:metadata": {"f:finalizers": {"v:\"a/b\"": {}}}, "f:spec": {".": {}, "f:z": {}}}})
    );
}

#[test]
fn versions_that_differ_in_name_share_their_managers() {
    let mut desk = Desk::new();
    desk.apply("one", json!({"watts": 1, "rooms": ["a"]})).unwrap();
    let through_other = desk.apply_as("two", "example.com/v2", json!({"watts": 2}), Force::No);
    assert!(matches!(through_other, Err(ApplyError::Conflict(_))));
    desk.apply_as("one", "example.com/v2", json!({"watts": 3}), Force::No).unwrap();
    assert_eq!(
        desk.spec(),
        &json!({"watts": 3}),
        "what was applied through the other version and is left out goes"
    );
    let entries = desk.live.as_ref().unwrap()["metadata"]["managedFields"].as_array().unwrap();
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0]["apiVersion"], "example.com/v2");
}

#[test]
fn a_list_that_became_one_value_is_whose_items_it_had() {
    let mut desk = Desk::new();
    desk.apply("one", json!({"rooms": ["a"], "bulbs": [{"name": "a", "side": "left"}]})).unwrap();
    let spec = desk.schema.properties.get_mut("spec").unwrap();
    for name in ["rooms", "bulbs"] {
        spec.properties.get_mut(name).unwrap().list = crate::structural::ListKind::Atomic;
    }
    assert!(matches!(desk.apply("two", json!({"rooms": ["b"]})), Err(ApplyError::Conflict(_))));
    desk.apply("one", json!({"rooms": ["c"], "bulbs": [{"name": "b"}]})).unwrap();
    assert_eq!(desk.spec(), &json!({"rooms": ["c"], "bulbs": [{"name": "b"}]}));
    assert_eq!(desk.fields("one"), json!({"f:rooms": {}, "f:bulbs": {}}));
}
