//! Server-side apply, with accounts of who manages what that clients made up.
#![no_main]

use libfuzzer_sys::fuzz_target;
use orchestra_core::gvk::GroupVersion;
use orchestra_core::patch::apply::{self, Author, FieldSet, Force, Schema, Target, Versions};
use orchestra_core::schema;
use serde_json::Value;

fuzz_target!(
    init: orchestra_fuzz::plant("apply", seeds()),
    |input: (bool, &[u8])| {
        let (force, bytes) = input;
        let Ok(Value::Array(parts)) = serde_json::from_slice::<Value>(bytes) else { return };
        let [config, live, set] = &parts[..] else { return };
        if let Some(set) = FieldSet::parse(set) {
            let value = set.clone().into_value();
            assert_eq!(FieldSet::parse(&value).map(FieldSet::into_owned), Some(set.into_owned()));
        }
        let gv = GroupVersion::parse("v1").expect("a version");
        let ty = schema::of_kind(&gv, "Pod").expect("a kind");
        let mut live = live.clone();
        if !live.is_object() || schema::conform(&mut live, ty).is_err() {
            return;
        }
        schema::complete(&mut live, ty);
        let author = Author { manager: "m", api_version: "v1", subresource: "", now: "2026-01-01T00:00:00Z" };
        let force = if force { Force::Yes } else { Force::No };
        for schema in [Some(ty), None] {
            let target = Target { schema: schema.map_or(Schema::Unknown, Schema::Builtin), versions: Versions::Apart, ignored: &[&["status"]] };
            apply::track(Some(&live), config, author, target).expect("there is one version");
            let Ok(first) = apply::apply(Some(&live), config, author, target, force) else { continue };
            let mut object = first.object;
            if schema::conform(&mut object, ty).is_err() {
                continue;
            }
            schema::complete(&mut object, ty);
            if let Some(account) = first.account {
                object["metadata"]["managedFields"] = account;
            }
            // What was applied can be applied again, whoever else is there.
            apply::apply(Some(&object), config, author, target, Force::Yes).expect("it was applied before");
        }
    }
);

fn seeds() -> Vec<Vec<u8>> {
    let text = r#"[{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","labels":{"a":"b"}},"spec":{"containers":[{"name":"a","image":"i","ports":[{"containerPort":80,"protocol":"TCP"}]}]}},
        {"metadata":{"name":"p","managedFields":[{"manager":"m","operation":"Apply","apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{"f:spec":{"f:containers":{"k:{\"name\":\"a\"}":{".":{},"f:image":{}}}}}},{"manager":"o","operation":"Update","apiVersion":"v1","fieldsV1":{"f:metadata":{"f:finalizers":{"v:\"x\"":{}}}}}]},"spec":{"containers":[{"name":"a","image":"j"}]}},
        {"f:a":{".":{},"k:{\"x\":1,\"y\":\"z\"}":{}},"v:true":{},"i:0":{}}]"#;
    [0, 1].iter().map(|force| [text.as_bytes(), &[*force]].concat()).collect()
}
