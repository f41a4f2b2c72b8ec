//! The items that frames hold: what reads, is written again as it was.
#![no_main]

use libfuzzer_sys::fuzz_target;
use orchestra_store::fuzzing;

fuzz_target!(
    init: orchestra_fuzz::plant("items", fuzzing::item_seeds()),
    |bytes: &[u8]| fuzzing::items(bytes)
);
