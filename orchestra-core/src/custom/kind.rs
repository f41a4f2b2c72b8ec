//! One version of a custom kind.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::columns::{self, CustomColumn};
use crate::gvk::GroupVersion;
use crate::kind::{Column, Description, Kind, ScalePaths, Scope, Subresource};
use crate::kinds::frame::cells::{list, text};
use crate::meta::{self, name};
use crate::schema::{DecodeError, Problem};
use crate::structural::rules::Rules;
use crate::structural::{self, Structural};
use crate::violation::{FieldPath, Reason, Violation, Violations};

/// A version of a kind that a definition makes. Serves as any other [`Kind`]; besides, it fits objects to its schema.
#[derive(Debug)]
pub struct CustomKind {
    description: Description,
    schema: Arc<Structural>,
    /// The schema as it was written, for documents.
    source: Value,
    columns: Vec<Column>,
    cells: Vec<CustomColumn>,
    fields: Vec<Cow<'static, str>>,
    storage: GroupVersion,
    is_served: bool,
    deprecation: Option<String>,
    rules: Option<Rules>,
}

impl CustomKind {
    /// The kinds of a definition that has passed validation, one for each version, in the order of discovery.
    pub fn of_definition(definition: &Value) -> Vec<Self> {
        let mut versions: Vec<&Value> = list(definition, "/spec/versions").iter().collect();
        versions.sort_by(|a, b| super::version_order(text(a, "/name"), text(b, "/name")));
        versions.iter().map(|version| Self::new(definition, version)).collect()
    }

    fn new(definition: &Value, version: &Value) -> Self {
        let spec = |pointer: &str| text(definition, pointer).to_owned();
        let names = |field: &str| spec(&format!("/spec/names/{field}"));
        let gv =
            |version: String| GroupVersion { group: spec("/spec/group").into(), version: version.into() };
        let storage = list(definition, "/spec/versions")
            .iter()
            .find(|version| version.get("storage") == Some(&Value::Bool(true)));
        let own_name = text(version, "/name").to_owned();
        let scope =
            if text(definition, "/spec/scope") == "Cluster" { Scope::Cluster } else { Scope::Namespaced };
        let labels = |field: &str| {
            let all = list(definition, &format!("/spec/names/{field}")).iter();
            all.filter_map(Value::as_str).map(|label| label.to_owned().into()).collect()
        };
        let description = Description {
            gv: gv(own_name.clone()),
            kind: names("kind").into(),
            plural: names("plural").into(),
            singular: names("singular").into(),
            list_kind: names("listKind").into(),
            short_names: labels("shortNames"),
            categories: labels("categories"),
            scope,
            subresources: subresources(version),
            create_on_update: false,
            unconditional_update: false,
            delete_collection: true,
            only: None,
        };
        let source = version.pointer("/schema/openAPIV3Schema").cloned().unwrap_or_default();
        let schema = Structural::read(&source);
        let cells = columns::columns(version);
        let mut columns = vec![columns::name()];
        columns.extend(cells.iter().map(|cell| cell.column.clone()));
        let fields = list(version, "/selectableFields").iter();
        let deprecated = version.get("deprecated") == Some(&Value::Bool(true));
        Self {
            rules: Rules::compile(&source, &schema),
            schema: Arc::new(schema),
            columns,
            cells,
            fields: fields
                .map(|field| text(field, "/jsonPath").trim_start_matches('.').to_owned().into())
                .collect(),
            storage: gv(storage.map_or(own_name, |version| text(version, "/name").to_owned())),
            is_served: version.get("served") == Some(&Value::Bool(true)),
            deprecation: deprecated.then(|| deprecation(version, &description)),
            source,
            description,
        }
    }

    /// The schema of objects.
    pub fn schema(&self) -> &Arc<Structural> {
        &self.schema
    }

    /// The schema as the definition states it.
    pub fn source(&self) -> &Value {
        &self.source
    }

    /// The version objects are stored in.
    pub fn storage(&self) -> &GroupVersion {
        &self.storage
    }

    /// Whether clients may use this version.
    pub fn is_served(&self) -> bool {
        self.is_served
    }

    /// What clients that use this version are warned of.
    pub fn deprecation(&self) -> Option<&str> {
        self.deprecation.as_deref()
    }

    /// Fits an object that a client sent, or that a patch made, to the schema: metadata in the form of its type, unknown
    /// fields gone. Returns what strict validation minds.
    ///
    /// # Errors
    /// A field of some metadata has a wrong type.
    pub fn conform(&self, object: &mut Value) -> Result<Vec<Problem>, DecodeError> {
        let mut problems: Vec<Problem> =
            structural::prune::prune(object, &self.schema).into_iter().map(Problem::UnknownField).collect();
        problems.extend(structural::coerce_metadata(object, &self.schema)?);
        structural::default::drop_nulls(object, &self.schema);
        Ok(problems)
    }

    /// An object from the store that was written in this version: its schema may have changed since.
    pub fn revive(&self, object: &mut Value) {
        structural::prune::prune(object, &self.schema);
        self.default(object);
    }

    /// Makes an object of another version one of this: what this version does not know goes. Defaults are those of the
    /// version it comes from, as upstream has it.
    pub fn adopt(&self, object: &mut Value) {
        if let Some(map) = object.as_object_mut() {
            map.insert("apiVersion".to_owned(), self.description.gv.to_string().into());
        }
        structural::prune::prune(object, &self.schema);
    }

    fn has_status(&self) -> bool {
        self.description.subresources.contains(&Subresource::Status)
    }

    fn scale(&self) -> Option<&ScalePaths> {
        self.description.subresources.iter().find_map(|subresource| match subresource {
            Subresource::Scale(paths) => Some(paths),
            Subresource::Status | Subresource::Part(_) => None,
        })
    }

    /// Rules that are the same for new and changed objects, but for what `old` lets pass.
    fn rules(&self, object: &Value, old: Option<&Value>, out: &mut Violations) {
        out.extend(self.schema.validate(object, old, &FieldPath::root()));
        if let Some(scale) = self.scale() {
            replicas(object, &scale.spec, out);
            self.scale_status(object, scale, out);
        }
        out.extend(structural::validate_embedded(object, &self.schema));
        self.lists(object, old, out);
    }

    fn lists(&self, object: &Value, old: Option<&Value>, out: &mut Violations) {
        let was_fine = old.is_none_or(|old| structural::validate_lists(old, &self.schema).is_empty());
        if was_fine {
            out.extend(structural::validate_lists(object, &self.schema));
        }
    }

    fn scale_status(&self, object: &Value, scale: &ScalePaths, out: &mut Violations) {
        replicas(object, &scale.status, out);
        let selector = object.pointer(&scale.selector).filter(|_| !scale.selector.is_empty());
        if let Some(selector) = selector.filter(|selector| !selector.is_string() && !selector.is_null()) {
            let path = FieldPath::new(&dotted(&scale.selector));
            let why = format!("{} accessor error: {selector} is of the wrong type, expected string", path);
            out.push(Violation::invalid(&path, "", why));
        }
    }

    /// Asks the rules in CEL, unless the object is so wrong that they would not know what to make of it: then clients are
    /// told that they were passed over.
    fn finish(&self, object: &Value, old: Option<&Value>, out: &mut Violations) {
        let Some(rules) = &self.rules else { return };
        let blocks = |violation: &Violation| {
            matches!(
                violation.reason,
                Reason::NotSupported
                    | Reason::Required
                    | Reason::TooLong
                    | Reason::TooMany
                    | Reason::TypeInvalid
            )
        };
        if out.iter().any(blocks) {
            let why = "some validation rules were not checked because the object was invalid; correct the existing \
                       errors to complete validation";
            out.push(Violation::invalid(&FieldPath::root(), "null", why));
            return;
        }
        out.extend(rules.validate(object, old));
    }
}

fn deprecation(version: &Value, description: &Description) -> String {
    match version.get("deprecationWarning").and_then(Value::as_str) {
        Some(warning) => warning.to_owned(),
        None => format!("{} {} is deprecated", description.gv, description.kind),
    }
}

fn subresources(version: &Value) -> Vec<Subresource> {
    let mut out = Vec::new();
    if version.pointer("/subresources/status").is_some_and(Value::is_object) {
        out.push(Subresource::Status);
    }
    if let Some(scale) = version.pointer("/subresources/scale").filter(|scale| scale.is_object()) {
        // Paths are simple: names with dots between.
        let pointer = |field: &str| text(scale, &format!("/{field}")).replace('.', "/").into();
        out.push(Subresource::Scale(ScalePaths {
            spec: pointer("specReplicasPath"),
            status: pointer("statusReplicasPath"),
            selector: pointer("labelSelectorPath"),
            spec_is_required: true,
        }));
    }
    out
}

fn dotted(pointer: &str) -> String {
    pointer.replace('/', ".")
}

fn replicas(object: &Value, pointer: &str, out: &mut Violations) {
    let Some(value) = object.pointer(pointer) else { return };
    let path = FieldPath::new(&dotted(pointer));
    match value.as_i64() {
        None => {
            let why = format!("{path} accessor error: {value} is of the wrong type, expected int64");
            out.push(Violation::invalid(&path, 0, why));
        }
        Some(number) if number < 0 => {
            out.push(Violation::invalid(&path, number, "should be a non-negative integer"));
        }
        Some(number) if number > i64::from(i32::MAX) => {
            let why = format!("should be less than or equal to {}", i32::MAX);
            out.push(Violation::invalid(&path, number, why));
        }
        Some(_) => {}
    }
}

fn keep(new: &mut Map<String, Value>, old: &Value, field: &str) {
    match old.get(field) {
        Some(value) => {
            new.insert(field.to_owned(), value.clone());
        }
        None => {
            new.remove(field);
        }
    }
}

fn set_generation(new: &mut Map<String, Value>, generation: i64) {
    if let Some(metadata) = new.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("generation".to_owned(), generation.into());
    }
}

fn meta_path() -> FieldPath {
    FieldPath::new("metadata")
}

impl Kind for CustomKind {
    fn description(&self) -> &Description {
        &self.description
    }

    fn default(&self, object: &mut Value) {
        structural::default::default(object, &self.schema);
    }

    fn prepare_create(&self, object: &mut Value) {
        let Some(object) = object.as_object_mut() else { return };
        if self.has_status() {
            object.remove("status");
        }
        set_generation(object, 1);
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        let Some(new) = new.as_object_mut() else { return };
        if self.has_status() {
            keep(new, old, "status");
        }
        let before = old.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or_default();
        let own = |field: &&String| field.as_str() != "metadata";
        let mut fields = new.keys().chain(old.as_object().into_iter().flat_map(Map::keys)).filter(own);
        let changed = fields.any(|field| new.get(field) != old.get(field));
        set_generation(new, before + i64::from(changed));
    }

    fn prepare_status_update(&self, new: &mut Value, old: &Value) {
        let status = new.get("status").cloned();
        let managed = new.pointer("/metadata/managedFields").cloned();
        let mut whole = old.clone();
        if let Some(map) = whole.as_object_mut() {
            match status {
                Some(status) => map.insert("status".to_owned(), status),
                None => map.remove("status"),
            };
        }
        if let Some(metadata) = whole.get_mut("metadata").and_then(Value::as_object_mut) {
            match managed {
                Some(managed) => metadata.insert("managedFields".to_owned(), managed),
                None => metadata.remove("managedFields"),
            };
        }
        *new = whole;
    }

    fn validate_create(&self, object: &Value) -> Violations {
        let scope = self.description.scope;
        let mut out = meta::validate_object_meta(object, scope, name::is_dns1123_subdomain, &meta_path());
        self.rules(object, None, &mut out);
        self.finish(object, None, &mut out);
        out
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Violations {
        let mut out = meta::validate_object_meta_update(new, old, &meta_path());
        self.rules(new, Some(old), &mut out);
        self.finish(new, Some(old), &mut out);
        out
    }

    fn validate_status_update(&self, new: &Value, old: &Value) -> Violations {
        let mut out = meta::validate_object_meta_update(new, old, &meta_path());
        if let (Some(status), Some(schema)) = (new.get("status"), self.schema.properties.get("status")) {
            out.extend(schema.validate(status, old.get("status"), &FieldPath::new("status")));
        }
        if let Some(scale) = self.scale() {
            self.scale_status(new, scale, &mut out);
        }
        self.lists(new, Some(old), &mut out);
        self.finish(new, Some(old), &mut out);
        out
    }

    fn selectable_fields(&self) -> &[Cow<'static, str>] {
        &self.fields
    }

    fn field_value<'a>(&self, object: &'a Value, field: &str) -> Cow<'a, str> {
        match field.split('.').try_fold(object, |value, part| value.get(part)) {
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
        let name = Value::from(text(object, "/metadata/name"));
        std::iter::once(name).chain(self.cells.iter().map(|cell| cell.cell(object, now))).collect()
    }
}
