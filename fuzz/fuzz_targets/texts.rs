//! Small languages: quantities, schedules, paths into objects, patterns of schemas.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use orchestra_core::cron::Schedule;
use orchestra_core::jsonpath::{JsonPath, Missing};
use orchestra_core::quantity::Quantity;
use orchestra_core::structural::Pattern;
use serde_json::Value;

static OBJECTS: LazyLock<Vec<Value>> = LazyLock::new(orchestra_fuzz::objects);

fuzz_target!(
    init: orchestra_fuzz::plant("texts", seeds()),
    |text: &str| {
        if let Ok(quantity) = Quantity::parse(text) {
            let written = quantity.to_string();
            assert_eq!(Quantity::parse(&written).expect("what is written can be read").to_string(), written);
            assert_eq!(Quantity::rewrite(&written).expect("it can"), written);
        }
        if let Ok(schedule) = Schedule::parse(text) {
            let zone = orchestra_core::cron::zone("Europe/Berlin").expect("a zone");
            let after = "2026-03-28T00:00:00Z".parse().expect("a time");
            assert!(schedule.next(after, &zone).is_none_or(|next| next > after));
        }
        for path in [JsonPath::parse(text), JsonPath::parse_relaxed(text)].into_iter().flatten() {
            for object in OBJECTS.iter().take(4) {
                let _ = path.render(object, Missing::Skipped);
                let _ = path.find(object, Missing::Refused);
            }
        }
        Pattern::new(text).is_match("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab");
    }
);

fn seeds() -> Vec<Vec<u8>> {
    [
        "100m",
        "1.5Gi",
        "-12e3",
        "5 4 * * 1-5/2",
        "@every 90m",
        "0 0 29 2 *",
        "{.spec.containers[*].name}",
        ".a.b",
        "{range .items[?(@.x==\"y\")]}{.a..b[1:-1:2]}{end}",
        "^(a+)+$",
        "[a-z]{1,9}",
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .collect()
}
