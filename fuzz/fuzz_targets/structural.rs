//! Schemas of custom resources: refused, or good for pruning, defaulting and checking whatever objects come.
#![no_main]

use libfuzzer_sys::fuzz_target;
use orchestra_core::structural::{self, Structural};
use orchestra_core::violation::FieldPath;
use serde_json::Value;

fuzz_target!(
    init: orchestra_fuzz::plant("structural", seeds()),
    |bytes: &[u8]| {
        let Ok(Value::Array(parts)) = serde_json::from_slice::<Value>(bytes) else { return };
        let [schema, object] = &parts[..] else { return };
        let wrong = structural::definition::validate(schema, &FieldPath::new("openAPIV3Schema"));
        let known = Structural::read(schema);
        let mut object = object.clone();
        structural::prune::prune(&mut object, &known);
        let pruned = object.clone();
        assert!(structural::prune::prune(&mut object, &known).is_empty() && object == pruned);
        structural::default::default(&mut object, &known);
        if wrong.is_empty() {
            let once = object.clone();
            structural::default::default(&mut object, &known);
            assert_eq!(object, once);
        }
        known.validate(&object, None, &FieldPath::new("spec"));
        structural::validate_lists(&object, &known);
    }
);

fn seeds() -> Vec<Vec<u8>> {
    [
        r#"[{"type":"object","properties":{"a":{"type":"integer","default":3,"minimum":1},"b":{"type":"array","items":{"type":"string","pattern":"^x+$"},"x-kubernetes-list-type":"set"}},"required":["a"]},{"a":0,"b":["x","x"],"c":{}}]"#,
        r#"[{"type":"object","x-kubernetes-preserve-unknown-fields":true,"additionalProperties":{"type":"string","enum":["a"]}},{"x":"y"}]"#,
        r#"[{"type":"object","anyOf":[{"required":["a"]},{"not":{"required":["b"]}}],"properties":{"a":{"x-kubernetes-int-or-string":true}}},{"a":"1"}]"#,
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .collect()
}
