//! Whether the expressions of a policy fit the kinds it is about. What does not fit is told in the policy's status, and changes
//! nothing: a policy may know better.
//!
//! Follows `k8s.io/apiserver/pkg/admission/plugin/policy/validating/typechecking.go`. Kinds without a schema here (those of custom
//! resources) are passed over, and parameters of such kinds may be anything.

use std::collections::{BTreeMap, BTreeSet};

use orchestra_cel::{Declared, Environment, Object, Others, Type, UNBOUNDED, escape};
use serde_json::Value;

use super::environment::environment;
use super::variables::{compile_all, items, text};
use crate::gvk::GroupVersion;
use crate::schema::{self, Field, Item, ObjectType, Scalar, Shape};

/// So many kinds of one rule are looked at.
const MOST_KINDS: usize = 10;

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

/// What does not fit in the expressions of a validating policy's `spec`. `kind_of` knows the kinds of resources.
pub fn warnings(spec: &Value, kind_of: &dyn Fn(ResourceName<'_>) -> Option<String>) -> Vec<Warning> {
    let kinds: Vec<(GroupVersion, String, Declared)> = kinds(spec, kind_of)
        .into_iter()
        .filter_map(|(group, version, kind)| {
            let gv = GroupVersion { group: group.into(), version: version.into() };
            let declared = declared(schema::of_kind(&gv, &kind)?);
            Some((gv, kind, declared))
        })
        .collect();
    let environments: Vec<(String, Environment)> = kinds
        .into_iter()
        .map(|(gv, kind, declared)| {
            let base = with_params(spec).variable("object", declared.clone()).variable("oldObject", declared);
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

fn with_params(spec: &Value) -> Environment {
    let Some(kind) = spec.get("paramKind").filter(|kind| !kind.is_null()) else { return environment(false) };
    let (group, version) = text(kind, "apiVersion").split_once('/').unwrap_or(("", text(kind, "apiVersion")));
    let gv = GroupVersion { group: group.to_owned().into(), version: version.to_owned().into() };
    match schema::of_kind(&gv, text(kind, "kind")) {
        Some(ty) => environment(true).variable("params", declared(ty)),
        None => environment(true),
    }
}

/// Group, version and kind of what a policy is about, in order. Rules with stars say too little.
fn kinds(
    spec: &Value,
    kind_of: &dyn Fn(ResourceName<'_>) -> Option<String>,
) -> BTreeSet<(String, String, String)> {
    let mut out = BTreeSet::new();
    let constraints = spec.get("matchConstraints").unwrap_or(&Value::Null);
    for rule in items(constraints, "resourceRules") {
        let list = |field: &str| {
            let mut list: Vec<&str> = items(rule, field).iter().filter_map(Value::as_str).collect();
            list.sort_unstable();
            list
        };
        let (groups, versions) = (list("apiGroups"), list("apiVersions"));
        if groups.iter().chain(&versions).any(|word| word.contains('*')) {
            continue;
        }
        let resources: Vec<&str> =
            list("resources").into_iter().filter(|resource| !resource.contains(['*', '/'])).collect();
        let mut count = 0;
        for &group in &groups {
            for &version in &versions {
                for &resource in &resources {
                    let Some(kind) = kind_of(ResourceName { group, version, resource }) else { continue };
                    out.insert((group.to_owned(), version.to_owned(), kind));
                    count += 1;
                    if count == MOST_KINDS {
                        return out;
                    }
                }
            }
        }
    }
    out
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
        warnings(&spec, &|name| match (name.group, name.version, name.resource) {
            ("apps", "v1", "deployments") => Some("Deployment".to_owned()),
            ("apps", "v1", "replicasets") => Some("ReplicaSet".to_owned()),
            ("apiextensions.k8s.io", "v1", "customresourcedefinitions") => {
                Some("CustomResourceDefinition".to_owned())
            }
            _ => None,
        })
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
        assert_eq!(about(rule("example.com", &["lamps"]), wrong), []);
        let deep = "object.spec.versions[0].schema.openAPIV3Schema.properties['a'].properties['b'].what == 1";
        let deep = json!({"validations": [{"expression": deep}]});
        assert_eq!(about(rule("apiextensions.k8s.io", &["customresourcedefinitions"]), deep), []);
    }
}
