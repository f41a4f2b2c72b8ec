//! What is wrong with a schema: whether it is structural, and says nothing that cannot be held.
//!
//! Works on the schema as it was written. Rules and words are those of `validation.go` in
//! `apiextensions/validation` and `apiserver/schema` upstream.

use serde_json::Value;

use super::model::{Structural, Type};
use super::{coerce_metadata, pattern, prune, rules, validate_embedded, validate_lists};
use crate::violation::{FieldPath, Violation, Violations};

/// How deep the JSON of a schema may nest. The reader of bodies lets no more through; definitions that come
/// otherwise stop here.
const MAX_DEPTH: usize = 120;

/// The schema of a version, as written. `path` leads to it.
pub fn validate(schema: &Value, path: &FieldPath) -> Violations {
    if depth(schema) > MAX_DEPTH {
        return vec![Violation::invalid(path, "", format!("must not be nested more than {MAX_DEPTH} deep"))];
    }
    let mut structure = Violations::new();
    Structure { out: &mut structure }.schema(schema, Level::Root, path);
    structure.sort_by_cached_key(ToString::to_string);
    if structure.is_empty() {
        let root = Structural { embedded: true, ..Structural::read(schema) };
        defaults(&root, true, false, path, &mut structure);
    }
    let mut out = structure;
    Plain { out: &mut out }.schema(schema, &Place { is_root: true, ..Place::default() }, path);
    rules::definition::written(schema, path, &mut out);
    if out.is_empty() {
        rules::definition::compiled(schema, path, &mut out);
    }
    out
}

fn depth(schema: &Value) -> usize {
    match schema {
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        Value::Array(items) => items.iter().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

fn text<'a>(schema: &'a Value, field: &str) -> &'a str {
    schema.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn flag(schema: &Value, field: &str) -> bool {
    schema.get(field).and_then(Value::as_bool).unwrap_or_default()
}

fn is_set(schema: &Value, field: &str) -> bool {
    schema.get(field).is_some_and(|value| !value.is_null())
}

fn is_some(schema: &Value, field: &str) -> bool {
    match schema.get(field) {
        None | Some(Value::Null) => false,
        Some(Value::Array(items)) => !items.is_empty(),
        Some(Value::Object(map)) => !map.is_empty(),
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Bool(flag)) => *flag,
        Some(Value::Number(_)) => true,
    }
}

fn entries<'a>(schema: &'a Value, field: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    schema.get(field).and_then(Value::as_object).into_iter().flatten()
}

fn items<'a>(schema: &'a Value, field: &str) -> &'a [Value] {
    schema.get(field).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn object<'a>(schema: &'a Value, field: &str) -> Option<&'a Value> {
    schema.get(field).filter(|value| value.is_object())
}

/// Where a schema stands in the structure.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

/// The rules of structural schemas.
struct Structure<'o> {
    out: &'o mut Violations,
}

impl Structure<'_> {
    fn schema(&mut self, schema: &Value, level: Level, path: &FieldPath) {
        let ty = text(schema, "type");
        if ty == "array" && !is_set(schema, "items") {
            self.out.push(Violation::required(&path.child("items"), "must be specified"));
        }
        if let Some(below) = object(schema, "items") {
            self.schema(below, Level::Item, &path.child("items"));
        }
        for (key, below) in entries(schema, "properties") {
            self.schema(below, Level::Field, &path.child("properties").key(key));
        }
        if is_set(schema, "additionalProperties") {
            let at = path.child("additionalProperties");
            if level == Level::Root {
                self.out.push(Violation::forbidden(&at, "must not be used at the root"));
            }
            if let Some(below) = object(schema, "additionalProperties") {
                self.schema(below, Level::Field, &at);
            }
        }
        self.extensions(schema, path);
        self.of_type(schema, ty, level, path);
        let pair = |list: &[Value]| {
            let types: Vec<&Value> = list.iter().collect();
            matches!(types.as_slice(), [a, b]
                if *a == &serde_json::json!({"type": "integer"}) && *b == &serde_json::json!({"type": "string"}))
        };
        let skips_any = pair(items(schema, "anyOf"));
        let skips_first = items(schema, "allOf").first().is_some_and(|first| pair(items(first, "anyOf")));
        self.values(schema, skips_any, skips_first, path);
        self.metadata(schema, level, path);
    }

    fn extensions(&mut self, schema: &Value, path: &FieldPath) {
        if !flag(schema, "x-kubernetes-int-or-string") {
            return;
        }
        for field in ["x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource"] {
            if flag(schema, field) {
                let why = "must be false if x-kubernetes-int-or-string is true";
                self.out.push(Violation::invalid(&path.child(field), true, why));
            }
        }
    }

    fn of_type(&mut self, schema: &Value, ty: &str, level: Level, path: &FieldPath) {
        let at = path.child("type");
        let is_embedded = flag(schema, "x-kubernetes-embedded-resource");
        let keeps_unknown = flag(schema, "x-kubernetes-preserve-unknown-fields");
        if is_embedded && ty != "object" {
            let why = "must be object if x-kubernetes-embedded-resource is true";
            self.out.push(if ty.is_empty() {
                Violation::required(&at, why)
            } else {
                Violation::invalid(&at, ty, why)
            });
        } else if ty.is_empty() && !flag(schema, "x-kubernetes-int-or-string") && !keeps_unknown {
            let why = match level {
                Level::Root => "must not be empty at the root",
                Level::Item => "must not be empty for specified array items",
                Level::Field => "must not be empty for specified object fields",
            };
            self.out.push(Violation::required(&at, why));
        }
        if is_embedded && is_set(schema, "additionalProperties") {
            let why = "must not be used if x-kubernetes-embedded-resource is set";
            self.out.push(Violation::forbidden(&path.child("additionalProperties"), why));
        }
        if level == Level::Root && !ty.is_empty() && ty != "object" {
            self.out.push(Violation::invalid(&at, ty, "must be object at the root"));
        }
        if is_embedded && !keeps_unknown && entries(schema, "properties").next().is_none() {
            let why = "must not be empty if x-kubernetes-embedded-resource is true without \
                       x-kubernetes-preserve-unknown-fields";
            self.out.push(Violation::required(&path.child("properties"), why));
        }
    }

    /// What a schema may say of the fields every object has.
    fn metadata(&mut self, schema: &Value, level: Level, path: &FieldPath) {
        if level != Level::Root && !flag(schema, "x-kubernetes-embedded-resource") {
            return;
        }
        let properties = path.child("properties");
        let of = |field: &str| schema.get("properties").and_then(|properties| properties.get(field));
        for field in ["kind", "apiVersion"] {
            if let Some(below) = of(field).filter(|below| text(below, "type") != "string") {
                let at = properties.key(field).child("type");
                self.out.push(Violation::invalid(&at, text(below, "type"), "must be string"));
            }
        }
        let Some(metadata) = of("metadata") else { return };
        let at = properties.key("metadata");
        if text(metadata, "type") != "object" {
            self.out.push(Violation::invalid(&at.child("type"), text(metadata, "type"), "must be object"));
        }
        let is_free = |key: &str| matches!(key, "type" | "default" | "description" | "title" | "properties");
        let says_more = metadata
            .as_object()
            .into_iter()
            .flatten()
            .any(|(key, value)| !is_free(key) && !is_nothing(value))
            || is_some(metadata, "description")
            || is_some(metadata, "title")
            || entries(metadata, "properties")
                .any(|(key, _)| !matches!(key.as_str(), "name" | "generateName"));
        if level == Level::Root && says_more {
            let why = "must not specify anything other than name and generateName, but metadata is implicitly \
                       specified";
            self.out.push(Violation::forbidden(&at, why));
        }
    }

    fn values(&mut self, schema: &Value, skips_any: bool, skips_first: bool, path: &FieldPath) {
        if !skips_any {
            self.nested_list(schema, "anyOf", path, false);
        }
        self.nested_list(schema, "allOf", path, skips_first);
        self.nested_list(schema, "oneOf", path, false);
        if let Some(below) = object(schema, "not") {
            self.nested(below, false, &path.child("not"));
        }
        let source = text(schema, "pattern");
        if let Some(problem) = pattern::problem(source).filter(|_| !source.is_empty()) {
            let why = format!("must be a valid regular expression, but isn't: {problem}");
            self.out.push(Violation::invalid(&path.child("pattern"), source, why));
        }
    }

    fn nested_list(&mut self, schema: &Value, field: &str, path: &FieldPath, skips_first: bool) {
        for (index, below) in items(schema, field).iter().enumerate() {
            self.nested(below, skips_first && index == 0, &path.child(field).index(index));
        }
    }

    /// A schema within a combination may restrict values, but not say what there is.
    fn nested(&mut self, schema: &Value, skips_any: bool, path: &FieldPath) {
        self.values(schema, skips_any, false, path);
        if let Some(below) = object(schema, "items") {
            self.nested(below, false, &path.child("items"));
        }
        for (key, below) in entries(schema, "properties") {
            self.nested(below, false, &path.child("properties").key(key));
        }
        for (field, why) in [
            ("type", "must be empty to be structural"),
            ("additionalProperties", "must be undefined to be structural"),
            ("default", "must be undefined to be structural"),
            ("title", "must be empty to be structural"),
            ("description", "must be empty to be structural"),
            ("nullable", "must be false to be structural"),
            ("x-kubernetes-preserve-unknown-fields", "must be false to be structural"),
            ("x-kubernetes-embedded-resource", "must be false to be structural"),
            ("x-kubernetes-int-or-string", "must be false to be structural"),
            ("x-kubernetes-list-map-keys", "must be empty to be structural"),
            ("x-kubernetes-list-type", "must be undefined to be structural"),
            ("x-kubernetes-map-type", "must be undefined to be structural"),
            ("x-kubernetes-validations", "must be empty to be structural"),
        ] {
            let counts_empty = matches!(field, "additionalProperties" | "default");
            if is_some(schema, field) || counts_empty && is_set(schema, field) {
                self.out.push(Violation::forbidden(&path.child(field), why));
            }
        }
        if schema.get("properties").and_then(|properties| properties.get("metadata")).is_some() {
            let why = "must not be specified in a nested context";
            self.out.push(Violation::forbidden(&path.child("properties").key("metadata"), why));
        }
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

/// Defaults must be values that the schema takes as they are.
fn defaults(schema: &Structural, is_root: bool, in_meta: bool, path: &FieldPath, out: &mut Violations) {
    if let Some(default) = schema.default.as_ref().filter(|_| !in_meta) {
        let at = path.child("default");
        let mut pruned = default.clone();
        let gone = if schema.embedded {
            prune::prune(&mut pruned, schema)
        } else {
            prune::prune_value(&mut pruned, schema)
        };
        if !gone.is_empty() {
            out.push(Violation::invalid(&at, default.clone(), "must not have unknown fields"));
        }
        let prefixed = |found: Violations| -> Violations {
            let path = |violation: &Violation| {
                let below = violation.path.as_str();
                if below.is_empty() { at.clone() } else { at.child(below) }
            };
            found.into_iter().map(|violation| Violation { path: path(&violation), ..violation }).collect()
        };
        let mut shown = default.clone();
        match coerce_metadata(&mut shown, schema).err().filter(|_| schema.embedded) {
            Some(error) => out.push(Violation::invalid(&at, default.clone(), error.to_string())),
            None => {
                let mut found = prefixed(validate_embedded(default, schema));
                if found.is_empty() {
                    found = schema.validate(default, None, &at);
                }
                found.extend(prefixed(validate_lists(default, schema)));
                out.append(&mut found);
            }
        }
    }
    if let Some(below) = schema.items.as_deref() {
        defaults(below, false, in_meta, &path.child("items"), out);
    }
    for (key, below) in &schema.properties {
        let is_meta =
            (is_root || schema.embedded) && matches!(key.as_str(), "metadata" | "apiVersion" | "kind");
        defaults(below, false, in_meta || is_meta, &path.child("properties").key(key), out);
    }
}

/// What the place of a schema forbids.
#[derive(Clone, Default)]
struct Place {
    is_root: bool,
    in_meta: bool,
    /// Why there may be no defaults, where there may be none.
    no_defaults: Option<String>,
}

/// The rules that hold for every schema, structural or not.
struct Plain<'o> {
    out: &'o mut Violations,
}

impl Plain<'_> {
    fn schema(&mut self, schema: &Value, place: &Place, path: &FieldPath) {
        self.standard(schema, place, path);
        if flag(schema, "uniqueItems") {
            let why = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
            self.out.push(Violation::forbidden(&path.child("uniqueItems"), why));
        }
        let below = Place { is_root: false, ..place.clone() };
        if is_set(schema, "additionalProperties") {
            let at = path.child("additionalProperties");
            let is_plain = schema.get("additionalProperties") == Some(&Value::Bool(true));
            if is_some(schema, "properties") && !is_plain {
                let why = "additionalProperties and properties are mutual exclusive";
                self.out.push(Violation::forbidden(&at, why));
            }
            if let Some(schema) = object(schema, "additionalProperties") {
                let mut below = below.clone();
                if place.in_meta {
                    below.no_defaults =
                        Some("inside additionalProperties applying to object metadata".to_owned());
                }
                self.schema(schema, &below, &at);
            }
        }
        for (key, property) in entries(schema, "properties") {
            let mut below = below.clone();
            let is_meta = matches!(key.as_str(), "metadata" | "kind" | "apiVersion");
            if is_meta && (place.is_root || flag(schema, "x-kubernetes-embedded-resource")) {
                below.in_meta = true;
                if place.is_root {
                    below.no_defaults = Some(format!("in top-level {key}"));
                }
            }
            self.schema(property, &below, &path.child("properties").key(key));
        }
        if let Some(schema) = object(schema, "not") {
            self.schema(schema, &below, &path.child("not"));
        }
        for field in ["allOf", "oneOf", "anyOf"] {
            for (index, schema) in items(schema, field).iter().enumerate() {
                self.schema(schema, &below, &path.child(field).index(index));
            }
        }
        if let Some(schema) = object(schema, "items") {
            self.schema(schema, &below, &path.child("items"));
        }
        for (index, schema) in items(schema, "items").iter().enumerate() {
            self.schema(schema, &below, &path.child("items").index(index));
        }
        self.extensions(schema, path);
        self.list_of_map(schema, path);
    }

    fn standard(&mut self, schema: &Value, place: &Place, path: &FieldPath) {
        let ty = text(schema, "type");
        if !ty.is_empty() && Type::parse(ty).is_none() {
            let supported = Type::ALL.map(Type::as_str);
            self.out.push(Violation::not_supported(&path.child("type"), ty, &supported));
        }
        if let Some(reason) = place.no_defaults.as_ref().filter(|_| is_set(schema, "default")) {
            let why = format!("must not be set {reason}");
            self.out.push(Violation::forbidden(&path.child("default"), why));
        }
        for field in ["id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref"] {
            if is_some(schema, field) || matches!(field, "additionalItems" | "$ref") && is_set(schema, field)
            {
                self.out.push(Violation::forbidden(&path.child(field), format!("{field} is not supported")));
            }
        }
        if ty == "null" {
            let why = "type cannot be set to null, use nullable as an alternative";
            self.out.push(Violation::forbidden(&path.child("type"), why));
        }
        if !items(schema, "items").is_empty() {
            let why = "items must be a schema object and not an array";
            self.out.push(Violation::forbidden(&path.child("items"), why));
        }
        if place.in_meta && flag(schema, "x-kubernetes-embedded-resource") {
            let at = path.child("x-kubernetes-embedded-resource");
            self.out.push(Violation::forbidden(&at, "must not be used inside of resource meta"));
        }
    }

    fn extensions(&mut self, schema: &Value, path: &FieldPath) {
        let ty = text(schema, "type");
        if schema.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(false)) {
            let at = path.child("x-kubernetes-preserve-unknown-fields");
            self.out.push(Violation::invalid(&at, false, "must be true or undefined"));
        }
        for (field, wanted, words) in [
            ("x-kubernetes-map-type", "object", &["atomic", "granular"][..]),
            ("x-kubernetes-list-type", "array", &["atomic", "set", "map"][..]),
        ] {
            if !is_set(schema, field) {
                continue;
            }
            let why = format!("must be {wanted} if {field} is specified");
            if ty.is_empty() {
                self.out.push(Violation::required(&path.child("type"), why));
            } else if ty != wanted {
                self.out.push(Violation::invalid(&path.child("type"), ty, why));
            }
            let word = text(schema, field);
            if !words.contains(&word) {
                self.out.push(Violation::not_supported(&path.child(field), word, words));
            }
        }
        let Some(of_items) =
            object(schema, "items").filter(|_| text(schema, "x-kubernetes-list-type") == "set")
        else {
            return;
        };
        let why = "must be atomic as item of a list with x-kubernetes-list-type=set";
        let (field, is_fine) = match text(of_items, "type") {
            "array" => ("x-kubernetes-list-type", !is_set(of_items, "x-kubernetes-list-type")),
            "object" => ("x-kubernetes-map-type", false),
            _ => return,
        };
        let word = text(of_items, field);
        if !is_fine && word != "atomic" {
            let shown: Value = if word.is_empty() { "null".into() } else { word.into() };
            self.out.push(Violation::invalid(&path.child("items").child(field), shown, why));
        }
    }

    fn list_of_map(&mut self, schema: &Value, path: &FieldPath) {
        let kind = text(schema, "x-kubernetes-list-type");
        let keys = items(schema, "x-kubernetes-list-map-keys");
        let at_keys = path.child("x-kubernetes-list-map-keys");
        if !keys.is_empty() && kind != "map" {
            let at = path.child("x-kubernetes-list-type");
            let why = "must be map if x-kubernetes-list-map-keys is non-empty";
            self.out.push(if is_set(schema, "x-kubernetes-list-type") {
                Violation::invalid(&at, kind, why)
            } else {
                Violation::required(&at, why)
            });
        }
        let of_items = object(schema, "items");
        if kind == "map" {
            if keys.is_empty() {
                let why = "must not be empty if x-kubernetes-list-type is map";
                self.out.push(Violation::required(&at_keys, why));
            }
            let at_items = path.child("items");
            match of_items {
                None => {
                    let why = "must have a schema if x-kubernetes-list-type is map";
                    self.out.push(Violation::required(&at_items, why));
                }
                Some(of_items) if text(of_items, "type") != "object" => {
                    let why = "must be object if parent array's x-kubernetes-list-type is map";
                    self.out.push(Violation::invalid(&at_items.child("type"), text(of_items, "type"), why));
                }
                Some(of_items) => self.keys(of_items, keys, &at_items, &at_keys),
            }
        }
        let Some(of_items) = of_items.filter(|_| matches!(kind, "map" | "set")) else { return };
        let at_items = path.child("items");
        if flag(of_items, "nullable") {
            let why = format!("cannot be nullable when x-kubernetes-list-type is {kind}");
            self.out.push(Violation::forbidden(&at_items.child("nullable"), why));
        }
        if kind == "map" {
            let required = items(of_items, "required");
            for key in keys {
                let name = key.as_str().unwrap_or_default();
                let Some(of_key) = of_items.get("properties").and_then(|all| all.get(name)) else { continue };
                let at = at_items.child("properties").key(name);
                if !required.contains(key) && !is_set(of_key, "default") {
                    let why = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a \
                               required property";
                    self.out.push(Violation::required(&at.child("default"), why));
                }
                if flag(of_key, "nullable") {
                    let why = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
                    self.out.push(Violation::forbidden(&at.child("nullable"), why));
                }
            }
        }
    }

    fn keys(&mut self, of_items: &Value, keys: &[Value], at_items: &FieldPath, at_keys: &FieldPath) {
        let shown = Value::Array(keys.to_vec());
        for (index, key) in keys.iter().enumerate() {
            let name = key.as_str().unwrap_or_default();
            match of_items.get("properties").and_then(|properties| properties.get(name)) {
                Some(of_key) if matches!(text(of_key, "type"), "array" | "object") => {
                    let at = at_items.child("properties").key(name).child("type");
                    let why = "must be a scalar type if parent array's x-kubernetes-list-type is map";
                    self.out.push(Violation::invalid(&at, text(of_items, "type"), why));
                }
                Some(_) => {}
                None => {
                    let why = "entries must all be names of item properties";
                    self.out.push(Violation::invalid(at_keys, shown.clone(), why));
                }
            }
            if keys.get(..index).is_some_and(|before| before.contains(key)) {
                let why = "must not contain duplicate entries";
                self.out.push(Violation::invalid(at_keys, shown.clone(), why));
            }
        }
    }
}
