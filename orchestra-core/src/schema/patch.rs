//! Tells a strategic merge patch how the fields of a type merge.

use super::go_type::struct_name;
use super::model::{Field, Item, ObjectType, Shape};
use crate::patch::strategic::{Child, FieldRule, MergeStrategy, PatchSchema};

impl PatchSchema for ObjectType {
    fn name(&self) -> &str {
        self.short_name()
    }

    fn field(&self, name: &str) -> Option<FieldRule<'_>> {
        let field = Self::field(self, name)?;
        let strategy = match field.patch_strategy {
            strategy if strategy.merges() => MergeStrategy::Merge,
            strategy if strategy.text() == Some("replace") => MergeStrategy::Replace,
            _ => MergeStrategy::Default,
        };
        Some(FieldRule {
            strategy,
            merge_key: field.merge_key,
            retain_keys: field.patch_strategy.retains_keys(),
            child: child(field),
        })
    }
}

fn child(field: &Field) -> Child<'static> {
    match (field.shape, field.item) {
        (Shape::Map | Shape::MapOfLists, _) => Child::Map,
        (_, Item::Scalar(scalar)) => Child::Opaque(struct_name(scalar)),
        (_, Item::Object(_)) => match field.object() {
            Some(object) => Child::Object(object),
            None => Child::Opaque(""),
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::patch::strategic;
    use crate::schema::by_name;

    #[test]
    fn containers_of_a_deployment_merge_by_name() {
        let deployment = by_name("io.k8s.api.apps.v1.Deployment").unwrap();
        let containers =
            |items: serde_json::Value| json!({"spec":{"template":{"spec":{"containers":items}}}});
        let old = containers(json!([{"name":"a","image":"a:1"},{"name":"b","image":"b:1","args":["x"]}]));
        let patch = containers(json!([{"name":"b","image":"b:2"}]));
        assert_eq!(
            strategic::apply(&old, &patch, deployment).unwrap(),
            containers(json!([{"name":"a","image":"a:1"},{"name":"b","image":"b:2","args":["x"]}]))
        );
    }
}
