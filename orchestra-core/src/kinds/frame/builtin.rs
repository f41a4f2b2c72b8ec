//! A built-in kind: its description beside the functions that hold its rules.
//!
//! A kind's file builds one of these. What the file leaves out has the plain meaning: no defaults, no rules beyond
//! metadata, a table of name and age. The order of things (metadata before spec, status kept before generation is
//! compared) is decided here once for all kinds.

use std::borrow::Cow;
use std::fmt;

use serde_json::{Value, json};

use super::cells::{self, Show};
use super::fill::{Fill, Object};
use super::view::View;
use crate::gvk::GroupVersion;
use crate::kind::{Column, Description, Kind, ObjectPart, ScalePaths, Scope, Subresource};
use crate::violation::Violations;

type Default = fn(&mut Object);
type Prepare = fn(&mut Object);
type PrepareUpdate = fn(&mut Object, &Value);
type Check = fn(&View, &mut Violations);
type CheckChange = fn(&View, &View, &mut Violations);
type CheckName = fn(&str) -> Vec<String>;
type FieldValue = for<'a> fn(&'a Value, &str) -> Option<Cow<'a, str>>;

/// Whether `metadata.generation` counts the changes of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Generation {
    /// The kind has no generation.
    None,
    /// It is 1 for good: what a generation would count may not change.
    First,
    /// It rises when `spec` changes.
    Spec,
    /// It rises when `spec` or the annotations change.
    SpecAndAnnotations,
    /// It rises when anything but metadata and status changes.
    Content,
}

/// The rules of a part that has a path of its own.
#[derive(Clone, Copy)]
struct Partial {
    part: ObjectPart,
    prepare: PrepareUpdate,
    validate: CheckChange,
}

/// A kind compiled in.
#[derive(Clone)]
pub(crate) struct Builtin {
    description: Description,
    generation: Generation,
    initial_status: Option<fn() -> Value>,
    keeps_status: bool,
    default: Default,
    prepare_create: Prepare,
    prepare_update: PrepareUpdate,
    prepare_status: PrepareUpdate,
    name: CheckName,
    validate: Check,
    validate_create: Check,
    validate_change: CheckChange,
    validate_status: CheckChange,
    parts: Vec<Partial>,
    fields: Vec<Cow<'static, str>>,
    field_value: FieldValue,
    shows: Vec<Show>,
    columns: Vec<Column>,
}

impl Builtin {
    /// A kind with the plain rules; the singular is the kind in lower case, as for every built-in one.
    pub(crate) fn new(gv: GroupVersion, kind: &'static str, plural: &'static str, scope: Scope) -> Self {
        let description = Description {
            gv,
            kind: kind.into(),
            plural: plural.into(),
            singular: kind.to_ascii_lowercase().into(),
            list_kind: format!("{kind}List").into(),
            short_names: Vec::new(),
            categories: Vec::new(),
            scope,
            subresources: Vec::new(),
            create_on_update: false,
            unconditional_update: true,
            delete_collection: true,
            only: None,
        };
        Self {
            description,
            generation: Generation::None,
            initial_status: None,
            keeps_status: false,
            default: |_| (),
            prepare_create: |_| (),
            prepare_update: |_, _| (),
            prepare_status: |_, _| (),
            name: super::super::meta::subdomain,
            validate: |_, _| (),
            validate_create: |_, _| (),
            validate_change: |_, _, _| (),
            validate_status: |_, _, _| (),
            parts: Vec::new(),
            fields: Vec::new(),
            field_value: |_, _| None,
            shows: Vec::new(),
            columns: Vec::new(),
        }
        .columns(vec![cells::name(), cells::age()])
    }

    /// Short names, such as `cm`.
    pub(crate) fn short_names(mut self, names: &[&'static str]) -> Self {
        self.description.short_names = names.iter().map(|&name| name.into()).collect();
        self
    }

    /// Makes the kind part of `kubectl get all`.
    pub(crate) fn in_category_all(mut self) -> Self {
        self.description.categories.push("all".into());
        self
    }

    /// Makes the kind part of a category, such as `api-extensions`.
    pub(crate) fn category(mut self, category: &'static str) -> Self {
        self.description.categories.push(category.into());
        self
    }

    /// A PUT to an absent object makes it.
    pub(crate) fn create_on_update(mut self) -> Self {
        self.description.create_on_update = true;
        self
    }

    /// A PUT must name the resourceVersion it replaces.
    pub(crate) fn conditional_update(mut self) -> Self {
        self.description.unconditional_update = false;
        self
    }

    /// The kind cannot be deleted by collection.
    pub(crate) fn no_delete_collection(mut self) -> Self {
        self.description.delete_collection = false;
        self
    }

    /// Nothing can be done but this: the kind has no objects in a store.
    pub(crate) fn only(mut self, verbs: &'static [&'static str]) -> Self {
        self.description.only = Some(verbs);
        self
    }

    /// How `metadata.generation` counts.
    pub(crate) fn generation(mut self, generation: Generation) -> Self {
        self.generation = generation;
        self
    }

    /// Serves `/status`, and says what the status of a new object is.
    pub(crate) fn status(mut self, initial: fn() -> Value) -> Self {
        self.description.subresources.push(Subresource::Status);
        self.initial_status = Some(initial);
        self
    }

    /// Whoever makes an object may say its status, as node agents do.
    pub(crate) fn keeps_status_on_create(mut self) -> Self {
        self.keeps_status = true;
        self
    }

    /// Serves a part below a path of its own; `prepare` puts the rest back, and `validate` judges the change (new, old).
    pub(crate) fn part(mut self, part: ObjectPart, prepare: PrepareUpdate, validate: CheckChange) -> Self {
        self.description.subresources.push(Subresource::Part(part));
        self.parts.push(Partial { part, prepare, validate });
        self
    }

    /// Serves `/scale` over `spec.replicas` and `status.replicas`.
    pub(crate) fn scale(mut self, selector: &'static str) -> Self {
        self.description.subresources.push(Subresource::Scale(ScalePaths {
            spec: "/spec/replicas".into(),
            status: "/status/replicas".into(),
            selector: selector.into(),
            spec_is_required: false,
        }));
        self
    }

    /// What the user may leave out.
    pub(crate) fn default(mut self, default: Default) -> Self {
        self.default = default;
        self
    }

    /// Runs on a new object after the status is reset and the generation set.
    pub(crate) fn prepare_create(mut self, prepare: Prepare) -> Self {
        self.prepare_create = prepare;
        self
    }

    /// Runs on a change after the old status is put back, before generations are compared.
    pub(crate) fn prepare_update(mut self, prepare: PrepareUpdate) -> Self {
        self.prepare_update = prepare;
        self
    }

    /// Runs on a status write after all but metadata and status is put back.
    pub(crate) fn prepare_status(mut self, prepare: PrepareUpdate) -> Self {
        self.prepare_status = prepare;
        self
    }

    /// What names objects may have; a DNS subdomain if not said.
    pub(crate) fn name(mut self, check: CheckName) -> Self {
        self.name = check;
        self
    }

    /// Rules that hold for every object, new or changed.
    pub(crate) fn validate(mut self, check: Check) -> Self {
        self.validate = check;
        self
    }

    /// Rules for new objects alone, checked after the others.
    pub(crate) fn validate_create(mut self, check: Check) -> Self {
        self.validate_create = check;
        self
    }

    /// Rules for changes (new, old), checked after the others.
    pub(crate) fn validate_change(mut self, check: CheckChange) -> Self {
        self.validate_change = check;
        self
    }

    /// Rules for status writes (new, old).
    pub(crate) fn validate_status(mut self, check: CheckChange) -> Self {
        self.validate_status = check;
        self
    }

    /// Fields that selectors may name: dotted paths into the object.
    pub(crate) fn fields(mut self, fields: &'static [&'static str]) -> Self {
        self.fields = fields.iter().map(|&field| field.into()).collect();
        self
    }

    /// The values of selectable fields that do not simply stand under their path.
    pub(crate) fn field_value(mut self, value: FieldValue) -> Self {
        self.field_value = value;
        self
    }

    /// The columns of the table.
    pub(crate) fn columns(mut self, shows: Vec<Show>) -> Self {
        self.columns = shows.iter().map(|show| show.column.clone()).collect();
        self.shows = shows;
        self
    }

    fn partial(&self, part: ObjectPart) -> Option<Partial> {
        self.parts.iter().find(|partial| partial.part == part).copied()
    }

    /// Generations are the server's: whatever the client sent is dropped.
    fn count_generation(&self, new: &mut Object, old: &Value) {
        let mut count = generation(old);
        if self.content_changed(new, old) {
            count += 1;
        }
        let metadata = new.object("metadata");
        if count > 0 {
            metadata.insert("generation".to_owned(), count.into());
        } else {
            metadata.remove("generation");
        }
    }

    fn has_status(&self) -> bool {
        self.initial_status.is_some()
    }

    fn content_changed(&self, new: &Object, old: &Value) -> bool {
        match self.generation {
            Generation::None | Generation::First => false,
            Generation::Spec => new.get("spec") != old.get("spec"),
            Generation::SpecAndAnnotations => {
                let before = old.get("metadata").and_then(|metadata| metadata.get("annotations"));
                let after = new.get("metadata").and_then(|metadata| metadata.get("annotations"));
                new.get("spec") != old.get("spec") || after != before
            }
            Generation::Content => {
                let own = |field: &String| !matches!(field.as_str(), "metadata" | "status");
                let none = Object::new();
                let old = old.as_object().unwrap_or(&none);
                new.iter().any(|(field, value)| own(field) && old.get(field) != Some(value))
                    || old.keys().any(|field| own(field) && !new.contains_key(field))
            }
        }
    }
}

impl fmt::Debug for Builtin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Builtin({} {})", self.description.gv, self.description.kind)
    }
}

fn generation(object: &Value) -> i64 {
    object.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or_default()
}

/// Puts a field back to what it was, absence included.
fn keep(new: &mut Object, old: &Value, field: &str) {
    match old.get(field) {
        // Comparing costs less than a copy, and what is kept is mostly the same already.
        Some(value) if new.get(field) == Some(value) => {}
        Some(value) => {
            new.insert(field.to_owned(), value.clone());
        }
        None => {
            new.remove(field);
        }
    }
}

/// Puts back the metadata that a write through a subresource may not change.
fn keep_metadata(new: &mut Value, old: &Value) {
    let Some(new) = new.as_object_mut() else { return };
    let metadata = new.object("metadata");
    for field in ["generation", "deletionTimestamp", "deletionGracePeriodSeconds", "ownerReferences"] {
        match old.pointer(&format!("/metadata/{field}")) {
            Some(value) => {
                metadata.insert(field.to_owned(), value.clone());
            }
            None => {
                metadata.remove(field);
            }
        }
    }
}

impl Kind for Builtin {
    fn description(&self) -> &Description {
        &self.description
    }

    fn default(&self, object: &mut Value) {
        let Some(object) = object.as_object_mut() else { return };
        object.object("metadata");
        (self.default)(object);
    }

    fn prepare_create(&self, object: &mut Value) {
        let Some(object) = object.as_object_mut() else { return };
        if let Some(initial) = self.initial_status.filter(|_| !self.keeps_status) {
            object.insert("status".to_owned(), initial());
        }
        let metadata = object.object("metadata");
        if self.generation == Generation::None {
            metadata.remove("generation");
        } else {
            metadata.insert("generation".to_owned(), json!(1));
        }
        (self.prepare_create)(object);
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        let Some(new) = new.as_object_mut() else { return };
        if self.has_status() {
            keep(new, old, "status");
        }
        (self.prepare_update)(new, old);
        self.count_generation(new, old);
    }

    fn prepare_status_update(&self, new: &mut Value, old: &Value) {
        keep_metadata(new, old);
        let Some(new) = new.as_object_mut() else { return };
        let fields: Vec<String> =
            new.keys().chain(old.as_object().into_iter().flat_map(Object::keys)).cloned().collect();
        for field in fields {
            if !matches!(field.as_str(), "metadata" | "status") {
                keep(new, old, &field);
            }
        }
        (self.prepare_status)(new, old);
    }

    fn validate_create(&self, object: &Value) -> Violations {
        let mut out = super::super::meta::validate(object, self.description.scope, self.name);
        let view = View::root(object);
        (self.validate)(&view, &mut out);
        (self.validate_create)(&view, &mut out);
        out
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Violations {
        let mut out = super::super::meta::validate_update(new, old);
        let (new, old) = (View::root(new), View::root(old));
        (self.validate)(&new, &mut out);
        (self.validate_change)(&new, &old, &mut out);
        out
    }

    fn validate_status_update(&self, new: &Value, old: &Value) -> Violations {
        let mut out = super::super::meta::validate_update(new, old);
        (self.validate_status)(&View::root(new), &View::root(old), &mut out);
        out
    }

    fn prepare_part_update(&self, part: ObjectPart, new: &mut Value, old: &Value) {
        keep_metadata(new, old);
        if let (Some(new), Some(partial)) = (new.as_object_mut(), self.partial(part)) {
            (partial.prepare)(new, old);
            self.count_generation(new, old);
        }
    }

    fn validate_part_update(&self, part: ObjectPart, new: &Value, old: &Value) -> Violations {
        let mut out = super::super::meta::validate_update(new, old);
        if let Some(partial) = self.partial(part) {
            (partial.validate)(&View::root(new), &View::root(old), &mut out);
        }
        out
    }

    fn selectable_fields(&self) -> &[Cow<'static, str>] {
        &self.fields
    }

    fn field_value<'a>(&self, object: &'a Value, field: &str) -> Cow<'a, str> {
        if let Some(value) = (self.field_value)(object, field) {
            return value;
        }
        let found = field.split('.').try_fold(object, |value, part| value.get(part));
        match found {
            Some(Value::String(text)) => Cow::Borrowed(text),
            Some(Value::Bool(flag)) => Cow::Borrowed(if *flag { "true" } else { "false" }),
            Some(Value::Number(number)) => Cow::Owned(number.to_string()),
            _ => Cow::Borrowed(""),
        }
    }

    fn columns(&self) -> &[Column] {
        &self.columns
    }

    fn row(&self, object: &Value, now: i64) -> Vec<Value> {
        self.shows.iter().map(|show| (show.cell)(object, now)).collect()
    }
}
