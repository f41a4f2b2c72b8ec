//! Protobuf bodies: what is read, is read again from what is written of it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use orchestra_core::protobuf::{decode_envelope, encode_envelope, encode_envelope_json};

fuzz_target!(
    init: orchestra_fuzz::plant("protobuf", orchestra_fuzz::objects().iter().filter_map(|object| encode_envelope(object).ok()).collect()),
    |bytes: &[u8]| {
        let Ok(object) = decode_envelope(bytes) else { return };
        let written = encode_envelope(&object).expect("what was read has a kind");
        assert_eq!(encode_envelope_json(object.to_string().as_bytes()).expect("a tree is JSON"), written);
        assert_eq!(decode_envelope(&written).expect("what is written can be read"), object);
    }
);
