//! Opening a directory with a log: a state that makes sense, the same again, or a refusal.
#![no_main]

use libfuzzer_sys::fuzz_target;
use orchestra_store::fuzzing;

fuzz_target!(
    init: orchestra_fuzz::plant("log", fuzzing::log_seeds()),
    |bytes: &[u8]| fuzzing::log(bytes)
);
