//! Selectors of labels and of fields: what is read, means the same when it is written and read again.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use orchestra_core::selector::{FieldSelector, LabelSelector};

fuzz_target!(
    init: orchestra_fuzz::plant("selector", seeds()),
    |text: &str| {
        let labels = BTreeMap::from([("a".to_owned(), "b".to_owned()), ("n".to_owned(), "5".to_owned())]);
        if let Ok(selector) = LabelSelector::parse(text) {
            let again = LabelSelector::parse(&selector.to_string()).expect("what is written can be read");
            assert_eq!(again.to_string(), selector.to_string());
            assert_eq!(again.matches(&labels), selector.matches(&labels));
        }
        if let Ok(selector) = FieldSelector::parse(text) {
            let again = FieldSelector::parse(&selector.to_string()).expect("what is written can be read");
            // Terms are put in the order of their text, in which `==` may stand where `=` is written.
            assert_eq!(again.requirements().len(), selector.requirements().len());
            assert!(selector.requirements().iter().all(|one| again.requirements().contains(one)));
            selector.matches(|field| field.to_owned());
        }
    }
);

fn seeds() -> Vec<Vec<u8>> {
    [
        "a=b,c!=d,e,!f",
        "a in (b, c),d notin (e)",
        "n>4,n<6",
        "x.io/y==z",
        "metadata.name=a\\,b\\=c,spec.nodeName!=n",
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .collect()
}
