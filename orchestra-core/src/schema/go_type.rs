//! How Go prints the types of fields, for error messages.

use super::model::{Field, Item, ObjectType, Scalar, Shape};
use super::scalar;

/// How Go prints the type of a field, without the pointer.
pub(super) fn go_type(field: &Field) -> String {
    if let Some(go) = field.go {
        return go.to_owned();
    }
    let item = match field.item {
        Item::Object(_) => field.object().map_or("", ObjectType::go_name),
        Item::Scalar(scalar) => scalar::go_name(scalar),
    };
    match field.shape {
        Shape::Single => item.to_owned(),
        Shape::List => format!("[]{item}"),
        Shape::Map => format!("map[string]{item}"),
        Shape::MapOfLists => format!("map[string][]{item}"),
    }
}

/// The type of a value as Go's reflection names it: without its package.
pub(super) fn struct_name(scalar: Scalar) -> &'static str {
    let name = scalar::go_name(scalar);
    name.rsplit_once('.').map_or(name, |(_, name)| name)
}

/// The type of the elements of a list or map. A named type hides them; its elements are text in all such types.
pub(super) fn element_type(ty: &str) -> String {
    if let Some(item) = ty.strip_prefix("[]") {
        return item.trim_start_matches('*').to_owned();
    }
    match ty.strip_prefix("map[").and_then(|rest| rest.split_once(']')) {
        Some((_, item)) => item.to_owned(),
        None => "string".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::by_name;

    fn of(ty: &str, field: &str) -> String {
        go_type(by_name(&format!("io.k8s.api.core.v1.{ty}")).unwrap().field(field).unwrap())
    }

    #[test]
    fn named_types_keep_their_name_and_others_follow_from_their_shape() {
        assert_eq!(of("Container", "imagePullPolicy"), "v1.PullPolicy");
        assert_eq!(of("PodSpec", "containers"), "[]v1.Container");
        assert_eq!(of("ResourceRequirements", "limits"), "v1.ResourceList");
        assert_eq!(of("Secret", "data"), "map[string][]uint8");
        assert_eq!(element_type(&of("PodSpec", "nodeSelector")), "string");
    }
}
