//! Reading a snapshot: refused, or restored to what it says.
#![no_main]

use libfuzzer_sys::fuzz_target;
use orchestra_store::fuzzing;

fuzz_target!(
    init: orchestra_fuzz::plant("snapshot", fuzzing::snapshot_seeds()),
    |bytes: &[u8]| fuzzing::snapshot(bytes)
);
