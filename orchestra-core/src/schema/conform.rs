//! Fits a tree to its type: prunes, checks, makes lean.
//!
//! Follows `sigs.k8s.io/json`, the decoder of the API server: problems in the order of the document, at most a
//! hundred and none twice; a wrong type does not end the walk, and the first one found is the error; a value whose type
//! reads itself (a time, a quantity) ends it at once.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::go_type::{element_type, go_type};
use super::lean::{is_zero, zero_entry};
use super::model::{Field, Item, ObjectType, Scalar, Shape};
use super::problem::{DecodeError, Problem};
use super::scalar;
use super::tree::Tree;
use super::{index, tree};

const MAX_PROBLEMS: usize = 100;

/// Makes `value` a lean tree of type `ty`, as [`super::decode`] would have read it. Unknown fields are pruned and
/// reported. On an error `value` is left as null.
///
/// Upstream answers a patch whose result does not conform with 422 `Invalid`, where a body gets 400.
pub fn conform(value: &mut Value, ty: &'static ObjectType) -> Result<Vec<Problem>, DecodeError> {
    let (conformed, problems) = conform_tree(value.take().into(), ty)?;
    *value = conformed;
    Ok(problems)
}

/// [`conform`] for the result of a strategic merge patch. Upstream has another converter for it, with other words: no
/// paths in type errors, problems sorted.
pub fn conform_merged(value: &mut Value, ty: &'static ObjectType) -> Result<Vec<Problem>, DecodeError> {
    let walk = Walk { is_merged: true, ..Walk::default() };
    let (conformed, mut problems) = run(walk, value.take().into(), ty)?;
    problems.sort_by_cached_key(ToString::to_string);
    *value = conformed;
    Ok(problems)
}

pub(super) fn conform_tree(
    tree: Tree,
    ty: &'static ObjectType,
) -> Result<(Value, Vec<Problem>), DecodeError> {
    run(Walk::default(), tree, ty)
}

fn run(mut walk: Walk, tree: Tree, ty: &'static ObjectType) -> Result<(Value, Vec<Problem>), DecodeError> {
    let value = match tree {
        Tree::Null => Value::Object(Map::new()),
        Tree::Object(entries) => Value::Object(walk.object(entries, ty).map_err(DecodeError::Content)?),
        other => {
            let kind = other.go_kind();
            return Err(DecodeError::Content(format!(
                "json: cannot unmarshal {kind} into Go value of type {}",
                ty.go_name()
            )));
        }
    };
    match walk.mismatch {
        Some(message) => Err(DecodeError::Content(message)),
        None => Ok((value, walk.problems)),
    }
}

/// Finds duplicate keys in a tree that has no schema.
pub(super) fn duplicates(tree: &Tree) -> Vec<Problem> {
    let mut walk = Walk::default();
    walk.untyped(tree);
    walk.problems
}

/// A value that could not be read, and that ends the walk. The message is complete.
type Fatal = String;

#[derive(Default)]
struct Walk {
    problems: Vec<Problem>,
    /// The path of strict errors, with indexes and map keys.
    path: Vec<Segment>,
    /// The path of type errors: names of fields only.
    fields: Vec<&'static str>,
    /// The type that holds the innermost field of `fields`.
    holder: &'static str,
    mismatch: Option<String>,
    /// Whether the tree comes out of a strategic merge.
    is_merged: bool,
}

/// What a value was to become.
#[derive(Clone, Copy)]
enum Target {
    Struct,
    List,
    Map,
    Scalar(Scalar),
}

enum Segment {
    Name(String),
    Field(&'static str),
    Index(usize),
}

impl Walk {
    fn object(
        &mut self,
        entries: Vec<(String, Tree)>,
        ty: &'static ObjectType,
    ) -> Result<Map<String, Value>, Fatal> {
        let (mut seen, mut again) = (0u128, 0u128);
        let mut unknown = HashSet::new();
        let mut map = Map::new();
        for (key, value) in entries {
            let Some((at, field)) = ty.position(&key).and_then(|at| Some((at, ty.fields.get(at)?))) else {
                if !unknown.contains(&key) {
                    self.report(&key, Problem::UnknownField);
                    unknown.insert(key);
                }
                continue;
            };
            // No type has as many fields as there are bits; a test of the index holds it to that.
            let bit = 1u128.checked_shl(at as u32).unwrap_or(0);
            if seen & bit != 0 && again & bit == 0 {
                self.report(field.name, Problem::DuplicateField);
                again |= bit;
            }
            seen |= bit;
            let holder = std::mem::replace(&mut self.holder, ty.short_name());
            self.fields.push(field.name);
            self.path.push(Segment::Field(field.name));
            let result = self.field(value, field);
            self.path.pop();
            if let Some(value) = result? {
                map.insert(key, value);
            } else {
                map.remove(field.name);
            }
            self.fields.pop();
            self.holder = holder;
        }
        Ok(map)
    }

    /// The lean value of a field; `None` when it is as good as absent.
    fn field(&mut self, tree: Tree, field: &'static Field) -> Result<Option<Value>, Fatal> {
        match field.shape {
            Shape::Single => {
                if tree == Tree::Null {
                    return Ok(None);
                }
                let value = self.item(tree, field, &|| go_type(field))?;
                Ok(value.filter(|value| field.is_pointer || !is_zero(value, field)))
            }
            Shape::List => {
                let items = self.list(tree, field, &|| go_type(field))?;
                Ok(items.filter(|items| !items.is_empty()).map(Value::Array))
            }
            Shape::Map | Shape::MapOfLists => self.map(tree, field),
        }
    }

    fn list(
        &mut self,
        tree: Tree,
        field: &'static Field,
        ty: &dyn Fn() -> String,
    ) -> Result<Option<Vec<Value>>, Fatal> {
        let items = match tree {
            Tree::List(items) => items,
            Tree::Null => return Ok(None),
            other => {
                self.mismatch(&other, &ty(), Target::List);
                return Ok(None);
            }
        };
        let mut list = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            self.path.push(Segment::Index(index));
            let value = self.entry(item, field, &|| element_type(&ty()))?;
            list.extend(value);
            self.path.pop();
        }
        Ok(Some(list))
    }

    fn map(&mut self, tree: Tree, field: &'static Field) -> Result<Option<Value>, Fatal> {
        let entries = match tree {
            Tree::Object(entries) => entries,
            Tree::Null => return Ok(None),
            other => {
                self.mismatch(&other, &go_type(field), Target::Map);
                return Ok(None);
            }
        };
        let mut map = Map::new();
        let mut again = HashSet::new();
        // Nothing within a scalar can have a problem, so its path is of no use.
        let is_tracked = matches!(field.item, Item::Object(_));
        for (key, item) in entries {
            if map.contains_key(&key) && !again.contains(&key) {
                self.report(&key, Problem::DuplicateField);
                again.insert(key.clone());
            }
            if is_tracked {
                self.path.push(Segment::Name(key.clone()));
            }
            let value = if field.shape == Shape::MapOfLists {
                let list = self.list(item, field, &|| element_type(&go_type(field)))?;
                Some(list.map_or(Value::Null, Value::Array))
            } else {
                self.entry(item, field, &|| element_type(&go_type(field)))?
            };
            if is_tracked {
                self.path.pop();
            }
            map.insert(key, value.unwrap_or_default());
        }
        Ok(Some(map).filter(|map| !map.is_empty()).map(Value::Object))
    }

    /// An item of a list or the value of a map: never absent, so null is the zero value.
    fn entry(
        &mut self,
        tree: Tree,
        field: &'static Field,
        ty: &dyn Fn() -> String,
    ) -> Result<Option<Value>, Fatal> {
        if tree == Tree::Null {
            return Ok(Some(zero_entry(field)));
        }
        self.item(tree, field, ty)
    }

    /// One value. `None` when it did not fit.
    fn item(
        &mut self,
        tree: Tree,
        field: &'static Field,
        ty: &dyn Fn() -> String,
    ) -> Result<Option<Value>, Fatal> {
        let scalar = match field.item {
            Item::Scalar(scalar) => scalar,
            Item::Object(index) => {
                return match (tree, index::at(index)) {
                    (Tree::Object(entries), Some(object)) => {
                        self.object(entries, object).map(|map| Some(Value::Object(map)))
                    }
                    (other, _) => {
                        self.mismatch(&other, &ty(), Target::Struct);
                        Ok(None)
                    }
                };
            }
        };
        match scalar {
            Scalar::SchemaOrBool | Scalar::SchemaOrArray | Scalar::SchemaOrStringArray => {
                self.schema_or(tree, scalar).map(Some)
            }
            _ => self.scalar(tree, scalar, ty),
        }
    }

    fn scalar(
        &mut self,
        tree: Tree,
        scalar: Scalar,
        ty: &dyn Fn() -> String,
    ) -> Result<Option<Value>, Fatal> {
        let source = tree.reflect_kind();
        match scalar::read(tree, scalar) {
            Ok(value) => Ok(Some(value)),
            Err(scalar::Unfit::Kind(kind)) => {
                if self.is_merged {
                    self.unconverted(source, &ty(), Target::Scalar(scalar));
                } else {
                    self.mismatch_as(&kind, &ty());
                }
                Ok(None)
            }
            Err(scalar::Unfit::Encoding(message)) => {
                let prefix = if self.is_merged { "error decoding from json: " } else { "" };
                self.mismatch.get_or_insert_with(|| format!("{prefix}{message}"));
                Ok(None)
            }
            Err(scalar::Unfit::Inner { kind, ty }) => Err(self.mismatch_text(&kind, ty)),
            Err(scalar::Unfit::Fatal(message)) => Err(message),
        }
    }

    /// The types of JSON schema that are an object or something else read themselves with another decoder, which
    /// knows neither strictness nor the path so far.
    fn schema_or(&mut self, tree: Tree, scalar: Scalar) -> Result<Value, Fatal> {
        let Some(props) = index::json_schema_props() else { return Ok(tree.into_value()) };
        let mut inner = Walk::default();
        let value = match (tree, scalar) {
            (Tree::Object(entries), _) => Value::Object(inner.object(entries, props)?),
            (Tree::Bool(value), Scalar::SchemaOrBool) => Value::Bool(value),
            (Tree::List(items), Scalar::SchemaOrArray) => {
                let mut list = Vec::with_capacity(items.len());
                for item in items {
                    match item {
                        Tree::Object(entries) => list.push(Value::Object(inner.object(entries, props)?)),
                        other => inner.mismatch(&other, props.go_name(), Target::Struct),
                    }
                }
                Value::Array(list)
            }
            (Tree::List(items), Scalar::SchemaOrStringArray) => {
                for item in items.iter().filter(|item| !matches!(item, Tree::String(_))) {
                    inner.mismatch(item, "string", Target::Scalar(Scalar::String));
                }
                Value::Array(items.into_iter().map(tree::Tree::into_value).collect())
            }
            (_, Scalar::SchemaOrBool) => return Err("boolean or JSON schema expected".to_owned()),
            // Anything else is dropped in silence.
            _ => Value::Object(Map::new()),
        };
        inner.mismatch.map_or(Ok(value), Err)
    }

    fn mismatch(&mut self, tree: &Tree, ty: &str, target: Target) {
        if self.is_merged {
            self.unconverted(tree.reflect_kind(), ty, target);
        } else {
            self.mismatch_as(tree.go_kind(), ty);
        }
    }

    /// What the converter of strategic merges says of a value that is no such target.
    fn unconverted(&mut self, source: &str, ty: &str, target: Target) {
        let message = match (target, source) {
            (Target::Struct, _) => format!("cannot restore struct from: {source}"),
            (Target::List | Target::Scalar(Scalar::Bytes), _) => {
                format!("cannot restore slice from {source}")
            }
            (Target::Map, _) => format!("cannot restore map from {source}"),
            // Go can make text of a whole number, and a number of any other, but the converter will not.
            (Target::Scalar(Scalar::String), "int64")
            | (Target::Scalar(Scalar::Int32 | Scalar::Int64), "int64" | "float64") => {
                format!("cannot convert {source} to {ty}")
            }
            (Target::Scalar(scalar), _) => format!("unrecognized type: {}", scalar::go_name(scalar)),
        };
        self.mismatch.get_or_insert(message);
    }

    fn mismatch_as(&mut self, kind: &str, ty: &str) {
        if self.mismatch.is_none() {
            self.mismatch = Some(self.mismatch_text(kind, ty));
        }
    }

    fn mismatch_text(&self, kind: &str, ty: &str) -> String {
        if self.fields.is_empty() || self.is_merged {
            return format!("json: cannot unmarshal {kind} into Go value of type {ty}");
        }
        let (holder, field) = (self.holder, self.fields.join("."));
        format!("json: cannot unmarshal {kind} into Go struct field {holder}.{field} of type {ty}")
    }

    /// Reports a problem with `key` of the object the walk is in. Callers see to it that one object does not report
    /// the same twice, so that at most a hundred paths are ever put together.
    fn report(&mut self, key: &str, problem: fn(String) -> Problem) {
        if self.problems.len() < MAX_PROBLEMS {
            let problem = problem(self.path_to(key));
            if !self.problems.contains(&problem) {
                self.problems.push(problem);
            }
        }
    }

    fn path_to(&self, key: &str) -> String {
        let mut text = String::new();
        for segment in &self.path {
            match segment {
                Segment::Index(index) => text.push_str(&format!("[{index}]")),
                Segment::Name(name) => push_name(&mut text, name),
                Segment::Field(name) => push_name(&mut text, name),
            }
        }
        push_name(&mut text, key);
        text
    }

    fn untyped(&mut self, tree: &Tree) {
        match tree {
            Tree::Object(entries) => {
                let (mut seen, mut again) = (HashSet::new(), HashSet::new());
                for (key, value) in entries {
                    if !seen.insert(key) && again.insert(key) {
                        self.report(key, Problem::DuplicateField);
                    }
                    self.path.push(Segment::Name(key.clone()));
                    self.untyped(value);
                    self.path.pop();
                }
            }
            Tree::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.path.push(Segment::Index(index));
                    self.untyped(item);
                    self.path.pop();
                }
            }
            _ => {}
        }
    }
}

fn push_name(path: &mut String, name: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(name);
}
