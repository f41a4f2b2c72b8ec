//! What becomes of an object on its way into the server.

use orchestra_core::schema::{complete, conform};
use orchestra_core::violation::{Violation, Violations};
use serde_json::Value;

use super::route::Route;

/// The object as it would be stored: defaulted and complete.
pub(super) fn admitted(route: &Route, object: &mut Value) {
    conform(object, route.root).unwrap();
    route.kind.default(object);
    complete(object, route.root);
}

/// What is wrong with the object; of a status, with the write that brings it about.
pub(super) fn violations(route: &Route, mut object: Value) -> Violations {
    admitted(route, &mut object);
    if route.is_in_status() {
        let mut old = Value::Object(serde_json::Map::new());
        admitted(route, &mut old);
        route.kind.prepare_status_update(&mut object, &old);
        return route.kind.validate_status_update(&object, &old);
    }
    route.kind.prepare_create(&mut object);
    complete(&mut object, route.root);
    route.kind.validate_create(&object)
}

/// Those that are about the field, or about an item of it.
pub(super) fn about<'a>(route: &Route, found: &'a [Violation]) -> impl Iterator<Item = &'a Violation> {
    let path = route.path();
    found.iter().filter(move |violation| {
        let at = violation.path.as_str();
        at == path || at == format!("{path}[0]")
    })
}
