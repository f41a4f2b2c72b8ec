//! Applying to a kind whose versions have different fields.

use serde_json::json;

use super::*;

/// `hostPort` in the first version, `host` and `port` in the second.
fn schemas() -> [Structural; 2] {
    let of = |fields: Value| {
        Structural::read(&json!({"type": "object", "properties": {
            "spec": {"type": "object", "properties": fields}, "status": {"type": "object",
                "properties": {"open": {"type": "boolean"}}}}}))
    };
    let text = || json!({"type": "string"});
    let note = || json!({"type": "object", "additionalProperties": {"type": "string"}});
    [
        of(json!({"hostPort": text(), "notes": note()})),
        of(json!({"host": text(), "port": text(), "remarks": note()})),
    ]
}

fn converted(object: &Value, api_version: &str) -> Value {
    assert!(object["metadata"].get("managedFields").is_none(), "an account is nothing to convert");
    let mut new = object.clone();
    new["apiVersion"] = api_version.into();
    let old = object["spec"].clone();
    let mut spec = json!({});
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            spec[name] = value;
        }
    };
    let text = |name: &str| old[name].as_str();
    if api_version == V2 {
        let (host, port) =
            text("hostPort").map(|all| all.split_once(':').unwrap_or((all, ""))).unwrap_or_default();
        put("host", Some(host).filter(|host| !host.is_empty()).map(Value::from));
        put("port", Some(port).filter(|port| !port.is_empty()).map(Value::from));
        put("remarks", old.get("notes").cloned());
    } else {
        let (host, port) = (text("host"), text("port"));
        let all = format!("{}:{}", host.unwrap_or_default(), port.unwrap_or_default());
        put("hostPort", (host.is_some() || port.is_some()).then(|| all.into()));
        put("notes", old.get("remarks").cloned());
    }
    new["spec"] = spec;
    new
}

const V1: &str = "example.com/v1";
const V2: &str = "example.com/v2";

struct Desk {
    schemas: [Structural; 2],
    /// What lies in the store, in the first version.
    live: Option<Value>,
    asked: usize,
}

impl Desk {
    fn new() -> Self {
        Self { schemas: schemas(), live: None, asked: 0 }
    }

    /// Answers questions until there is none left.
    fn seen<T>(
        &mut self,
        api_version: &str,
        write: impl Fn(Option<&Value>, Target<'_>) -> Result<T, ApplyError>,
    ) -> Result<T, ApplyError> {
        let [one, two] = &self.schemas;
        let live = self.live.as_ref().map(|live| {
            if api_version == V1 {
                return live.clone();
            }
            let mut plain = live.clone();
            without_account(&mut plain);
            let mut there = converted(&plain, api_version);
            there["metadata"] = live["metadata"].clone();
            there
        });
        let schema = Schema::Custom(if api_version == V1 { one } else { two });
        let all = [(V1, one), (V2, two)];
        let mut views =
            Views::new(all.map(|(name, schema)| (name.to_owned(), Schema::Custom(schema))).into());
        loop {
            let target = Target { schema, versions: Versions::Seen(&views), ignored: &[&["status"]] };
            match write(live.as_ref(), target) {
                Err(ApplyError::Unseen(question)) => {
                    self.asked += 1;
                    assert!(self.asked < 100, "{question:?}");
                    let there = |object| converted(object, &question.api_version);
                    let answer = question.objects.iter().map(there).collect();
                    views.add(question, answer);
                }
                outcome => return outcome,
            }
        }
    }

    fn store(&mut self, mut object: Value, account: Option<Value>) {
        without_account(&mut object);
        let mut stored = converted(&object, V1);
        if object["apiVersion"] == V1 {
            stored = object;
        }
        if let Some(account) = account {
            stored["metadata"]["managedFields"] = account;
        }
        self.live = Some(stored);
    }

    fn apply(
        &mut self,
        manager: &str,
        api_version: &str,
        spec: Value,
        force: Force,
    ) -> Result<(), ApplyError> {
        let config =
            json!({"apiVersion": api_version, "kind": "Door", "metadata": {"name": "x"}, "spec": spec});
        let author = Author { manager, api_version, subresource: "", now: "now" };
        let applied = self.seen(api_version, |live, target| apply(live, &config, author, target, force))?;
        self.store(applied.object, applied.account);
        Ok(())
    }

    fn update(&mut self, manager: &str, api_version: &str, spec: Value) {
        let new = json!({"apiVersion": api_version, "kind": "Door", "metadata": {"name": "x"}, "spec": spec});
        let author = Author { manager, api_version, subresource: "", now: "now" };
        let account = self.seen(api_version, |live, target| Ok(track(live, &new, author, target)?)).unwrap();
        self.store(new, account);
    }

    fn spec(&self) -> &Value {
        &self.live.as_ref().unwrap()["spec"]
    }

    /// Who manages what, in which version.
    fn account(&self) -> Value {
        let entries = self.live.as_ref().unwrap()["metadata"]["managedFields"].as_array().unwrap();
        let told = |entry: &Value| {
            let version = entry["apiVersion"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
            json!([entry["manager"], version, entry["fieldsV1"]["f:spec"]])
        };
        entries.iter().map(told).collect()
    }
}

fn conflicts(outcome: Result<(), ApplyError>) -> Vec<String> {
    let Err(ApplyError::Conflict(Conflicts(all))) = outcome else { panic!("{outcome:?}") };
    all.into_iter().map(|conflict| format!("{} {}", conflict.manager, conflict.path)).collect()
}

#[test]
fn what_is_set_through_one_version_is_refused_through_another() {
    let mut desk = Desk::new();
    desk.apply("one", V1, json!({"hostPort": "a:1"}), Force::No).unwrap();
    let refused = desk.apply("two", V2, json!({"host": "b", "port": "1"}), Force::No);
    assert_eq!(conflicts(refused), ["\"one\" .spec.hostPort"], "named as who has it calls it");
    desk.apply("two", V2, json!({"host": "a", "port": "1"}), Force::No).unwrap();
    assert_eq!(
        desk.account(),
        json!([["one", "v1", {"f:hostPort": {}}], ["two", "v2", {"f:host": {}, "f:port": {}}]]),
        "who sets the same shares it"
    );
    let refused = desk.apply("one", V1, json!({"hostPort": "a:2"}), Force::No);
    assert_eq!(conflicts(refused), ["\"two\" .spec.port"], "the host stays as it was");
}

#[test]
fn who_forces_takes_what_others_set_through_another_version() {
    let mut desk = Desk::new();
    desk.apply("one", V1, json!({"hostPort": "a:1", "notes": {"k": "v"}}), Force::No).unwrap();
    desk.apply("two", V2, json!({"port": "2"}), Force::Yes).unwrap();
    assert_eq!(desk.spec(), &json!({"hostPort": "a:2", "notes": {"k": "v"}}));
    assert_eq!(
        desk.account(),
        json!([["one", "v1", {"f:notes": {"f:k": {}}}], ["two", "v2", {"f:port": {}}]])
    );
}

#[test]
fn an_update_takes_what_it_changes_in_every_version() {
    let mut desk = Desk::new();
    desk.apply("one", V2, json!({"host": "a", "port": "1", "remarks": {"k": "v", "l": "w"}}), Force::No)
        .unwrap();
    desk.update("two", V1, json!({"hostPort": "a:2", "notes": {"k": "v"}}));
    assert_eq!(
        desk.account(),
        json!([["one", "v2", {"f:host": {}, "f:remarks": {"f:k": {}}}], ["two", "v1", {"f:hostPort": {}}]]),
        "the port is changed and a remark is gone"
    );
}

#[test]
fn what_was_applied_through_another_version_goes_when_it_is_left_out() {
    let mut desk = Desk::new();
    desk.apply("one", V1, json!({"hostPort": "a:1", "notes": {"k": "v"}}), Force::No).unwrap();
    desk.apply("one", V2, json!({"host": "a", "port": "1"}), Force::No).unwrap();
    assert_eq!(desk.spec(), &json!({"hostPort": "a:1"}), "what is applied again stays");
    assert_eq!(desk.account(), json!([["one", "v2", {"f:host": {}, "f:port": {}}]]));
    desk.apply("one", V1, json!({"notes": {"k": "v"}}), Force::No).unwrap();
    assert_eq!(desk.spec(), &json!({"notes": {"k": "v"}}));
}

#[test]
fn what_somebody_else_set_through_another_version_stays() {
    let mut desk = Desk::new();
    let both = json!({"hostPort": "a:1", "notes": {"k": "v", "l": "w"}});
    desk.apply("one", V1, both, Force::No).unwrap();
    desk.apply("two", V2, json!({"host": "a", "port": "1", "remarks": {"k": "v"}}), Force::No).unwrap();
    desk.apply("one", V1, json!({}), Force::No).unwrap();
    assert_eq!(desk.spec(), &json!({"hostPort": "a:1", "notes": {"k": "v"}}));
    assert_eq!(
        desk.account(),
        json!([["one", "v1", {}], ["two", "v2", {"f:host": {}, "f:port": {}, "f:remarks": {"f:k": {}}}]])
    );
}

#[test]
fn nobody_is_asked_where_nothing_changes_or_one_version_only_is_managed() {
    let mut desk = Desk::new();
    desk.apply("one", V1, json!({"hostPort": "a:1"}), Force::No).unwrap();
    desk.apply("one", V1, json!({"hostPort": "a:2"}), Force::No).unwrap();
    assert_eq!(desk.asked, 0);
    desk.apply("two", V2, json!({"port": "2"}), Force::No).unwrap();
    assert_eq!(desk.asked, 0, "it had that value");
    desk.apply("two", V2, json!({"remarks": {"k": "v"}, "port": "2"}), Force::No).unwrap();
    assert_eq!(desk.asked, 2, "the object before and after it");
}

#[test]
fn what_was_set_through_a_version_that_is_no_more_is_nobodys() {
    let mut desk = Desk::new();
    desk.apply("one", "example.com/v1", json!({"hostPort": "a:1"}), Force::No).unwrap();
    let live = desk.live.as_mut().unwrap();
    live["metadata"]["managedFields"][0]["apiVersion"] = "example.com/v1alpha1".into();
    desk.apply("two", V2, json!({"host": "b", "port": "1"}), Force::No).unwrap();
    assert_eq!(desk.account(), json!([["two", "v2", {"f:host": {}, "f:port": {}}]]));
}

#[test]
fn where_nobody_can_convert_an_update_leaves_the_entries_of_other_versions() {
    let mut desk = Desk::new();
    desk.apply("one", V2, json!({"host": "a", "port": "1"}), Force::No).unwrap();
    let new =
        json!({"apiVersion": V1, "kind": "Door", "metadata": {"name": "x"}, "spec": {"hostPort": "b:1"}});
    let author = Author { manager: "two", api_version: V1, subresource: "", now: "now" };
    let target = Target { schema: Schema::Custom(&desk.schemas[0]), versions: Versions::Apart, ignored: &[] };
    let account = track(desk.live.as_ref(), &new, author, target).unwrap();
    desk.store(new, account);
    assert_eq!(
        desk.account(),
        json!([["one", "v2", {"f:host": {}, "f:port": {}}], ["two", "v1", {"f:hostPort": {}}]])
    );
}
