//! What is filled in.

use orchestra_core::schema;
use serde_json::{Value, json};

use super::{behaviour, route, table};

#[test]
fn what_has_a_default_gets_it_wherever_it_stands() {
    let types = table::types();
    let default = |ty: &str, field: &str| types.get(ty)?.fields.get(field)?.value("default");
    let mut wrong = Vec::new();
    for route in route::routes(|ty, field| default(ty.name, field.name).is_some()) {
        let expected: Value =
            serde_json::from_str(default(route.owner.name, route.field().name).unwrap()).unwrap();
        let mut object = route.object(None);
        behaviour::admitted(&route, &mut object);
        if route.read(&object) != Some(&expected) {
            let kind = &route.kind.description().kind;
            wrong.push(format!("{kind} {}: {expected}, not {:?}", route.path(), route.read(&object)));
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// Upstream's encoder writes a field that is required and has a zero value even when it is empty.
#[test]
fn a_required_field_is_written_even_when_it_is_empty() {
    let mut wrong = Vec::new();
    for (name, facts) in table::types() {
        // The version of the server is no object of the API: it is written by who answers for it.
        let Some(ty) = schema::by_name(&name) else { continue };
        let mut object = json!({});
        schema::complete(&mut object, ty);
        for (field, facts) in facts.fields {
            if !facts.text().contains(" required zero-default") {
                continue;
            }
            let written = object.get(field).unwrap_or(&Value::Null);
            let is_zero = match facts.text().split(' ').next().unwrap_or_default() {
                "string" => written == &json!(""),
                "boolean" => written == &json!(false),
                "integer:int32" | "integer:int64" | "number:double" => written == &json!(0),
                _ => written.is_object(),
            };
            if !is_zero {
                wrong.push(format!("{name}.{field}: {written}, stated {:?}", facts.text()));
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}
