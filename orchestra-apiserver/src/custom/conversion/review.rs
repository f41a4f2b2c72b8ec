//! What is asked of a conversion webhook, and whether its answer is one. Pure.
//!
//! Words follow upstream's `k8s.io/apiextensions-apiserver/pkg/apiserver/conversion`, because clients see them.

use orchestra_core::go;
use orchestra_core::meta::{validate_annotations, validate_labels};
use orchestra_core::violation::{FieldPath, Violations};
use serde::Deserialize;
use serde_json::{Map, Value, json};

const GROUP: &str = "apiextensions.k8s.io";
const KIND: &str = "ConversionReview";

/// The forms of a review this server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Review {
    V1,
    V1Beta1,
}

impl Review {
    /// The first of these versions that is spoken here.
    pub(super) fn first_of<'v>(versions: impl IntoIterator<Item = &'v str>) -> Option<Self> {
        versions.into_iter().find_map(|version| match version {
            "v1" => Some(Self::V1),
            "v1beta1" => Some(Self::V1Beta1),
            _ => None,
        })
    }

    fn version(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V1Beta1 => "v1beta1",
        }
    }
}

/// The question: these objects, in the version `desired`.
pub(super) fn question(review: Review, uid: &str, desired: &str, objects: &[&Value]) -> Value {
    json!({
        "kind": KIND,
        "apiVersion": format!("{GROUP}/{}", review.version()),
        "request": {"uid": uid, "desiredAPIVersion": desired, "objects": objects},
    })
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Reviewed {
    api_version: String,
    kind: String,
    response: Option<Response>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Response {
    uid: String,
    converted_objects: Option<Vec<Value>>,
    result: Outcome,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Outcome {
    status: Option<String>,
    message: Option<String>,
}

/// The objects of an answer to the question `uid`.
pub(super) fn answer(review: Review, uid: &str, body: &[u8]) -> Result<Vec<Value>, String> {
    let tree: Value = serde_json::from_slice(body)
        .map_err(|error| format!("couldn't get version/kind; json parse error: {error}"))?;
    if tree.get("kind").and_then(Value::as_str).unwrap_or_default().is_empty() {
        let shown: String = String::from_utf8_lossy(body).chars().take(1024).collect();
        return Err(format!("Object 'Kind' is missing in '{shown}'"));
    }
    let reviewed: Reviewed = serde_json::from_value(tree).map_err(|error| error.to_string())?;
    if review == Review::V1 {
        let got = (reviewed.api_version.as_str(), reviewed.kind.as_str());
        if got != ("apiextensions.k8s.io/v1", KIND) {
            return Err(format!(
                "expected webhook response of {GROUP}/v1, Kind={KIND}, got {}, Kind={}",
                got.0, got.1
            ));
        }
    }
    let Some(response) = reviewed.response else { return Err("no response provided".to_owned()) };
    if review == Review::V1 && response.uid != uid {
        return Err(format!("expected response.uid={uid:?}, got {:?}", response.uid));
    }
    let status = response.result.status.unwrap_or_default();
    if status != "Success" {
        let message = response.result.message.unwrap_or_default();
        return Err(match message.as_str() {
            "" => format!("response.result.status was '{status}', not 'Success'"),
            _ => message,
        });
    }
    Ok(response.converted_objects.unwrap_or_default())
}

/// What is wrong with one object of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// It is another object, or none.
    Object(String),
    /// Its version or kind is not what was asked for.
    Kind(String),
    /// Its labels or annotations cannot be taken.
    Metadata(String),
}

/// The converted object that takes the place of `original`: the webhook decides on everything but metadata, and of
/// that on labels and annotations.
pub(super) fn accept(original: &Value, converted: Value, desired: &str) -> Result<Value, Flaw> {
    let Value::Object(mut converted) = converted else {
        return Err(Flaw::Object("cannot unmarshal a value that is no object".to_owned()));
    };
    let text = |object: &Map<String, Value>, field: &str| {
        object.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let before = original.as_object().cloned().unwrap_or_default();
    let (version, kind) = (text(&converted, "apiVersion"), text(&converted, "kind"));
    if kind.is_empty() {
        let shown: String = Value::Object(converted).to_string().chars().take(1024).collect();
        return Err(Flaw::Object(format!("Object 'Kind' is missing in '{shown}'")));
    }
    if version != desired {
        return Err(Flaw::Kind(format!("invalid groupVersion (expected {desired}, received {version})")));
    }
    if kind != text(&before, "kind") {
        return Err(Flaw::Kind(format!(
            "invalid kind (expected {}, received {kind})",
            text(&before, "kind")
        )));
    }
    let own = before.get("metadata").and_then(Value::as_object).cloned().unwrap_or_default();
    let said = match converted.remove("metadata") {
        Some(Value::Object(said)) => said,
        None => {
            same_identity(&own, &Map::new())?;
            return Err(Flaw::Metadata("missing metadata in converted object".to_owned()));
        }
        Some(other) => {
            same_identity(&own, &Map::new())?;
            let what = go::type_of(&other);
            return Err(Flaw::Metadata(format!("invalid metadata of type {what} in converted object")));
        }
    };
    same_identity(&own, &said)?;
    converted.insert("metadata".to_owned(), metadata(own, said)?.into());
    Ok(Value::Object(converted))
}

fn same_identity(own: &Map<String, Value>, said: &Map<String, Value>) -> Result<(), Flaw> {
    for (field, called) in [("name", "name"), ("namespace", "namespace"), ("uid", "UID")] {
        let text =
            |map: &Map<String, Value>| map.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (was, is) = (text(own), text(said));
        if was != is {
            return Err(Flaw::Object(format!("must have the same {called}: {was} != {is}")));
        }
    }
    Ok(())
}

/// The original's metadata with the labels and annotations of the answer.
fn metadata(mut own: Map<String, Value>, mut said: Map<String, Value>) -> Result<Map<String, Value>, Flaw> {
    for field in ["labels", "annotations"] {
        let new = match said.remove(field) {
            None | Some(Value::Null) => {
                own.remove(field);
                continue;
            }
            Some(Value::Object(new)) => new,
            Some(other) => {
                let what = go::type_of(&other);
                let why = format!("invalid metadata.{field} of type {what} in converted object");
                return Err(Flaw::Metadata(why));
            }
        };
        for (key, value) in &new {
            if !value.is_string() {
                let what = go::type_of(value);
                let why =
                    format!("metadata.{field}[{key}] must be a string, but is {what} in converted object");
                return Err(Flaw::Metadata(why));
            }
        }
        let new = Value::Object(new);
        if own.get(field) != Some(&new) {
            let path = FieldPath::new("metadata");
            let wrong = match field {
                "labels" => validate_labels(&new, &path.child("labels")),
                _ => validate_annotations(&new, &path.child("annotation")),
            };
            if !wrong.is_empty() {
                return Err(Flaw::Metadata(aggregate(&wrong)));
            }
        }
        own.insert(field.to_owned(), new);
    }
    Ok(own)
}

/// Several errors as one text, each once.
fn aggregate(violations: &Violations) -> String {
    let mut all: Vec<String> = Vec::new();
    for violation in violations {
        let text = violation.to_string();
        if !all.contains(&text) {
            all.push(text);
        }
    }
    match all.as_slice() {
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(version: &str) -> Value {
        json!({"apiVersion": version, "kind": "Lamp", "spec": {"watts": 1}, "metadata": {
            "name": "a", "namespace": "n", "uid": "u", "generation": 3, "labels": {"a": "b"}, "finalizers": ["x/y"]}})
    }

    fn said(response: Value) -> Result<Vec<Value>, String> {
        let review = json!({"kind": KIND, "apiVersion": "apiextensions.k8s.io/v1", "response": response});
        answer(Review::V1, "u", review.to_string().as_bytes())
    }

    #[test]
    fn an_answer_must_be_one_to_the_question() {
        let failed = |response: Value| said(response).unwrap_err();
        assert_eq!(failed(Value::Null), "no response provided");
        assert_eq!(failed(json!({"uid": "v"})), "expected response.uid=\"u\", got \"v\"");
        assert_eq!(failed(json!({"uid": "u"})), "response.result.status was '', not 'Success'");
        let refused = json!({"uid": "u", "result": {"status": "Failure", "message": "cannot"}});
        assert_eq!(failed(refused), "cannot");
        let fine = json!({"uid": "u", "result": {"status": "Success"}, "convertedObjects": [1]});
        assert_eq!(said(fine).unwrap(), [json!(1)]);
        let other = json!({"kind": "X", "apiVersion": "v1", "response": {"uid": "u"}}).to_string();
        assert_eq!(
            answer(Review::V1, "u", other.as_bytes()).unwrap_err(),
            "expected webhook response of apiextensions.k8s.io/v1, Kind=ConversionReview, got v1, Kind=X"
        );
        for garbage in ["<html>", "{}", "[]", "", "\"x\""] {
            assert!(answer(Review::V1, "u", garbage.as_bytes()).is_err(), "{garbage}");
        }
    }

    #[test]
    fn the_older_form_is_not_asked_for_its_uid() {
        let review =
            json!({"kind": KIND, "response": {"result": {"status": "Success"}, "convertedObjects": []}});
        assert_eq!(answer(Review::V1Beta1, "u", review.to_string().as_bytes()), Ok(Vec::new()));
        assert_eq!(Review::first_of(["v7", "v1beta1", "v1"]), Some(Review::V1Beta1));
        assert_eq!(Review::first_of(["v7"]), None);
    }

    #[test]
    fn of_the_metadata_only_labels_and_annotations_change() {
        let mut converted = object("g/v2");
        converted["metadata"]["labels"] = json!({"c": "d"});
        converted["metadata"]["annotations"] = json!({"e": "f"});
        converted["metadata"]["generation"] = json!(9);
        converted["metadata"]["finalizers"] = json!([]);
        converted["spec"] = json!({"lumen": 1});
        let taken = accept(&object("g/v1"), converted, "g/v2").unwrap();
        let mut wanted = object("g/v2");
        wanted["metadata"]["labels"] = json!({"c": "d"});
        wanted["metadata"]["annotations"] = json!({"e": "f"});
        wanted["spec"] = json!({"lumen": 1});
        assert_eq!(taken, wanted);
        let mut none = object("g/v2");
        none["metadata"]["labels"] = Value::Null;
        assert!(accept(&object("g/v1"), none, "g/v2").unwrap()["metadata"].get("labels").is_none());
    }

    #[test]
    fn another_object_is_refused() {
        let flaw = |change: &dyn Fn(&mut Value)| {
            let mut converted = object("g/v2");
            change(&mut converted);
            accept(&object("g/v1"), converted, "g/v2").unwrap_err()
        };
        let is = |flaw: Flaw, text: &str| match flaw {
            Flaw::Object(why) | Flaw::Kind(why) | Flaw::Metadata(why) => assert_eq!(why, text),
        };
        is(flaw(&|o| o["metadata"]["name"] = "b".into()), "must have the same name: a != b");
        is(flaw(&|o| o["metadata"]["uid"] = "w".into()), "must have the same UID: u != w");
        is(flaw(&|o| o["kind"] = "Fan".into()), "invalid kind (expected Lamp, received Fan)");
        is(flaw(&|o| o["apiVersion"] = "g/v1".into()), "invalid groupVersion (expected g/v2, received g/v1)");
        is(
            flaw(&|o| o["metadata"]["labels"] = json!({"a": 1})),
            "metadata.labels[a] must be a string, but is int64 in converted object",
        );
        is(
            flaw(&|o| o["metadata"]["annotations"] = json!([])),
            "invalid metadata.annotations of type []interface {} in converted object",
        );
        assert!(matches!(flaw(&|o| o["metadata"]["labels"] = json!({"-": "x"})), Flaw::Metadata(_)));
        assert!(matches!(flaw(&|o| *o = json!(3)), Flaw::Object(_)));
    }
}
