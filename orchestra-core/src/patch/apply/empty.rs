//! What a type holds before anything is set.

use std::sync::{LazyLock, OnceLock};

use serde_json::{Map, Value};

use super::Schema;
use crate::schema;

/// An object of which nothing is set. Every new object is compared with it, so that of a type is made once.
pub(super) fn object(schema: Schema<'_>) -> &'static Value {
    static BARE: LazyLock<Value> = LazyLock::new(|| Value::Object(Map::new()));
    static OF_TYPES: LazyLock<Box<[OnceLock<Value>]>> =
        LazyLock::new(|| schema::types().iter().map(|_| OnceLock::new()).collect());
    let Schema::Builtin(ty) = schema else { return &BARE };
    let at = schema::types().binary_search_by(|other| other.name.cmp(ty.name));
    let place = at.ok().and_then(|at| OF_TYPES.get(at)).expect("every type is one of the index");
    place.get_or_init(|| {
        let mut object = BARE.clone();
        schema::complete(&mut object, ty);
        object
    })
}
