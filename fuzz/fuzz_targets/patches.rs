//! JSON, merge and strategic merge patches on objects of every kind: refused, or an object that is not out of all proportion.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use orchestra_core::gvk::GroupVersion;
use orchestra_core::patch::{json, merge, strategic};
use orchestra_core::schema;
use serde_json::Value;

static OBJECTS: LazyLock<Vec<Value>> = LazyLock::new(orchestra_fuzz::objects);

/// What copying may add, as the server has it.
const MOST: usize = 8 << 20;

fuzz_target!(
    init: orchestra_fuzz::plant("patches", seeds()),
    |input: (u8, &[u8])| {
        let (object, patch) = input;
        let Ok(patch) = serde_json::from_slice::<Value>(patch) else { return };
        let object = &OBJECTS[usize::from(object) % OBJECTS.len()];
        json::unknown_members(&patch);
        if let Ok(made) = json::apply(object, &patch) {
            assert!(made.to_string().len() < MOST);
        }
        if let Ok(made) = merge::apply(object, &patch) {
            assert_eq!(merge::apply(&made, &patch).expect("a merge patch fits again"), made);
        }
        let gv = GroupVersion::parse(object["apiVersion"].as_str().unwrap_or_default()).expect("a version");
        let shape = schema::of_kind(&gv, object["kind"].as_str().unwrap_or_default()).expect("a kind");
        let Ok(mut made) = strategic::apply(object, &patch, shape) else { return };
        if schema::conform_merged(&mut made, shape).is_err() {
            return;
        }
        let mut old = object.clone();
        schema::conform(&mut old, shape).expect("the object fits");
        if let Ok(back) = strategic::diff(&made, &old, shape) {
            assert_eq!(strategic::apply(&made, &back, shape).as_ref(), Ok(&old), "{back}");
        }
    }
);

fn seeds() -> Vec<Vec<u8>> {
    let patches = [
        r#"[{"op":"copy","from":"/spec","path":"/spec/x"},{"op":"test","path":"/kind","value":"Pod"},{"op":"add","path":"/a/-","value":1}]"#,
        r#"{"metadata":{"labels":{"a":null,"b":"c"}},"spec":{"containers":[{"name":"a","$patch":"delete"}]}}"#,
        r#"{"spec":{"$setElementOrder/containers":[{"name":"b"},{"name":"a"}],"containers":[{"name":"b","image":"i"}]}}"#,
        r#"{"metadata":{"$deleteFromPrimitiveList/finalizers":["x"]},"spec":{"$retainKeys":["a"],"$patch":"replace"}}"#,
    ];
    (0..8u8).flat_map(|object| patches.map(|patch| [patch.as_bytes(), &[object]].concat())).collect()
}
