//! JSON and YAML bodies of every kind, on their way to the store: decoded, defaulted, checked, shown.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use orchestra_core::kinds::Registry;
use orchestra_core::schema::{self, Format};

static KINDS: LazyLock<Registry> = LazyLock::new(Registry::builtin);

fuzz_target!(
    init: orchestra_fuzz::plant("body", orchestra_fuzz::bodies()),
    |input: (u8, bool, &[u8])| {
        let (kind, is_json, body) = input;
        let count = KINDS.iter().count();
        let Some(kind) = KINDS.iter().nth(usize::from(kind) % count) else { return };
        let description = kind.description();
        let shape = schema::of_kind(&description.gv, &description.kind).expect("every kind has a shape");
        let format = if is_json { Format::Json } else { Format::Yaml };
        let Ok(decoded) = schema::decode(body, format, shape) else { return };
        let mut again = decoded.value.clone();
        assert_eq!(schema::conform(&mut again, shape).expect("what was decoded fits"), []);
        assert_eq!(again, decoded.value);

        let mut object = decoded.value;
        kind.default(&mut object);
        let once = object.clone();
        kind.default(&mut object);
        assert_eq!(object, once);
        schema::complete(&mut object, shape);
        kind.prepare_create(&mut object);
        schema::complete(&mut object, shape);
        kind.validate_create(&object);
        let mut next = object.clone();
        kind.prepare_update(&mut next, &object);
        kind.validate_update(&next, &object);
        kind.validate_status_update(&next, &object);
        assert_eq!(kind.row(&object, 0).len(), kind.columns().len());
    }
);
