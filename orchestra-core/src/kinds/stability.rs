//! What is stored of every kind, is what is read, in every form; and who applies or puts back what he read, changes nothing.

use proptest::prelude::*;
use serde_json::Value;

use super::Registry;
use crate::kind::{Kind, Subresource};
use crate::patch::apply::{self, Applied, Author, Force, Schema, Target, Versions};
use crate::protobuf::{decode_envelope, encode_envelope, encode_envelope_json};
use crate::schema::sample::{Seed, cases};
use crate::schema::{self, Format, ObjectType, complete, conform};

fn shape(kind: &dyn Kind) -> &'static ObjectType {
    let description = kind.description();
    schema::of_kind(&description.gv, &description.kind).expect("every kind has a shape")
}

fn named(kind: &dyn Kind, mut object: Value) -> Value {
    let description = kind.description();
    object["apiVersion"] = description.gv.to_string().into();
    object["kind"] = description.kind.as_ref().into();
    object
}

/// Takes a lean object as the server does on its way to the store, rules aside.
fn stored(kind: &dyn Kind, live: Option<&Value>, mut object: Value, account: Option<Value>) -> Value {
    let ty = shape(kind);
    kind.default(&mut object);
    complete(&mut object, ty);
    match live {
        Some(live) => kind.prepare_update(&mut object, live),
        None => kind.prepare_create(&mut object),
    }
    complete(&mut object, ty);
    let metadata = object["metadata"].as_object_mut().expect("an object has metadata");
    metadata.remove("managedFields");
    metadata.extend(account.map(|account| ("managedFields".to_owned(), account)));
    object
}

/// Calls `then` with the author and the target that a write to the main resource has.
fn writing<T>(kind: &dyn Kind, then: impl FnOnce(Author<'_>, Target<'_>) -> T) -> T {
    let api_version = kind.description().gv.to_string();
    let author =
        Author { manager: "m", api_version: &api_version, subresource: "", now: "2026-01-01T00:00:00Z" };
    let has_status = kind.description().subresources.contains(&Subresource::Status);
    let ignored: &[&[&str]] = if has_status { &[&["status"]] } else { &[] };
    then(author, Target { schema: Schema::Builtin(shape(kind)), versions: Versions::Apart, ignored })
}

fn applied(kind: &dyn Kind, live: Option<&Value>, config: &Value) -> Value {
    let Applied { mut object, account } =
        writing(kind, |author, target| apply::apply(live, config, author, target, Force::No))
            .expect("it applies");
    conform(&mut object, shape(kind)).expect("what was merged fits");
    stored(kind, live, object, account)
}

/// What a client has that reads an object and leaves out whose fields are whose.
fn read(object: &Value) -> Value {
    let mut object = object.clone();
    object["metadata"].as_object_mut().expect("an object has metadata").remove("managedFields");
    object
}

proptest! {
    #![proptest_config(cases(16))]

    #[test]
    fn what_is_applied_stays_as_it_was_stored(seed in any::<u64>()) {
        for kind in Registry::builtin().iter().map(AsRef::as_ref) {
            let mut config = named(kind, Seed::new(seed).tidy(shape(kind)));
            // Who sets nothing manages nothing, and the object counts as made before the first apply; as upstream.
            config["metadata"]["labels"]["of"] = "mine".into();
            let first = applied(kind, None, &config);
            prop_assert_eq!(&applied(kind, Some(&first), &config), &first, "{:?}, applied again", kind);

            let whole = applied(kind, Some(&first), &read(&first));
            prop_assert_eq!(read(&whole), read(&first), "{:?}, applied as it was read", kind);
            prop_assert_eq!(&applied(kind, Some(&whole), &read(&whole)), &whole, "{:?}, and once more", kind);
        }
    }

    #[test]
    fn what_is_put_back_stays_as_it_was_stored(seed in any::<u64>()) {
        for kind in Registry::builtin().iter().map(AsRef::as_ref) {
            let ty = shape(kind);
            let mut seed = Seed::new(seed);
            for sent in [seed.tidy(ty), Value::Object(seed.object(ty, 0))] {
                let mut sent = named(kind, sent);
                conform(&mut sent, ty).expect("samples fit");
                let account = writing(kind, |author, target| apply::track(None, &sent, author, target)).expect("one version");
                let first = stored(kind, None, sent, account);

                let text = first.to_string();
                let decoded = schema::decode(text.as_bytes(), Format::Json, ty).expect("what is stored can be read");
                prop_assert_eq!(&decoded.problems, &[], "{:?}", kind);
                let mut again = decoded.value;
                complete(&mut again, ty);
                prop_assert_eq!(&again, &first, "{:?}, read", kind);

                let account = writing(kind, |author, target| apply::track(Some(&first), &again, author, target)).expect("one version");
                let second = stored(kind, Some(&first), again, account);
                prop_assert_eq!(&second, &first, "{:?}, put back", kind);
            }
        }
    }

    #[test]
    fn every_kind_is_the_same_in_protobuf(seed in any::<u64>()) {
        for kind in Registry::builtin().iter().map(AsRef::as_ref) {
            let ty = shape(kind);
            let mut seed = Seed::new(seed);
            for sent in [seed.tidy(ty), Value::Object(seed.object(ty, 0))] {
                let mut object = named(kind, sent);
                conform(&mut object, ty).expect("samples fit");
                let object = stored(kind, None, object, None);
                let bytes = encode_envelope(&object).expect("every kind has a message");
                prop_assert_eq!(&encode_envelope_json(object.to_string().as_bytes()), &Ok(bytes.clone()), "{:?}", kind);
                let mut back = decode_envelope(&bytes).expect("what is written can be read");
                // Messages have no room for the version and kind of the claims of a StatefulSet; they are defaults.
                kind.default(&mut back);
                complete(&mut back, ty);
                prop_assert_eq!(back, object, "{:?}", kind);
            }
        }
    }
}
