//! Fields that must be there.

use orchestra_core::schema::{Item, Scalar, Shape};

use super::exception::Exceptions;
use super::{behaviour, route, table};

/// Of what has no presence, being absent and being zero is one: only what has none of a zero value can be missing.
#[test]
fn a_required_field_that_is_missing_is_reported() {
    let types = table::types();
    let is_required = |ty: &str, field: &str| {
        types.get(ty).and_then(|ty| ty.fields.get(field)).is_some_and(|facts| facts.is_required())
    };
    let mut exceptions = Exceptions::to_required_fields();
    let mut wrong = Vec::new();
    let routes = route::routes(|ty, field| {
        let can_miss = match (field.shape, field.item) {
            (Shape::Single, Item::Scalar(scalar)) => matches!(scalar, Scalar::String | Scalar::Bytes),
            (Shape::Single, Item::Object(_)) => field.is_pointer,
            _ => true,
        };
        can_miss && is_required(ty.name, field.name)
    });
    for route in routes {
        let found = behaviour::violations(&route, route.object(None));
        if !exceptions.expect(&route, "", &found) {
            let paths: Vec<&str> = found.iter().map(|violation| violation.path.as_str()).collect();
            let kind = &route.kind.description().kind;
            wrong.push(format!("{}: {kind} {}: {}", route.name(), route.path(), paths.join(" ")));
        }
    }
    wrong.extend(exceptions.idle());
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}
