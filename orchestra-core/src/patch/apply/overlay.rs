//! Laying a configuration over an object without keeping account of who set what, as mutating policies do.
//!
//! Follows `k8s.io/apiserver/pkg/admission/plugin/policy/mutating/patch`: a value that is replaced as a whole may not be part of
//! it, because whoever writes one field of such a value seldom means to take away the others.

use serde_json::Value;

use super::node::Node;
use super::{Schema, element, merge, typed};

/// Lays `config` over `live`.
///
/// # Errors
/// The configuration does not fit the schema, or sets what is replaced as a whole; in upstream's words.
pub fn overlay(live: &Value, config: &Value, schema: Schema<'_>) -> Result<Value, String> {
    let root = Node::root(schema);
    typed::check(config, root)
        .map_err(|why| format!("failed to convert patch object to typed object: {why}"))?;
    let mut found = Atomics::default();
    found.look(config, root);
    if !found.paths.is_empty() {
        return Err(format!(
            "invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: {}",
            found.paths.join(", ")
        ));
    }
    Ok(merge::merge(Some(live), config, root))
}

/// So many paths are told.
const MAX_FOUND: usize = 100;

/// The places of a configuration that are one value each.
#[derive(Default)]
struct Atomics {
    path: String,
    paths: Vec<String>,
}

impl Atomics {
    fn found(&mut self) {
        if self.paths.len() < MAX_FOUND {
            self.paths.push(self.path.clone());
        }
    }

    fn below(&mut self, name: &str, value: &Value, node: Node<'_>) {
        let length = self.path.len();
        element::print(name, &mut self.path);
        self.look(value, node);
        self.path.truncate(length);
    }

    fn look(&mut self, value: &Value, node: Node<'_>) {
        match value {
            Value::Object(map) => {
                if node.is_whole() {
                    self.found();
                }
                let inner = node.inside();
                // The keys of a map are no fields, and not looked at.
                for (name, value) in map.iter().filter(|(name, _)| inner.declares(name)) {
                    if let Some(node) = inner.field(name) {
                        self.below(&element::field(name), value, node);
                    }
                }
            }
            Value::Array(items) => {
                if !node.is_list() {
                    self.found();
                }
                let Some(item) = node.any_item() else { return };
                for (at, value) in items.iter().enumerate() {
                    self.below(&format!("i:{at}"), value, item);
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::gvk::GroupVersion;
    use crate::schema;

    fn deployment(config: Value) -> Result<Value, String> {
        let live = json!({"spec": {"selector": {"matchLabels": {"a": "b"}}, "replicas": 1, "template": {"spec": {"containers": [
            {"name": "a", "image": "x", "env": [{"name": "A", "value": "1"}]}, {"name": "b", "image": "y"}]}}}});
        let ty = schema::of_kind(&GroupVersion::new("apps", "v1"), "Deployment").unwrap();
        overlay(&live, &config, Schema::Builtin(ty))
    }

    #[test]
    fn items_are_merged_by_their_keys_and_the_rest_stays() {
        let config = json!({"metadata": {"labels": {"l": "v"}}, "spec": {"replicas": 2, "template": {"spec": {"containers": [
            {"name": "b", "image": "z"}, {"name": "c"}, {"name": "a", "env": [{"name": "B"}]}]}}}});
        let made = deployment(config).unwrap();
        assert_eq!(made["metadata"]["labels"], json!({"l": "v"}));
        assert_eq!(made["spec"]["selector"], json!({"matchLabels": {"a": "b"}}));
        assert_eq!(
            made["spec"]["template"]["spec"]["containers"],
            json!([{"name": "b", "image": "z"}, {"name": "c"},
                {"name": "a", "image": "x", "env": [{"name": "A", "value": "1"}, {"name": "B"}]}])
        );
    }

    #[test]
    fn what_is_one_value_is_not_mutated() {
        let said = |config: Value| deployment(config).unwrap_err();
        let selector = json!({"spec": {"selector": {"matchLabels": {"a": "c"}, "matchExpressions": []}}});
        assert_eq!(
            said(selector),
            "invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: .spec.selector, \
             .spec.selector.matchExpressions"
        );
        let args = json!({"spec": {"template": {"spec": {"nodeSelector": {"x": "y"}, "containers": [{"name": "a", "args": ["x"]}]}}}});
        assert_eq!(
            said(args),
            "invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: \
             .spec.template.spec.containers[0].args, .spec.template.spec.nodeSelector"
        );
        assert_eq!(
            said(json!({"spec": {"none": 1}})),
            "failed to convert patch object to typed object: .spec.none: field not declared in schema"
        );
    }
}
