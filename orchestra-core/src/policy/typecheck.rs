//! Whether the expressions of a policy fit the kinds it is about. What does not fit is told in the policy's status, and changes
//! nothing: a policy may know better.
//!
//! Follows `k8s.io/apiserver/pkg/admission/plugin/policy/validating/typechecking.go`. Kinds that nobody knows are passed over, and
//! parameters of such kinds may be anything.

use std::collections::{BTreeMap, BTreeSet};

use orchestra_cel::{Declared, Environment, Object, Others, Type, UNBOUNDED, escape};
use serde_json::Value;

use super::environment::environment;
use super::variables::{compile_all, items, text};
use crate::custom::CustomKind;
use crate::gvk::GroupVersion;
use crate::kind::Kind as _;
use crate::schema::{self, Field, Item, ObjectType, Scalar, Shape};
use crate::structural::rules;

/// So many kinds of one rule are looked at.
const MOST_KINDS: usize = 10;
/// So many resources of one rule: there are as many as the lengths of its lists multiplied.
const MOST_NAMED: usize = 10_000;

/// What is told of one expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Such as `spec.validations[0].expression`.
    pub field: String,
    /// What does not fit which kind.
    pub warning: String,
}

/// A resource, by group, version and plural.
#[derive(Clone, Copy, Debug)]
pub struct ResourceName<'a> {
    /// The group, empty for the core.
    pub group: &'a str,
    /// The version.
    pub version: &'a str,
    /// The plural.
    pub resource: &'a str,
}

/// The kinds that policies can be about.
#[derive(Clone, Copy)]
pub struct Known<'k> {
    builtin: &'k dyn Fn(ResourceName<'_>) -> Option<String>,
    custom: &'k [CustomKind],
}

impl std::fmt::Debug for Known<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Known").field("custom", &self.custom).finish_non_exhaustive()
    }
}

impl<'k> Known<'k> {
    /// `builtin` tells the kinds of resources; `custom` are kinds that a policy may be about beside those, all versions of each.
    pub fn new(builtin: &'k dyn Fn(ResourceName<'_>) -> Option<String>, custom: &'k [CustomKind]) -> Self {
        Self { builtin, custom }
    }

    fn kind_of(&self, name: ResourceName<'_>) -> Option<String> {
        let is_it = |kind: &&CustomKind| {
            let description = kind.description();
            kind.is_served()
                && description.gv.group == name.group
                && description.gv.version == name.version
                && description.plural == name.resource
        };
        let custom = || Some(self.custom.iter().find(is_it)?.description().kind.to_string());
        (self.builtin)(name).or_else(custom)
    }

    fn declared(&self, gv: &GroupVersion, kind: &str) -> Option<Declared> {
        if let Some(ty) = schema::of_kind(gv, kind) {
            return Some(declared(ty));
        }
        let is_it =
            |custom: &&CustomKind| custom.description().gv == *gv && custom.description().kind == kind;
        declared_custom(self.custom.iter().find(is_it)?)
    }
}

/// What does not fit in the expressions of a validating policy's `spec`.
pub fn warnings(spec: &Value, known: Known<'_>) -> Vec<Warning> {
    let kinds: Vec<(GroupVersion, String, Declared)> = kinds(spec, known)
        .into_iter()
        .filter_map(|(group, version, kind)| {
            let gv = GroupVersion { group: group.into(), version: version.into() };
            let declared = known.declared(&gv, &kind)?;
            Some((gv, kind, declared))
        })
        .collect();
    let environments: Vec<(String, Environment)> = kinds
        .into_iter()
        .map(|(gv, kind, declared)| {
            let base =
                with_params(spec, known).variable("object", declared.clone()).variable("oldObject", declared);
            (format!("{}/{}, Kind={kind}", gv.group, gv.version), compile_all(spec, &base).1)
        })
        .collect();
    let mut out = Vec::new();
    for (index, validation) in items(spec, "validations").iter().enumerate() {
        for field in ["expression", "messageExpression"] {
            let expression = text(validation, field);
            if field == "messageExpression" && expression.is_empty() {
                continue;
            }
            let wrong = environments.iter().filter_map(|(kind, environment)| {
                environment.compile(expression).err().map(|error| format!("{kind}: {error}\n"))
            });
            let wrong: Vec<String> = wrong.collect();
            if !wrong.is_empty() {
                out.push(Warning {
                    field: format!("spec.validations[{index}].{field}"),
                    warning: wrong.join("\n"),
                });
            }
        }
    }
    out
}

/// Group, version and kind of the parameters of a policy, if it has some.
pub fn params_of(spec: &Value) -> Option<(GroupVersion, &str)> {
    let kind = spec.get("paramKind").filter(|kind| !kind.is_null())?;
    let (group, version) = text(kind, "apiVersion").split_once('/').unwrap_or(("", text(kind, "apiVersion")));
    let gv = GroupVersion { group: group.to_owned().into(), version: version.to_owned().into() };
    Some((gv, text(kind, "kind")))
}

fn with_params(spec: &Value, known: Known<'_>) -> Environment {
    let Some((gv, kind)) = params_of(spec) else { return environment(false) };
    match known.declared(&gv, kind) {
        Some(declared) => environment(true).variable("params", declared),
        None => environment(true),
    }
}

/// The resources that a policy names, one after the other. Rules with stars say too little, and those of parts say nothing of a kind.
pub fn resources(spec: &Value) -> impl Iterator<Item = ResourceName<'_>> {
    let constraints = spec.get("matchConstraints").unwrap_or(&Value::Null);
    items(constraints, "resourceRules").iter().flat_map(named)
}

/// The resources of a rule, in order.
fn named(rule: &Value) -> impl Iterator<Item = ResourceName<'_>> {
    let list = |field: &str| {
        let mut list: Vec<&str> = items(rule, field).iter().filter_map(Value::as_str).collect();
        list.sort_unstable();
        list.dedup();
        list
    };
    let (mut groups, versions) = (list("apiGroups"), list("apiVersions"));
    if groups.iter().chain(&versions).any(|word| word.contains('*')) {
        groups.clear();
    }
    let resources: Vec<&str> =
        list("resources").into_iter().filter(|resource| !resource.contains(['*', '/'])).collect();
    let all = groups.into_iter().flat_map(move |group| {
        let resources = resources.clone();
        versions.clone().into_iter().flat_map(move |version| {
            resources.clone().into_iter().map(move |resource| ResourceName { group, version, resource })
        })
    });
    all.take(MOST_NAMED)
}

/// Group, version and kind of what a policy is about, in order.
fn kinds(spec: &Value, known: Known<'_>) -> BTreeSet<(String, String, String)> {
    let mut out = BTreeSet::new();
    let constraints = spec.get("matchConstraints").unwrap_or(&Value::Null);
    for rule in items(constraints, "resourceRules") {
        let mut count = 0;
        for name in named(rule) {
            let Some(kind) = known.kind_of(name) else { continue };
            out.insert((name.group.to_owned(), name.version.to_owned(), kind));
            count += 1;
            if count == MOST_KINDS {
                return out;
            }
        }
    }
    out
}

/// What is declared of objects of a custom kind: what its schema says, and metadata as all objects have them.
fn declared_custom(kind: &CustomKind) -> Option<Declared> {
    let declared = rules::declared(kind.schema(), true, &kind.description().kind)?;
    let Type::Object(object) = &declared.ty else { return Some(declared) };
    let metadata = schema::by_name("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta")?;
    let mut fields = object.fields.clone();
    fields.insert("metadata".to_owned(), self::declared(metadata));
    Some(Declared::object(Object { name: object.name.clone(), fields, others: object.others }, 2))
}

/// What is declared of objects of a built-in type.
fn declared(ty: &'static ObjectType) -> Declared {
    Types::default().object(ty)
}

/// The types on the way down, and those that are done.
#[derive(Default)]
struct Types {
    open: Vec<&'static str>,
    made: BTreeMap<&'static str, Declared>,
}

fn simple(ty: Type) -> Declared {
    Declared::simple(ty, UNBOUNDED, 1)
}

impl Types {
    fn object(&mut self, ty: &'static ObjectType) -> Declared {
        if let Some(made) = self.made.get(ty.name) {
            return made.clone();
        }
        // A type that holds itself may be anything there.
        if self.open.contains(&ty.name) {
            return Declared::dynamic();
        }
        self.open.push(ty.name);
        let mut fields = BTreeMap::new();
        for field in &ty.fields {
            if let Some(name) = escape(field.name) {
                fields.insert(name, self.field(field));
            }
        }
        self.open.pop();
        let object = Object { name: ty.name.to_owned(), fields, others: Others::Refused };
        let made = Declared::object(object, 2);
        self.made.insert(ty.name, made.clone());
        made
    }

    fn field(&mut self, field: &'static Field) -> Declared {
        let item = match field.item {
            Item::Object(_) => field.object().map_or_else(Declared::dynamic, |ty| self.object(ty)),
            Item::Scalar(scalar) => match scalar {
                Scalar::String | Scalar::Quantity => simple(Type::String),
                Scalar::Bool => simple(Type::Bool),
                Scalar::Int32 | Scalar::Int64 => simple(Type::Int),
                Scalar::Float64 => simple(Type::Double),
                Scalar::Bytes => simple(Type::Bytes),
                Scalar::Time | Scalar::MicroTime => simple(Type::Timestamp),
                _ => Declared::dynamic(),
            },
        };
        match field.shape {
            Shape::Single => item,
            Shape::List => Declared::list(item, UNBOUNDED),
            Shape::Map => Declared::map(item, UNBOUNDED),
            Shape::MapOfLists => Declared::map(Declared::list(item, UNBOUNDED), UNBOUNDED),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn about(rules: Value, more: Value) -> Vec<Warning> {
        let mut spec = json!({"matchConstraints": {"resourceRules": rules}});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let builtin = |name: ResourceName<'_>| match (name.group, name.version, name.resource) {
            ("apps", "v1", "deployments") => Some("Deployment".to_owned()),
            ("apps", "v1", "replicasets") => Some("ReplicaSet".to_owned()),
            ("apiextensions.k8s.io", "v1", "customresourcedefinitions") => {
                Some("CustomResourceDefinition".to_owned())
            }
            _ => None,
        };
        warnings(&spec, Known::new(&builtin, &lamps()))
    }

    fn lamps() -> Vec<CustomKind> {
        CustomKind::of_definition(&json!({"spec": {
            "group": "example.com", "scope": "Namespaced", "names": {"plural": "lamps", "kind": "Lamp"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "properties": {"spec": {"type": "object", "properties": {
                    "watts": {"type": "integer"},
                    "rest": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                    "bulbs": {"type": "array", "items": {"type": "object", "properties": {"warm": {"type": "boolean"}}}},
                }}}}}}],
        }}))
    }

    #[test]
    fn custom_kinds_and_parameters_are_checked_by_their_schemas() {
        let spec = json!({
            "paramKind": {"apiVersion": "example.com/v1", "kind": "Lamp"},
            "validations": [
                {"expression": "object.spec.watts > params.spec.watts && object.metadata.labels['a'] == 'b' && \
                    object.spec.bulbs.all(bulb, bulb.warm) && object.kind == 'Lamp'"},
                {"expression": "object.spec.watts == 'many'"},
                {"expression": "object.spec.lumen > 1"},
                {"expression": "params.spec.lumen > 1"},
            ],
        });
        let told = about(rule("example.com", &["lamps", "lamps/status"]), spec);
        let fields: Vec<&str> = told.iter().map(|told| told.field.as_str()).collect();
        let at = |index: usize| format!("spec.validations[{index}].expression");
        assert_eq!(fields, [at(1), at(2), at(3)]);
        assert!(told[0].warning.contains("found no matching overload for '_==_' applied to '(int, string)'"));
        assert_eq!(
            told[1].warning,
            "example.com/v1, Kind=Lamp: ERROR: <input>:1:12: undefined field 'lumen'\n | object.spec.lumen > 1\n | ...........^\n"
        );
    }

    fn rule(group: &str, resources: &[&str]) -> Value {
        json!([{"apiGroups": [group], "apiVersions": ["v1"], "operations": ["*"], "resources": resources}])
    }

    #[test]
    fn what_does_not_fit_is_told_for_each_kind() {
        let spec = json!({
            "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
            "variables": [{"name": "wanted", "expression": "object.spec.replicas"}],
            "validations": [
                {"expression": "variables.wanted > 1 && object.metadata.creationTimestamp < timestamp('2030-01-01T00:00:00Z') && \
                    object.spec.template.spec.containers.all(c, !has(c.image) || c.image != '') && params.data.x == 'y'"},
                {"expression": "object.spec.replicas > '1'", "messageExpression": "object.spec.none"},
            ],
        });
        let told = about(rule("apps", &["deployments", "replicasets", "deployments/scale"]), spec);
        let fields: Vec<&str> = told.iter().map(|told| told.field.as_str()).collect();
        assert_eq!(fields, ["spec.validations[1].expression", "spec.validations[1].messageExpression"]);
        assert_eq!(
            told[1].warning,
            "apps/v1, Kind=Deployment: ERROR: <input>:1:12: undefined field 'none'\n | object.spec.none\n | ...........^\n\n\
             apps/v1, Kind=ReplicaSet: ERROR: <input>:1:12: undefined field 'none'\n | object.spec.none\n | ...........^\n"
        );
        assert!(told[0].warning.contains("found no matching overload for '_>_' applied to '(int, string)'"));
    }

    #[test]
    fn what_is_not_known_is_passed_over() {
        let wrong = json!({"validations": [{"expression": "object.none == 1"}]});
        assert_eq!(about(rule("*", &["deployments"]), wrong.clone()), []);
        assert_eq!(about(rule("apps", &["*"]), wrong.clone()), []);
        assert_eq!(about(rule("example.com", &["torches"]), wrong), []);
        let deep = "object.spec.versions[0].schema.openAPIV3Schema.properties['a'].properties['b'].what == 1";
        let deep = json!({"validations": [{"expression": deep}]});
        assert_eq!(about(rule("apiextensions.k8s.io", &["customresourcedefinitions"]), deep), []);
    }
}
