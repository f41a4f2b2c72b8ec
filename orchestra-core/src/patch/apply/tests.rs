use serde_json::json;

use super::*;
use crate::gvk::GroupVersion;
use crate::schema;

fn schema_of(version: &str, kind: &str) -> &'static ObjectType {
    schema::of_kind(&GroupVersion::parse(version).unwrap(), kind).unwrap()
}

/// An object of one kind, on which several managers write.
struct Desk {
    version: &'static str,
    ty: &'static ObjectType,
    live: Option<Value>,
    clock: u32,
}

impl Desk {
    fn new(version: &'static str, kind: &str) -> Self {
        Self { version, ty: schema_of(version, kind), live: None, clock: 0 }
    }

    fn write<T>(&mut self, manager: &str, write: impl FnOnce(&Self, Author<'_>, Target<'_>) -> T) -> T {
        self.clock += 1;
        let now = format!("2026-01-01T00:00:{:02}Z", self.clock);
        let author = Author { manager, api_version: self.version, subresource: "", now: &now };
        write(
            self,
            author,
            Target { schema: Schema::Builtin(self.ty), versions: Versions::Apart, ignored: &[&["status"]] },
        )
    }

    fn store(&mut self, mut object: Value, account: Option<Value>) {
        schema::conform(&mut object, self.ty).unwrap();
        schema::complete(&mut object, self.ty);
        without_account(&mut object);
        if let Some(account) = account {
            object["metadata"]["managedFields"] = account;
        }
        self.live = Some(object);
    }

    fn apply(&mut self, manager: &str, config: Value, force: Force) -> Result<(), String> {
        let done = self
            .write(manager, |desk, author, target| apply(desk.live.as_ref(), &config, author, target, force));
        let Applied { object, account } = done.map_err(|error| error.to_string())?;
        self.store(object, account);
        Ok(())
    }

    fn applied(&mut self, manager: &str, config: Value) {
        self.apply(manager, config, Force::No).unwrap();
    }

    fn update(&mut self, manager: &str, change: impl FnOnce(&mut Value)) {
        let mut new = self.live.clone().unwrap_or_else(|| json!({"metadata": {"name": "x"}}));
        change(&mut new);
        schema::conform(&mut new, self.ty).unwrap();
        schema::complete(&mut new, self.ty);
        let account = self
            .write(manager, |desk, author, target| track(desk.live.as_ref(), &new, author, target).unwrap());
        self.store(new, account);
    }

    fn live(&self) -> &Value {
        self.live.as_ref().unwrap()
    }

    fn entry(&self, manager: &str) -> &Value {
        let entries = self.live()["metadata"]["managedFields"].as_array().map_or(&[][..], Vec::as_slice);
        entries.iter().find(|entry| entry["manager"] == manager).unwrap_or(&Value::Null)
    }

    fn fields(&self, manager: &str) -> &Value {
        &self.entry(manager)["fieldsV1"]
    }
}

fn map(data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": data})
}

fn maps() -> Desk {
    Desk::new("v1", "ConfigMap")
}

fn deployment(spec: Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "labels": {"a": "b"}}, "spec": spec})
}

fn web(containers: Value) -> Value {
    deployment(json!({
        "replicas": 2, "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": containers}},
    }))
}

#[test]
fn an_applied_configuration_is_what_its_manager_owns() {
    let mut desk = Desk::new("apps/v1", "Deployment");
    desk.applied("me", web(json!([{"name": "c", "image": "nginx", "ports": [{"containerPort": 80}]}])));
    let entry = desk.entry("me");
    assert_eq!(entry["operation"], "Apply");
    assert_eq!(entry["apiVersion"], "apps/v1");
    assert_eq!(entry["fieldsType"], "FieldsV1");
    let expected = json!({
        "f:metadata": {"f:labels": {"f:a": {}}},
        "f:spec": {
            "f:replicas": {}, "f:selector": {},
            "f:template": {
                "f:metadata": {"f:labels": {"f:a": {}}},
                "f:spec": {"f:containers": {"k:{\"name\":\"c\"}": {
                    ".": {}, "f:name": {}, "f:image": {},
                    "f:ports": {"k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}},
                }}},
            },
        },
    });
    assert_eq!(desk.fields("me"), &expected);
}

#[test]
fn who_makes_an_object_owns_what_it_says() {
    let mut desk = Desk::new("apps/v1", "Deployment");
    desk.update("make", |object| *object = web(json!([{"name": "c", "image": "nginx"}])));
    assert_eq!(desk.entry("make")["operation"], "Update");
    let expected = json!({
        "f:metadata": {"f:labels": {".": {}, "f:a": {}}},
        "f:spec": {
            "f:replicas": {}, "f:selector": {},
            "f:template": {
                "f:metadata": {"f:labels": {".": {}, "f:a": {}}},
                "f:spec": {"f:containers": {"k:{\"name\":\"c\"}": {
                    ".": {}, "f:name": {}, "f:image": {}, "f:resources": {},
                }}},
            },
        },
    });
    assert_eq!(desk.fields("make"), &expected);
}

#[test]
fn a_field_left_out_goes_when_nobody_else_has_it() {
    let mut desk = maps();
    desk.applied("me", map(json!({"a": "1", "b": "2"})));
    desk.applied("you", map(json!({"b": "2", "c": "3"})));
    desk.applied("me", map(json!({})));
    assert_eq!(desk.live()["data"], json!({"b": "2", "c": "3"}));
    desk.applied("you", map(json!({"c": "3"})));
    assert_eq!(desk.live()["data"], json!({"c": "3"}));
    desk.applied("you", json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}}));
    assert_eq!(desk.live().get("data"), None);
    assert_eq!(desk.fields("you"), &Value::Null, "who owns nothing has no entry");
}

#[test]
fn what_others_have_with_another_value_is_a_conflict() {
    let mut desk = maps();
    desk.applied("me", map(json!({"a": "1", "b": "2"})));
    let refused = desk.apply("you", map(json!({"a": "other"})), Force::No).unwrap_err();
    assert_eq!(refused, "Apply failed with 1 conflict: conflict with \"me\": .data.a");
    desk.update("edit", |object| object["data"]["b"] = "edited".into());
    assert_eq!(desk.fields("me"), &json!({"f:data": {"f:a": {}}}));
    let refused = desk.apply("you", map(json!({"a": "x", "b": "x"})), Force::No).unwrap_err();
    assert_eq!(
        refused,
        "Apply failed with 2 conflicts: conflicts with \"edit\" using v1:\n- .data.b\nconflicts with \"me\":\n- .data.a"
    );
    desk.apply("you", map(json!({"a": "x", "b": "x"})), Force::Yes).unwrap();
    assert_eq!(desk.live()["data"], json!({"a": "x", "b": "x"}));
    assert_eq!((desk.fields("me"), desk.fields("edit")), (&Value::Null, &Value::Null));
}

#[test]
fn equal_values_are_shared() {
    let mut desk = maps();
    desk.applied("me", map(json!({"a": "1"})));
    desk.applied("you", map(json!({"a": "1"})));
    assert_eq!(desk.fields("me"), desk.fields("you"));
    desk.apply("you", map(json!({"a": "2"})), Force::No).unwrap_err();
}

#[test]
fn applying_the_same_again_changes_nothing_not_even_the_time() {
    let mut desk = Desk::new("apps/v1", "Deployment");
    let config = web(json!([{"name": "c", "image": "nginx", "env": [{"name": "A", "value": "1"}]}]));
    desk.applied("me", config.clone());
    let before = desk.live().clone();
    desk.applied("me", config);
    assert_eq!(desk.live(), &before);
}

#[test]
fn items_of_lists_are_merged_by_their_keys() {
    let mut desk = Desk::new("apps/v1", "Deployment");
    desk.applied("me", web(json!([{"name": "a", "image": "1"}, {"name": "b", "image": "1"}])));
    let sidecar = deployment(json!({"template": {"spec": {"containers": [{"name": "s", "image": "9"}]}}}));
    desk.applied("mesh", sidecar);
    desk.applied("me", web(json!([{"name": "b", "image": "2"}])));
    let containers = &desk.live()["spec"]["template"]["spec"]["containers"];
    let names: Vec<&str> =
        containers.as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["b", "s"]);
    assert_eq!(containers[0]["image"], "2");
}

#[test]
fn a_set_keeps_what_others_put_in() {
    let mut desk = maps();
    let held = |finalizers: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "finalizers": finalizers}});
    desk.applied("me", held(json!(["a/b"])));
    desk.applied("you", held(json!(["c/d", "a/b"])));
    assert_eq!(desk.fields("you")["f:metadata"]["f:finalizers"], json!({"v:\"a/b\"": {}, "v:\"c/d\"": {}}));
    desk.applied("you", held(json!([])));
    assert_eq!(desk.live()["metadata"]["finalizers"], json!(["a/b"]));
}

#[test]
fn an_object_nobody_manages_goes_to_before_first_apply() {
    let mut desk = maps();
    desk.live = Some(map(json!({"a": "1"})));
    desk.update("edit", |object| object["data"]["a"] = "2".into());
    assert_eq!(desk.live()["metadata"].get("managedFields"), None);
    let refused = desk.apply("me", map(json!({"a": "3"})), Force::No).unwrap_err();
    assert_eq!(
        refused,
        "Apply failed with 1 conflict: conflict with \"before-first-apply\" using v1: .data.a"
    );
    desk.applied("me", map(json!({"b": "3"})));
    assert_eq!(desk.fields("before-first-apply"), &json!({"f:data": {".": {}, "f:a": {}}}));
}

#[test]
fn kubectl_takes_over_what_it_applied_by_itself() {
    let mut desk = maps();
    let note = map(json!({"a": "1"})).to_string();
    desk.update("kubectl-client-side-apply", |object| {
        *object = map(json!({"a": "1"}));
        object["metadata"]["annotations"] = json!({"kubectl.kubernetes.io/last-applied-configuration": note});
    });
    desk.apply("other", map(json!({"a": "2"})), Force::No).unwrap_err();
    desk.applied("kubectl", map(json!({"a": "2"})));
    assert_eq!(desk.live()["data"]["a"], "2");
}

#[test]
fn a_configuration_that_does_not_fit_is_told_where() {
    let mut desk = Desk::new("apps/v1", "Deployment");
    for (config, text) in [
        (deployment(json!({"foo": 1})), ".spec.foo: field not declared in schema"),
        (deployment(json!({"replicas": "2"})), ".spec.replicas: expected numeric (int or float), got string"),
        (
            web(json!([{"name": "c", "oops": 1}])),
            ".spec.template.spec.containers[name=\"c\"].oops: field not declared in schema",
        ),
        (
            web(json!([{"name": "c"}, {"name": "c"}])),
            ".spec.template.spec.containers: duplicate entries for key [name=\"c\"]",
        ),
        (
            web(json!([{"image": "c"}])),
            ".spec.template.spec.containers: element 0: associative list with keys has an element that omits key \
             field \"name\" (and doesn't have default value)",
        ),
        (
            deployment(json!({"a": 1, "b": 2})),
            "errors:\n  .spec.a: field not declared in schema\n  .spec.b: field not declared in schema",
        ),
    ] {
        assert_eq!(desk.apply("me", config, Force::No).unwrap_err(), text);
    }
}

#[test]
fn a_client_may_rewrite_or_wipe_the_account() {
    let mut desk = maps();
    desk.applied("me", map(json!({"a": "1"})));
    desk.update("x", |object| object["metadata"]["managedFields"] = json!([]));
    assert_ne!(desk.fields("me"), &Value::Null, "an empty list is taken for ignorance");
    desk.update("x", |object| object["metadata"]["managedFields"][0]["manager"] = "renamed".into());
    assert_ne!(desk.fields("renamed"), &Value::Null);
    desk.update("x", |object| object["metadata"]["managedFields"] = json!([{}]));
    assert_eq!(desk.live()["metadata"].get("managedFields"), None);
}

#[test]
fn an_account_of_thousands_that_a_client_sends_is_looked_at_once() {
    for versions in [1, 20_000] {
        let entry = |at: usize| {
            json!({
                "manager": format!("m{at}"), "operation": "Update", "apiVersion": format!("v{}", at % versions),
                "time": format!("2026-01-01T00:00:00.{at:06}Z"), "fieldsV1": {"f:data": {format!("f:k{at}"): {}}},
            })
        };
        let entries: Vec<Value> = (0..20_000).map(entry).collect();
        let live = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}});
        let mut new = live.clone();
        new["metadata"]["managedFields"] = entries.into();
        let author = Author { manager: "x", api_version: "v1", subresource: "", now: "2026-01-02T00:00:00Z" };
        let account = track(
            Some(&live),
            &new,
            author,
            Target { schema: Schema::Unknown, versions: Versions::Apart, ignored: &[] },
        )
        .unwrap()
        .unwrap();
        let kept = account.as_array().unwrap();
        assert_eq!(
            kept.iter().filter(|entry| entry["manager"] != "ancient-changes").count(),
            if versions == 1 { 9 } else { 0 }
        );
    }
}

#[test]
fn many_managers_become_ancient() {
    let mut desk = maps();
    for n in 0..15 {
        desk.update(&format!("m{n:02}"), |object| {
            let map = object.as_object_mut().unwrap();
            map.entry("data").or_insert_with(|| json!({}))[format!("k{n}")] = "v".into();
        });
    }
    let entries = desk.live()["metadata"]["managedFields"].as_array().unwrap();
    assert_eq!(entries.len(), 10);
    assert_eq!(desk.fields("ancient-changes")["f:data"]["f:k0"], json!({}));
    assert_eq!(desk.fields("m14"), &json!({"f:data": {"f:k14": {}}}));
}

#[test]
fn what_cannot_be_read_as_a_set_is_none() {
    for text in [r#"{"x": {}}"#, r#"{"f:a": 1}"#, "[]", r#"{"f:a": {"é": {}}}"#] {
        let value: Value = serde_json::from_str(text).unwrap();
        assert_eq!(FieldSet::parse(&value), None, "{text}");
    }
    let value = json!({"f:a": {".": {}, "k:{\"b\":1}": {"f:c": {}}}, "f:d": {}});
    let set = FieldSet::parse(&value).unwrap();
    assert_eq!(set.clone().into_value(), value);
    assert_eq!(set.paths(), [".a", ".a[b=1].c", ".d"]);
}

/// Not asserted, because machines differ: run with `--nocapture` to read it.
#[test]
#[allow(clippy::disallowed_methods, reason = "a measurement to be read by people")]
fn the_cost_of_a_deployment_is_shown() {
    let config = web(json!([{"name": "c", "image": "nginx", "ports": [{"containerPort": 80}]}]));
    let mut desk = Desk::new("apps/v1", "Deployment");
    desk.applied("me", config.clone());
    let target = Target { schema: Schema::Builtin(desk.ty), versions: Versions::Apart, ignored: &[] };
    let author = Author { manager: "me", api_version: "apps/v1", subresource: "", now: "" };
    let live = desk.live().clone();
    let mut changed = live.clone();
    changed["spec"]["replicas"] = 3.into();
    let started = std::time::Instant::now();
    const ROUNDS: u32 = 200;
    for _ in 0..ROUNDS {
        apply(Some(&live), &config, author, target, Force::No).unwrap();
    }
    let applying = started.elapsed() / ROUNDS;
    let started = std::time::Instant::now();
    for _ in 0..ROUNDS {
        track(Some(&live), &changed, author, target).unwrap();
    }
    println!("apply {applying:?}, track {:?} for each Deployment", started.elapsed() / ROUNDS);
}
