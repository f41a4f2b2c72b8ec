//! JSON patches (RFC 6902), with the habits of the library upstream uses (`evanphx/json-patch`, version 4).
//!
//! It differs from the RFC: `replace` of a missing key of a map sets it, `copy` of one copies `null`, `test` of one
//! against `null` passes, and negative indices count from the end of a list. So the `json-patch` crate, which keeps
//! to the RFC, does not serve here.

use std::fmt;

use serde_json::{Map, Value};

use super::PatchError;

/// How many operations a patch may have.
pub const MAX_OPERATIONS: usize = 10_000;
/// By how many places all operations of a patch may shift the items of lists together: each one that opens or closes a
/// gap moves all items behind it.
pub const MAX_SHIFTED: usize = 100_000_000;
/// How many bytes all `copy` operations of a patch may copy together; doubling copies would grow without bound.
pub const MAX_COPIED: usize = 3 * 1024 * 1024;

#[derive(Debug)]
struct Operation<'p> {
    op: &'p str,
    path: &'p str,
    from: Option<&'p str>,
    value: &'p Value,
}

/// Applies `patch`, a list of operations, to `target`; all of them or none.
///
/// # Errors
/// The patch is no list of operations, has too many, or one of them does not fit the object.
pub fn apply(target: &Value, patch: &Value) -> Result<Value, PatchError> {
    match patched(target, patch)? {
        Ok(document) => Ok(document),
        Err(cause) => Err(PatchError::Unprocessable { cause: cause.to_string() }),
    }
}

/// [`apply`] where a `test` that fails means that there is nothing to do: `None`.
///
/// # Errors
/// As [`apply`].
pub fn apply_if_it_holds(target: &Value, patch: &Value) -> Result<Option<Value>, PatchError> {
    match patched(target, patch)? {
        Ok(document) => Ok(Some(document)),
        Err(Misfit::Test(_)) => Ok(None),
        Err(cause) => Err(PatchError::Unprocessable { cause: cause.to_string() }),
    }
}

fn patched(target: &Value, patch: &Value) -> Result<Result<Value, Misfit>, PatchError> {
    let operations = decode(patch)?;
    let mut document = target.clone();
    let mut spent = Spent::default();
    let run = |operation| run(&mut document, operation, &mut spent);
    Ok(operations.iter().try_for_each(run).map(|()| document))
}

/// Why an operation does not fit the document.
#[derive(Debug)]
enum Misfit {
    /// It is a test, of this path, and fails.
    Test(String),
    Other(String),
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Test(path) => write!(f, "testing value {path} failed: test failed"),
            Self::Other(why) => f.write_str(why),
        }
    }
}

impl From<String> for Misfit {
    fn from(why: String) -> Self {
        Self::Other(why)
    }
}

/// Members of operations that RFC 6902 does not know, worded as the API server's warnings (`fieldValidation=Warn`)
/// and errors (`Strict`) are.
pub fn unknown_members(patch: &Value) -> Vec<String> {
    let operations = patch.as_array().into_iter().flatten().enumerate();
    operations
        .flat_map(|(i, operation)| {
            operation.as_object().into_iter().flat_map(Map::keys).map(move |key| (i, key))
        })
        .filter(|(_, key)| !matches!(key.as_str(), "op" | "path" | "from" | "value"))
        .map(|(i, key)| format!("json patch unknown field \"[{i}].{key}\""))
        .collect()
}

/// What Go's decoder calls a value's type.
pub(super) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn malformed(found: &Value, wanted: &str) -> PatchError {
    let found = type_name(found);
    PatchError::Malformed(format!("error decoding patch: json: cannot unmarshal {found} into Go {wanted}"))
}

fn decode(patch: &Value) -> Result<Vec<Operation<'_>>, PatchError> {
    let items = match patch {
        Value::Array(items) => items,
        // Go's decoder takes null for an empty list.
        Value::Null => return Ok(Vec::new()),
        other => return Err(malformed(other, "value of type []handlers.jsonPatchOp")),
    };
    if items.len() > MAX_OPERATIONS {
        return Err(PatchError::TooLarge(format!(
            "The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {}",
            items.len()
        )));
    }
    items.iter().map(decode_operation).collect()
}

fn decode_operation(item: &Value) -> Result<Operation<'_>, PatchError> {
    let Value::Object(item) = item else { return Err(malformed(item, "value of type handlers.jsonPatchOp")) };
    let text = |member: &str| match item.get(member) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(other) => Err(malformed(other, &format!("struct field jsonPatchOp.{member} of type string"))),
    };
    Ok(Operation {
        op: text("op")?.unwrap_or("unknown"),
        path: text("path")?.ok_or_else(|| missing_path("path"))?,
        from: text("from")?,
        value: item.get("value").unwrap_or(&Value::Null),
    })
}

fn missing_path(member: &str) -> PatchError {
    PatchError::Unprocessable { cause: format!("operation missing {member} field") }
}

/// What the operations of a patch have cost.
#[derive(Debug, Default)]
struct Spent {
    copied: usize,
    shifted: usize,
}

impl Spent {
    fn shift(&mut self, items: usize) -> Result<(), Lost> {
        self.shifted = self.shifted.saturating_add(items);
        if self.shifted > MAX_SHIFTED {
            let why = format!("operations shift items of lists by more than {MAX_SHIFTED} places");
            return Err(Lost::Other(why));
        }
        Ok(())
    }
}

fn run(document: &mut Value, operation: &Operation<'_>, spent: &mut Spent) -> Result<(), Misfit> {
    let Operation { op, path, from, value } = *operation;
    let from = from.ok_or_else(|| format!("{op} operation misses from"));
    let done = match op {
        "add" => add(document, path, value.clone(), spent),
        "remove" => remove(document, path, spent).map(drop),
        "replace" => replace(document, path, value),
        "move" => {
            let moved = remove(document, from?, spent).map_err(|why| why.of(op))?;
            add(document, path, moved, spent)
        }
        "copy" => {
            let source = get(document, from?).map_err(|why| why.of(op))?.cloned().unwrap_or_default();
            spent.copied = spent.copied.saturating_add(encoded_length(&source));
            if spent.copied > MAX_COPIED {
                return Err(format!("copy operations exceed {MAX_COPIED} bytes").into());
            }
            add(document, path, source, spent)
        }
        "test" => {
            let found = if path.is_empty() {
                Some(&*document)
            } else {
                get(document, path).map_err(|why| why.of(op))?
            };
            if !same(found.unwrap_or(&Value::Null), value) {
                return Err(Misfit::Test(path.to_owned()));
            }
            Ok(())
        }
        other => return Err(format!("unexpected kind of operation: {other}").into()),
    };
    done.map_err(|why| why.of(op))
}

/// Why a place of the document cannot be changed.
#[derive(Debug)]
enum Lost {
    /// It is not there.
    Path(String),
    Other(String),
}

impl Lost {
    /// In the words of the library that upstream uses.
    fn of(self, op: &str) -> Misfit {
        match self {
            Self::Path(path) => Misfit::Other(format!(
                "{op} operation does not apply: doc is missing path: {path}: missing value"
            )),
            Self::Other(why) => Misfit::Other(why),
        }
    }
}

fn encoded_length(value: &Value) -> usize {
    // Writing a tree to memory cannot fail; were it to, no copy would be allowed.
    serde_json::to_vec(value).map_or(usize::MAX, |bytes| bytes.len())
}

fn missing(path: &str) -> Lost {
    Lost::Path(path.to_owned())
}

fn unescape(part: &str) -> String {
    part.replace("~1", "/").replace("~0", "~")
}

// A path's last part, and the map or list it is a key or index of.
fn parent<'d>(document: &'d mut Value, path: &str) -> Result<(&'d mut Value, String), Lost> {
    let (_, parts) = path.split_once('/').ok_or_else(|| missing(path))?;
    let (before, key) = parts.rsplit_once('/').map_or((None, parts), |(before, key)| (Some(before), key));
    let mut at = document;
    for part in before.into_iter().flat_map(|before| before.split('/')) {
        at = match at {
            Value::Object(map) => map.get_mut(&unescape(part)),
            Value::Array(items) => index(part, items.len()).and_then(|i| items.get_mut(i)),
            _ => None,
        }
        .ok_or_else(|| missing(path))?;
    }
    if at.is_object() || at.is_array() { Ok((at, unescape(key))) } else { Err(missing(path)) }
}

// The index `part` means in a list of `length` items; negative ones count from the end.
fn index(part: &str, length: usize) -> Option<usize> {
    let number: i64 = part.parse().ok()?;
    if number < 0 {
        return length.checked_sub(usize::try_from(number.unsigned_abs()).ok()?);
    }
    usize::try_from(number).ok().filter(|i| *i < length)
}

fn add(document: &mut Value, path: &str, value: Value, spent: &mut Spent) -> Result<(), Lost> {
    if path.is_empty() {
        return set_root(document, &value);
    }
    match parent(document, path)? {
        (Value::Object(map), key) => {
            map.insert(key, value);
        }
        (Value::Array(items), key) => {
            // One place more than there are items: behind the last.
            let place = if key == "-" { Some(items.len()) } else { index(&key, items.len() + 1) };
            let place = place.ok_or_else(|| missing(path))?;
            spent.shift(items.len() - place)?;
            items.insert(place, value);
        }
        _ => return Err(missing(path)),
    }
    Ok(())
}

fn set_root(document: &mut Value, value: &Value) -> Result<(), Lost> {
    if !value.is_object() && !value.is_array() {
        return Err(Lost::Other("the document can only become an object or array".to_owned()));
    }
    *document = value.clone();
    Ok(())
}

fn remove(document: &mut Value, path: &str, spent: &mut Spent) -> Result<Value, Lost> {
    match parent(document, path)? {
        (Value::Object(map), key) => map.remove(&key).ok_or_else(|| {
            Lost::Other(format!(
                "error in remove for path: '{path}': Unable to remove nonexistent key: {key}: missing value"
            ))
        }),
        (Value::Array(items), key) => {
            let place = index(&key, items.len()).ok_or_else(|| missing(path))?;
            spent.shift(items.len() - place)?;
            Ok(items.remove(place))
        }
        _ => Err(missing(path)),
    }
}

fn replace(document: &mut Value, path: &str, value: &Value) -> Result<(), Lost> {
    if path.is_empty() {
        return set_root(document, value);
    }
    match parent(document, path)? {
        (Value::Object(map), key) => {
            map.insert(key, value.clone());
            Ok(())
        }
        (Value::Array(items), key) => {
            let item =
                index(&key, items.len()).and_then(|i| items.get_mut(i)).ok_or_else(|| missing(path))?;
            *item = value.clone();
            Ok(())
        }
        _ => Err(missing(path)),
    }
}

// `None` is a missing key of a map that is there.
fn get<'d>(document: &'d mut Value, path: &str) -> Result<Option<&'d Value>, Lost> {
    match parent(document, path)? {
        (Value::Object(map), key) => Ok(map.get(&key)),
        (Value::Array(items), key) => {
            let place = index(&key, items.len()).ok_or_else(|| missing(path))?;
            Ok(items.get(place))
        }
        _ => Err(missing(path)),
    }
}

// Equal as JSON: 1 and 1.0 are the same number.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn patched(target: Value, patch: Value) -> Value {
        apply(&target, &patch).unwrap()
    }

    fn refused(target: Value, operation: Value) -> PatchError {
        apply(&target, &json!([operation])).unwrap_err()
    }

    #[test]
    fn the_operations_of_the_rfc_work() {
        let target = json!({"a": {"b~c/d": 1}, "list": [1, 2, 3]});
        for (operation, result) in [
            (
                json!({"op": "add", "path": "/a/x", "value": {"y": null}}),
                json!({"a": {"b~c/d": 1, "x": {"y": null}}, "list": [1, 2, 3]}),
            ),
            (
                json!({"op": "add", "path": "/list/1", "value": 9}),
                json!({"a": {"b~c/d": 1}, "list": [1, 9, 2, 3]}),
            ),
            (
                json!({"op": "add", "path": "/list/-", "value": 9}),
                json!({"a": {"b~c/d": 1}, "list": [1, 2, 3, 9]}),
            ),
            (
                json!({"op": "add", "path": "/list/3", "value": 9}),
                json!({"a": {"b~c/d": 1}, "list": [1, 2, 3, 9]}),
            ),
            (json!({"op": "remove", "path": "/a/b~0c~1d"}), json!({"a": {}, "list": [1, 2, 3]})),
            (
                json!({"op": "replace", "path": "/list/0", "value": 9}),
                json!({"a": {"b~c/d": 1}, "list": [9, 2, 3]}),
            ),
            (json!({"op": "move", "from": "/list", "path": "/a"}), json!({"a": [1, 2, 3]})),
            (
                json!({"op": "copy", "from": "/list/2", "path": "/b"}),
                json!({"a": {"b~c/d": 1}, "b": 3, "list": [1, 2, 3]}),
            ),
            (json!({"op": "test", "path": "/list", "value": [1, 2, 3.0]}), target.clone()),
        ] {
            assert_eq!(patched(target.clone(), json!([operation])), result, "{operation}");
        }
    }

    #[test]
    fn what_shifts_long_lists_again_and_again_is_refused() {
        let list = json!({"list": vec![0; 200_000]});
        let front = json!({"op": "add", "path": "/list/0", "value": 1});
        let error = apply(&list, &Value::from(vec![front.clone(); MAX_OPERATIONS])).unwrap_err();
        assert_eq!(error.status(), 422);
        let back = json!({"op": "add", "path": "/list/-", "value": 1});
        assert!(apply(&list, &Value::from(vec![back; MAX_OPERATIONS])).is_ok());
        assert!(apply(&list, &Value::from(vec![front; 100])).is_ok());
    }

    #[test]
    fn a_missing_key_of_a_map_can_be_replaced_and_copied() {
        assert_eq!(patched(json!({}), json!([{"op": "replace", "path": "/a", "value": 1}])), json!({"a": 1}));
        assert_eq!(
            patched(json!({}), json!([{"op": "copy", "from": "/x", "path": "/a"}])),
            json!({"a": null})
        );
        assert_eq!(patched(json!({}), json!([{"op": "test", "path": "/a", "value": null}])), json!({}));
    }

    #[test]
    fn negative_indices_count_from_the_end() {
        assert_eq!(
            patched(json!({"a": [1, 2]}), json!([{"op": "remove", "path": "/a/-1"}])),
            json!({"a": [1]})
        );
        assert_eq!(
            patched(json!({"a": [1]}), json!([{"op": "add", "path": "/a/-1", "value": 2}])),
            json!({"a": [1, 2]})
        );
        assert_eq!(refused(json!({"a": [1]}), json!({"op": "remove", "path": "/a/-2"})).status(), 422);
    }

    #[test]
    fn what_does_not_fit_is_unprocessable_with_a_generic_text() {
        for operation in [
            json!({"op": "remove", "path": "/x"}),
            json!({"op": "remove", "path": ""}),
            json!({"op": "replace", "path": "/list/1", "value": 1}),
            json!({"op": "add", "path": "/x/y", "value": 1}),
            json!({"op": "add", "path": "/s/y", "value": 1}),
            json!({"op": "add", "path": "/list/2", "value": 1}),
            json!({"op": "add", "path": "no-slash", "value": 1}),
            json!({"op": "test", "path": "/s", "value": "other"}),
            json!({"op": "move", "path": "/s"}),
            json!({"op": "grow", "path": "/s"}),
            json!({"path": "/s"}),
        ] {
            let error = refused(json!({"s": "t", "list": [0]}), operation.clone());
            assert_eq!(error.status(), 422, "{operation}");
            assert_eq!(error.to_string(), "the server rejected our request due to an error in our request");
        }
    }

    #[test]
    fn what_is_no_patch_is_malformed() {
        for patch in [json!({}), json!(1), json!(["x"]), json!([{"op": 1, "path": "/a"}])] {
            assert_eq!(apply(&json!({}), &patch).unwrap_err().status(), 400, "{patch}");
        }
    }

    #[test]
    fn too_many_operations_are_too_large() {
        let test = json!({"op": "test", "path": "", "value": {}});
        let error = apply(&json!({}), &Value::from(vec![test.clone(); MAX_OPERATIONS + 1])).unwrap_err();
        assert_eq!(error.status(), 413);
        assert_eq!(error.to_string(), "The allowed maximum operations in a JSON patch is 10000, got 10001");
        assert!(apply(&json!({}), &Value::from(vec![test; MAX_OPERATIONS])).is_ok());
    }

    #[test]
    fn copies_cannot_grow_without_bound() {
        let double = |from: &str, path: &str| json!({"op": "copy", "from": from, "path": path});
        let mut patch = vec![json!({"op": "add", "path": "/a", "value": {"s": "x".repeat(1000)}})];
        for i in 0..40 {
            patch.push(double("/a", &format!("/a/{i}")));
        }
        assert_eq!(apply(&json!({}), &Value::from(patch)).unwrap_err().status(), 422);
    }

    #[test]
    fn unknown_members_are_named_with_their_operation() {
        let patch = json!([{"op": "test", "path": ""}, {"op": "test", "valeu": 1}]);
        assert_eq!(unknown_members(&patch), [r#"json patch unknown field "[1].valeu""#]);
    }
}
