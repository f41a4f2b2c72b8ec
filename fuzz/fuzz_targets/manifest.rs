//! Manifests, in YAML with aliases and in JSON: refused, or documents no larger than the limits allow.
#![no_main]

use libfuzzer_sys::fuzz_target;
use orchestra_core::manifest;
use orchestra_core::schema::{self, Format};

fuzz_target!(
    init: orchestra_fuzz::plant("manifest", seeds()),
    |text: &str| {
        let _documents = manifest::parse(text, "fuzz.yaml");
        if let Ok(decoded) = schema::decode_untyped(text.as_bytes(), Format::Yaml) {
            let json = decoded.value.to_string();
            let again = schema::decode_untyped(json.as_bytes(), Format::Json).expect("JSON was written");
            assert_eq!(again.value, decoded.value);
        }
    }
);

fn seeds() -> Vec<Vec<u8>> {
    // One that is let through: those that are refused cost the most that a text can (`bombs_are_refused`), and left no time for others.
    let mut bomb = String::from("a: &a0 lol\n");
    for level in 1..4 {
        let one = format!("*a{}", level - 1);
        bomb += &format!("b{level}: &a{level} [{}]\n", [one.as_str(); 9].join(", "));
    }
    let texts = [
        "a: 1\n---\nb: [x, {y: z}]\n",
        "{\"a\": [1, 2.5, null], \"a\": \"\\u00e9\"}",
        "a: !!binary aGk=\n<<: {b: ~}\n",
    ];
    texts.iter().map(|text| text.as_bytes().to_vec()).chain([bomb.into_bytes()]).collect()
}
