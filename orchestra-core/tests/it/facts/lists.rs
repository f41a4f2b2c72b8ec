//! How lists and maps come together when they are patched and applied.

use orchestra_core::patch::apply::{self, Author, Force, Schema, Target, Versions};
use orchestra_core::patch::strategic;
use orchestra_core::schema::{self, Item, ObjectType, Scalar, Shape};
use serde_json::{Map, Value, json};

use super::table;

/// Two values that differ, of a scalar type.
fn two(scalar: Scalar) -> [Value; 2] {
    match scalar {
        Scalar::Bool => [json!(false), json!(true)],
        Scalar::Int32 | Scalar::Int64 => [json!(1), json!(2)],
        Scalar::Float64 => [json!(1.5), json!(2.5)],
        Scalar::IntOrString => [json!("a"), json!("b")],
        _ => [json!("a"), json!("b")],
    }
}

/// Two items of a list, which differ in the given keys, or where it has none in their first scalar.
fn items(ty: Option<&'static ObjectType>, item: Item, keys: &[&str]) -> [Value; 2] {
    let Some(ty) = ty else {
        let Item::Scalar(scalar) = item else { unreachable!("objects have a type") };
        return two(scalar);
    };
    let scalar = |field: &schema::Field| match (field.shape, field.item) {
        (Shape::Single, Item::Scalar(scalar)) => Some(scalar),
        _ => None,
    };
    let first = ty.fields.iter().find(|field| scalar(field).is_some()).map(|field| field.name);
    let keys: Vec<&str> = if keys.is_empty() { first.into_iter().collect() } else { keys.to_vec() };
    [0, 1].map(|at| {
        let fields = keys.iter().map(|key| {
            let value = two(scalar(ty.field(key).unwrap()).unwrap())[at].clone();
            ((*key).to_owned(), value)
        });
        Value::Object(fields.collect::<Map<_, _>>())
    })
}

fn applied(ty: &'static ObjectType, live: Option<&Value>, manager: &str, config: &Value) -> Value {
    let author = Author { manager, api_version: "v1", subresource: "", now: "2026-01-01T00:00:00Z" };
    let target = Target { schema: Schema::Builtin(ty), versions: Versions::Apart, ignored: &[] };
    let applied = apply::apply(live, config, author, target, Force::Yes).unwrap();
    let mut object = applied.object;
    object["metadata"]["managedFields"] = applied.account.unwrap_or_default();
    object
}

#[test]
fn lists_are_applied_as_their_type_says() {
    let mut wrong = Vec::new();
    for (name, facts) in table::types() {
        let Some(ty) = schema::by_name(&name) else { continue };
        for (field, facts) in &facts.fields {
            let Some(own) = ty.field(field).filter(|own| own.shape == Shape::List) else { continue };
            if *field == "managedFields" {
                continue;
            }
            let keys: Vec<&str> = facts.value("keys").into_iter().flat_map(|keys| keys.split(',')).collect();
            let [one, other] = items(own.object(), own.item, &keys);
            let mut live = applied(ty, None, "one", &json!({*field: [one]}));
            live = applied(ty, Some(&live), "other", &json!({*field: [other]}));
            let expected = match facts.value("list-type") {
                Some("set" | "map") => json!([one, other]),
                _ => json!([other]),
            };
            if live[*field] != expected {
                wrong.push(format!("{name}.{field}: {}: {}", facts.text(), live[*field]));
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn maps_and_structs_are_applied_whole_where_they_are_atomic() {
    let mut wrong = Vec::new();
    let types = table::types();
    for (name, facts) in &types {
        let Some(ty) = schema::by_name(name) else { continue };
        for (field, facts) in &facts.fields {
            let own = ty.field(field).unwrap();
            let inner = own.object();
            let is_plain_map = own.shape == Shape::Map && inner.is_none();
            let is_struct = own.shape == Shape::Single && inner.is_some();
            let stated = facts.value("map-type");
            let whole = stated.map_or_else(
                || is_struct && types.get(inner.unwrap().name).is_some_and(|inner| inner.is_atomic),
                |stated| stated == "atomic",
            );
            let [one, other] = if is_plain_map {
                let Item::Scalar(scalar) = own.item else { continue };
                let value = if scalar == Scalar::Quantity { json!("1") } else { two(scalar)[0].clone() };
                [json!({"a": value}), json!({"b": value})]
            } else if let Some(inner) = inner.filter(|_| is_struct) {
                let mut texts = inner.fields.iter().filter(|field| {
                    field.shape == Shape::Single && field.item == Item::Scalar(Scalar::String)
                });
                let (Some(one), Some(other)) = (texts.next(), texts.next()) else { continue };
                [json!({one.name: "a"}), json!({other.name: "b"})]
            } else {
                continue;
            };
            if *field == "metadata" {
                continue;
            }
            let mut live = applied(ty, None, "one", &json!({*field: one}));
            live = applied(ty, Some(&live), "other", &json!({*field: other}));
            let is_whole = live[*field] == other;
            if is_whole != whole {
                wrong.push(format!("{name}.{field}: {}: {}", facts.text(), live[*field]));
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn lists_are_patched_by_the_merge_key_that_is_stated() {
    let mut wrong = Vec::new();
    for (name, facts) in table::types() {
        let Some(ty) = schema::by_name(&name) else { continue };
        for (field, facts) in &facts.fields {
            let Some(own) = ty.field(field).filter(|own| own.shape == Shape::List) else { continue };
            let merges =
                facts.value("patch").is_some_and(|patch| patch.split(',').any(|word| word == "merge"));
            let key = facts.value("merge-key");
            let [one, other] = items(own.object(), own.item, &key.into_iter().collect::<Vec<_>>());
            let patched = strategic::apply(&json!({*field: [one]}), &json!({*field: [other]}), ty).unwrap();
            let mut held = patched[*field].as_array().cloned().unwrap_or_default();
            held.sort_by_key(ToString::to_string);
            let expected = if merges { vec![one.clone(), other] } else { vec![other] };
            if held != expected {
                wrong.push(format!("{name}.{field}: {}: {held:?}", facts.text()));
            }
            if merges {
                let again = strategic::apply(&json!({*field: [one]}), &json!({*field: [one]}), ty).unwrap();
                if again[*field] != json!([one]) {
                    wrong.push(format!("{name}.{field}: doubled: {}", again[*field]));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}
