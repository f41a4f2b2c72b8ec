use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::schema::sample::Seed;
use crate::schema::{by_name, complete, conform, types};

/// The bodies kubectl 1.32 sends, as captured.
#[test]
fn bodies_of_kubectl_are_read() {
    let bytes = b"k8s\0\n\x0f\n\x02v1\x12\tConfigMap\x12\x1b\n\x11\n\x01x\x12\x00\x1a\x00\"\x00*\x002\x008\x00B\x00\x12\x06\n\x01a\x12\x01b\x1a\x00\"\x00";
    assert_eq!(
        decode_envelope(bytes).unwrap(),
        json!({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x"},"data":{"a":"b"}})
    );
    let bytes = b"k8s\0\n\x13\n\x02v1\x12\rDeleteOptions\x12\x00\x1a\x00\"\x00";
    assert_eq!(decode_envelope(bytes).unwrap(), json!({"apiVersion":"v1","kind":"DeleteOptions"}));
    let bytes = b"k8s\0\n2\n\x17authorization.k8s.io/v1\x12\x17SelfSubjectAccessReview\x12<\n\x10\n\x00\x12\x00\x1a\x00\"\x00*\x002\x008\x00B\x00\x12\x1e\n\x1c\n\x07default\x12\x03get\x1a\x00\"\x00*\x04pods2\x00:\x00\x1a\x08\x08\x00\x12\x00\x1a\x00 \x00\x1a\x00\"\x00";
    assert_eq!(
        decode_envelope(bytes).unwrap(),
        json!({"apiVersion":"authorization.k8s.io/v1","kind":"SelfSubjectAccessReview",
            "spec":{"resourceAttributes":{"namespace":"default","verb":"get","resource":"pods"}}})
    );
    let bytes = b"k8s\0\n)\n\x0eautoscaling/v1\x12\x17HorizontalPodAutoscaler\x127\n\x11\n\x01x\x12\x00\x1a\x00\"\x00*\x002\x008\x00B\x00\x12\x1c\n\x18\n\nDeployment\x12\x01x\x1a\x07apps/v1\x18\x03\x1a\x04\x18\x00 \x00\x1a\x00\"\x00";
    assert_eq!(
        decode_envelope(bytes).unwrap(),
        json!({"apiVersion":"autoscaling/v1","kind":"HorizontalPodAutoscaler","metadata":{"name":"x"},
            "spec":{"scaleTargetRef":{"kind":"Deployment","name":"x","apiVersion":"apps/v1"},"maxReplicas":3}})
    );
}

#[test]
fn what_json_flattens_is_nested_on_the_wire() {
    let pod = json!({"apiVersion":"v1","kind":"Pod","metadata":{"creationTimestamp":"2026-01-02T03:04:05Z"},
        "spec":{"volumes":[{"name":"v","configMap":{"name":"c","defaultMode":420}}],
        "containers":[{"name":"a","resources":{"limits":{"cpu":"100m"}},
            "livenessProbe":{"httpGet":{"path":"/","port":"http"},"periodSeconds":3}}]}});
    let bytes = encode_envelope(&pod).unwrap();
    // volumes: field 1 of the spec; name 1, volumeSource 2, configMap 19 in it, its localObjectReference 1.
    let volume = b"\n\x10\n\x01v\x12\x0b\x9a\x01\x08\n\x03\n\x01c\x18\xa4\x03";
    assert!(bytes.windows(volume.len()).any(|window| window == volume), "{bytes:?}");
    assert_eq!(decode_envelope(&bytes).unwrap(), pod);
}

#[test]
fn defaults_stand_in_for_an_unnamed_kind() {
    let envelope = Envelope { api_version: "", kind: "", raw: b"" };
    assert_eq!(envelope.decode("v1", "Pod").unwrap(), json!({"apiVersion":"v1","kind":"Pod"}));
    assert!(matches!(envelope.decode("v1", "Gadget"), Err(ProtobufError::UnknownKind { .. })));
}

#[test]
fn a_body_without_envelope_is_refused() {
    assert_eq!(decode_envelope(b"{}"), Err(ProtobufError::NoEnvelope));
    assert_eq!(decode_envelope(b""), Err(ProtobufError::NoEnvelope));
}

#[test]
fn nesting_is_limited() {
    let mut schema = Vec::new();
    for _ in 0..2000 {
        let mut outer = Vec::new();
        put_bytes(&mut outer, 28, &schema); // JSONSchemaProps.not
        schema = outer;
    }
    let props = by_name("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps").unwrap();
    assert_eq!(props.field("not").unwrap().number.unwrap().path(), [28]);
    assert_eq!(decode(&schema, props), Err(ProtobufError::TooDeep));
}

/// Bodies of kubectl 1.32, as captured: what was read of one is written again byte for byte as Go wrote it.
#[test]
fn what_is_written_is_what_go_writes() {
    let captured: [&[u8]; 5] = [
        b"k8s\0\n\x0f\n\x02v1\x12\tConfigMap\x12\x1b\n\x11\n\x01x\x12\x00\x1a\x00\"\x00*\x002\x008\x00B\x00\x12\x06\n\x01a\x12\x01b\x1a\x00\"\x00",
        b"k8s\0\n(\n\x18authentication.k8s.io/v1\x12\x0cTokenRequest\x12\x1a\n\x10\n\x00\x12\x00\x1a\x00\"\x00*\x002\x008\x00B\x00\x12\x00\x1a\x04\n\x00\x12\x00\x1a\x00\"\x00",
        b"k8s\0\n2\n\x17authorization.k8s.io/v1\x12\x17SelfSubjectAccessReview\x12<\n\x10\n\x00\x12\x00\x1a\x00\"\x00*\x002\x008\x00B\x00\x12\x1e\n\x1c\n\x07default\x12\x03get\x1a\x00\"\x00*\x04pods2\x00:\x00\x1a\x08\x08\x00\x12\x00\x1a\x00 \x00\x1a\x00\"\x00",
        b"k8s\0\n)\n\x0eautoscaling/v1\x12\x17HorizontalPodAutoscaler\x127\n\x11\n\x01x\x12\x00\x1a\x00\"\x00*\x002\x008\x00B\x00\x12\x1c\n\x18\n\nDeployment\x12\x01x\x1a\x07apps/v1\x18\x03\x1a\x04\x18\x00 \x00\x1a\x00\"\x00",
        b"k8s\0\n\x13\n\x02v1\x12\rDeleteOptions\x12\x00\x1a\x00\"\x00",
    ];
    for bytes in captured {
        let value = decode_envelope(bytes).unwrap();
        assert_eq!(encode_envelope(&value).unwrap(), bytes, "{value}");
        assert_eq!(encode_envelope_json(value.to_string().as_bytes()).unwrap(), bytes, "{value}");
    }
    // `kubectl create deployment foo --image=nginx`, of which the capture has the first 160 bytes.
    let opening = b"k8s\x00\n\x15\n\x07apps/v1\x12\nDeployment\x12\xab\x01\n\x1f\n\x03foo\x12\x00\x1a\x00\"\x00*\x002\x008\x00B\x00Z\n\n\x03app\x12\x03foo\x12z\x08\x01\x12\x0c\n\n\n\x03app\x12\x03foo\x1a`\n\x1c\n\x00\x12\x00\x1a\x00\"\x00*\x002\x008\x00B\x00Z\n\n\x03app\x12\x03foo\x12@\x12\"\n\x05nginx\x12\x05nginx*\x00B\x00j\x00r\x00\x80\x01\x00\x88\x01\x00\x90\x01\x00\xa2\x01\x00\x1a\x002\x00B\x00J\x00R";
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "foo", "labels": {"app": "foo"}},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "foo"}}, "strategy": {},
            "template": {"metadata": {"labels": {"app": "foo"}},
                "spec": {"containers": [{"name": "nginx", "image": "nginx", "resources": {}}]}}},
    });
    let bytes = encode_envelope(&deployment).unwrap();
    assert!(bytes.starts_with(opening), "{bytes:?}");
}

#[test]
fn a_frame_of_a_watch_holds_a_whole_envelope() {
    let envelope =
        encode_envelope(&json!({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x"}})).unwrap();
    let frame = [frame_opening("ADDED", envelope.len()), envelope.clone()].concat();
    let (length, event) = frame.split_at(4);
    assert_eq!(u32::from_be_bytes(length.try_into().unwrap()) as usize, event.len());
    let mut reader = Reader::new(event);
    assert!(matches!(reader.next().unwrap(), Some((1, Wire::Bytes(b"ADDED")))));
    let Some((2, Wire::Bytes(object))) = reader.next().unwrap() else { panic!("no object") };
    assert!(matches!(Reader::new(object).next().unwrap(), Some((1, Wire::Bytes(raw))) if raw == envelope));
    assert!(reader.is_empty());
}

#[test]
fn of_a_key_that_comes_twice_the_first_value_counts() {
    let twice = br#"{"apiVersion":"v1","kind":"Secret","type":"a","type":"b","immutable":true}"#;
    let once = json!({"apiVersion":"v1","kind":"Secret","type":"a","immutable":true});
    assert_eq!(encode_envelope_json(twice).unwrap(), encode_envelope(&once).unwrap());
}

proptest! {
    #[test]
    fn no_bytes_make_the_decoder_panic(kind in 0..types().len(), bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes, &types()[kind]);
        let _ = decode_envelope(&[MAGIC, &bytes].concat());
    }

    #[test]
    fn damaged_messages_do_not_make_the_decoder_panic(seed in any::<u64>(), at in any::<usize>(), byte in any::<u8>()) {
        let pod = by_name("io.k8s.api.core.v1.Pod").unwrap();
        let mut bytes = encode(&Value::Object(Seed::new(seed).object(pod, 0)), pod);
        if !bytes.is_empty() {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        let _ = decode(&bytes, pod);
    }

    #[test]
    fn every_type_survives_a_round_trip(kind in 0..types().len(), seed in any::<u64>()) {
        let ty = &types()[kind];
        let mut tree = Value::Object(Seed::new(seed).object(ty, 0));
        prop_assert_eq!(conform(&mut tree, ty).unwrap(), []);
        let bytes = encode(&tree, ty);
        prop_assert_eq!(&encode_json(tree.to_string().as_bytes(), ty).unwrap(), &bytes);
        let read = decode(&bytes, ty).unwrap();
        prop_assert_eq!(&read, &tree);
        // What Go writes of what is empty does not depend on who filled it in.
        let mut whole = tree.clone();
        complete(&mut whole, ty);
        prop_assert_eq!(encode(&whole, ty), bytes);
    }
}
