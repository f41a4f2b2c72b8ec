//! Fields with a fixed set of values.

use orchestra_core::schema::Shape;
use orchestra_core::violation::Reason;
use serde_json::{Value, json};

use super::exception::Exceptions;
use super::{behaviour, route, table};

#[test]
fn a_value_outside_of_an_enumeration_is_refused_and_those_inside_are_not() {
    let types = table::types();
    let listed = |ty: &str, field: &str| {
        let facts = types.get(ty)?.fields.get(field)?;
        facts.value("enum").or_else(|| facts.value("item-enum"))
    };
    let mut exceptions = Exceptions::to_enumerations();
    let mut wrong = Vec::new();
    for route in route::routes(|ty, field| listed(ty.name, field.name).is_some()) {
        let value = |text: &str| -> Value {
            if route.field().shape == Shape::List { json!([text]) } else { json!(text) }
        };
        let at = format!("{}: {} {}", route.name(), route.kind.description().kind, route.path());
        let found = behaviour::violations(&route, route.object(Some(value("Bogus"))));
        if !exceptions.expect(&route, "Bogus", &found) {
            wrong.push(format!("{at}: Bogus is taken"));
        }
        for known in listed(route.owner.name, route.field().name).unwrap().split('|') {
            let found = behaviour::violations(&route, route.object(Some(value(known))));
            let refused = behaviour::about(&route, &found)
                .find(|violation| violation.reason == Reason::NotSupported && !known.is_empty());
            if let Some(violation) = refused.filter(|_| !exceptions.except(&route, known, &found)) {
                wrong.push(format!("{at}: {known} is refused: {violation}"));
            }
        }
    }
    wrong.extend(exceptions.idle());
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}
