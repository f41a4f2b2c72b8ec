//! Lists of any length: what they cost has to grow with them, not with their square, because clients send them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use orchestra_core::schema::{Field, Item, Scalar, Shape};
use serde_json::{Map, Value, json};

use super::route::{self, Route};

fn scalar(scalar: Scalar, at: usize) -> Option<Value> {
    Some(match scalar {
        Scalar::String => json!(format!("x{at}")),
        Scalar::Int32 | Scalar::Int64 | Scalar::IntOrString | Scalar::Quantity => json!(at),
        _ => return None,
    })
}

fn item(field: &'static Field, at: usize) -> Option<Value> {
    match field.item {
        Item::Scalar(kind) => scalar(kind, at),
        Item::Object(_) => {
            let fields = field.object()?.fields.iter().filter(|field| field.shape == Shape::Single);
            let fields = fields.filter_map(|field| match field.item {
                Item::Scalar(kind) => Some((field.name.to_owned(), scalar(kind, at)?)),
                Item::Object(_) => None,
            });
            Some(fields.collect::<Map<_, _>>().into())
        }
    }
}

/// How long the rules of the kind take over an object with so many items in the list, made and changed.
fn took(route: &Route, items: usize) -> Option<Duration> {
    let list = (0..items).map(|at| item(route.field(), at)).collect::<Option<Vec<_>>>()?;
    let mut object = route.object(Some(list.clone().into()));
    let mut other = route.object(Some(list.into_iter().rev().collect::<Vec<_>>().into()));
    let begun = Instant::now();
    for object in [&mut object, &mut other] {
        route.kind.default(object);
        route.kind.prepare_create(object);
    }
    route.kind.validate_create(&object);
    route.kind.validate_update(&other, &object);
    route.kind.prepare_update(&mut other, &object);
    Some(begun.elapsed())
}

/// `cargo nextest run -p orchestra-core --run-ignored only --no-capture long_lists` names the lists whose cost grows faster than they do.
#[test]
#[ignore = "it measures, which a loaded machine makes worthless; run by hand when a rule about a list is written"]
fn long_lists_cost_what_they_are_long() {
    let mut shortest = BTreeMap::<(String, &str), Route>::new();
    for route in route::routes(|_, field| field.shape == Shape::List) {
        let key = (route.owner.name.to_owned(), route.field().name);
        let known = shortest.entry(key).or_insert_with(|| route.clone());
        if route.fields.len() < known.fields.len() {
            *known = route;
        }
    }
    let mut wrong = Vec::new();
    for route in shortest.values() {
        let (Some(few), Some(many)) = (took(route, 1_000), took(route, 10_000)) else { continue };
        if many > few * 30 && many > Duration::from_millis(200) {
            wrong.push(format!("{} ({}): {few:?}, {many:?}", route.name(), route.kind.description().kind));
        }
    }
    assert!(
        wrong.is_empty(),
        "these take far more than ten times as long when they are ten times as long:\n{}",
        wrong.join("\n")
    );
}
