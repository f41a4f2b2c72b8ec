//! One `MutatingAdmissionPolicy`, compiled.
//!
//! What a mutation makes of an object, its expression says: a configuration, which is laid over the object by the schema of its
//! kind, or a JSON patch. Follows `k8s.io/apiserver/pkg/admission/plugin/policy/mutating`.

use orchestra_cel::{Message, Program, Value as Cel, values};
use serde_json::{Map, Number, Value, json};

use super::conditions::{Conditions, Matched};
use super::environment::{CONFIGURATION, OPERATION, Wanted, compile, environment, with_patches};
use super::variables::{Variable, Variables, compile_all, items, text};
use super::{Failed, Inputs, OUT_OF_BUDGET, POLICY_BUDGET, evaluate};
use crate::patch::apply::{Schema, overlay};
use crate::patch::{PatchError, json as json_patch};
use crate::schema;

/// The most that one mutation may write, in bytes: as much as a request may have.
const MAX_WRITTEN: usize = 3 * 1024 * 1024;
/// The largest whole number that every reader of JSON takes for itself.
const MAX_SAFE: i64 = (1 << 53) - 1;

/// Why a mutation made nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unmade {
    /// It failed: what follows, the policy says.
    Failed(String),
    /// What it made is no object of the kind, which refuses the request whatever the policy says.
    Misshapen(String),
}

/// How the object is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Configuration,
    Patch,
}

/// One mutation of a policy.
#[derive(Clone, Debug)]
pub struct Mutation {
    way: Way,
    expression: String,
    program: Result<Program, String>,
}

/// A policy whose mutations can be made.
#[derive(Clone, Debug)]
pub struct MutatingPolicy {
    conditions: Conditions,
    variables: Vec<Variable>,
    mutations: Vec<Mutation>,
    fails_open: bool,
    is_reinvoked: bool,
}

fn has_params(spec: &Value) -> bool {
    spec.get("paramKind").is_some_and(|kind| !kind.is_null())
}

/// The way of a mutation, the field that says what it makes, and what that says.
fn read(mutation: &Value) -> Option<(Way, &'static str, &str)> {
    let (way, field) = match text(mutation, "patchType") {
        "ApplyConfiguration" => (Way::Configuration, "applyConfiguration"),
        "JSONPatch" => (Way::Patch, "jsonPatch"),
        _ => return None,
    };
    let patch = mutation.get(field)?;
    Some((way, field, text(patch, "expression")))
}

fn wanted(way: Way) -> Wanted {
    match way {
        Way::Configuration => Wanted::Configuration,
        Way::Patch => Wanted::Patch,
    }
}

impl MutatingPolicy {
    /// Compiles the `spec` of a policy; what cannot be compiled fails when it is asked.
    pub fn compile(spec: &Value) -> Self {
        let (variables, environment) = compile_all(spec, &environment(has_params(spec)));
        let environment = with_patches(environment);
        let mutation = |mutation: &Value| {
            let (way, _, expression) = read(mutation)?;
            let program = compile(&environment, expression, wanted(way));
            Some(Mutation { way, expression: expression.to_owned(), program })
        };
        Self {
            conditions: Conditions::compile(
                spec.get("matchConditions").unwrap_or(&Value::Null),
                has_params(spec),
            ),
            mutations: items(spec, "mutations").iter().filter_map(mutation).collect(),
            fails_open: text(spec, "failurePolicy") == "Ignore",
            is_reinvoked: text(spec, "reinvocationPolicy") == "IfNeeded",
            variables,
        }
    }

    /// What is wrong with the expressions of a `spec`: the path of each below it, the expression, and why.
    pub fn problems(spec: &Value) -> Vec<(String, String, String)> {
        let mut out = Vec::new();
        let (variables, environment) = compile_all(spec, &environment(has_params(spec)));
        for (index, ((_, program), variable)) in variables.iter().zip(items(spec, "variables")).enumerate() {
            let expression = text(variable, "expression");
            if let (Err(why), false) = (program, expression.trim().is_empty()) {
                out.push((format!("variables[{index}].expression"), expression.to_owned(), why.clone()));
            }
        }
        let environment = with_patches(environment);
        for (index, mutation) in items(spec, "mutations").iter().enumerate() {
            let Some((way, field, expression)) = read(mutation) else { continue };
            let expression = expression.trim();
            if expression.is_empty() {
                continue;
            }
            if let Err(why) = compile(&environment, expression, wanted(way)) {
                out.push((format!("mutations[{index}].{field}.expression"), expression.to_owned(), why));
            }
        }
        out
    }

    /// Whether a failure lets requests pass.
    pub fn fails_open(&self) -> bool {
        self.fails_open
    }

    /// Whether the policy wants to be asked again when somebody changes the object after it.
    pub fn is_reinvoked(&self) -> bool {
        self.is_reinvoked
    }

    /// What it changes, in order.
    pub fn mutations(&self) -> &[Mutation] {
        &self.mutations
    }

    /// Whether a request is meant.
    pub fn matches(&self, inputs: &Inputs<'_>) -> Matched {
        self.conditions.ask(inputs)
    }

    /// What a mutation makes of `object`, which is the object of `inputs`; `None` if nothing.
    ///
    /// # Errors
    /// The expression fails, or what it says does not fit the object.
    pub fn mutate(
        &self,
        mutation: &Mutation,
        inputs: &Inputs<'_>,
        object: &Value,
        schema: Schema<'_>,
    ) -> Result<Option<Value>, Unmade> {
        if let Err(why) = &mutation.program {
            return Err(Unmade::Failed(why.clone()));
        }
        let scope = Variables::new(inputs, &self.variables);
        let mut budget = POLICY_BUDGET;
        let value = evaluate(&mutation.expression, &mutation.program, &scope, &mut budget);
        let value = value.map_err(|failed| {
            Unmade::Failed(match failed {
                Failed::Here(why) => why,
                Failed::Budget => OUT_OF_BUDGET.to_owned(),
            })
        })?;
        match mutation.way {
            Way::Configuration => configured(&value, object, schema).map(Some).map_err(Unmade::Failed),
            Way::Patch => patched(&value, object, schema),
        }
    }
}

fn configured(value: &Cel, object: &Value, schema: Schema<'_>) -> Result<Value, String> {
    let Some(message) = Message::of(value).filter(|message| message.name.as_ref() == CONFIGURATION) else {
        return Err("unsupported return type from ApplyConfiguration expression".to_owned());
    };
    let mut config =
        values::to_json(value, MAX_WRITTEN).map_err(|why| format!("invalid return type: {why}"))?;
    check_names(message).map_err(|why| format!("type mismatch: {why}"))?;
    for field in ["apiVersion", "kind"] {
        if let (Some(own), Some(config)) = (object.get(field), config.as_object_mut()) {
            config.insert(field.to_owned(), own.clone());
        }
    }
    overlay(object, &config, schema).map_err(|why| format!("error applying patch: {why}"))
}

/// The parts of a configuration must be of the types that their places are named after. The value is of a size that was looked at before.
fn check_names(message: &Message) -> Result<(), String> {
    let mut wrong = Vec::new();
    let mut path = message.name.to_string();
    look(message, &mut path, &mut wrong);
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

/// So many wrong names are told.
const MAX_TOLD: usize = 20;

fn look(message: &Message, path: &mut String, wrong: &mut Vec<String>) {
    if *path != *message.name && wrong.len() < MAX_TOLD {
        wrong.push(format!(
            "unexpected type name {:?}, expected {path:?}, which matches field name path from root Object type",
            message.name
        ));
    }
    for (name, value) in &message.fields {
        let length = path.len();
        path.push('.');
        path.push_str(name);
        look_into(value, path, wrong);
        path.truncate(length);
    }
}

fn look_into(value: &Cel, path: &mut String, wrong: &mut Vec<String>) {
    match value {
        Cel::List(items) => items.iter().for_each(|item| look_into(item, path, wrong)),
        Cel::Map(map) => map.map.values().for_each(|value| look_into(value, path, wrong)),
        other => {
            if let Some(message) = Message::of(other) {
                look(message, path, wrong);
            }
        }
    }
}

fn patched(value: &Cel, object: &Value, schema: Schema<'_>) -> Result<Option<Value>, Unmade> {
    let patch = operations(value).map_err(Unmade::Failed)?;
    let made = json_patch::apply_if_it_holds(object, &patch).map_err(|error| {
        Unmade::Failed(match error {
            PatchError::Unprocessable { cause } => format!("JSONPath: {cause}"),
            other => format!("JSONPath: {other}"),
        })
    })?;
    let Some(mut made) = made else { return Ok(None) };
    let is = |field: &str| made.get(field) == object.get(field);
    if !made.is_object() || !is("kind") || !is("apiVersion") {
        return Err(Unmade::Misshapen("a patch must not make another kind of object".to_owned()));
    }
    if let Schema::Builtin(ty) = schema {
        let problems =
            schema::conform(&mut made, ty).map_err(|error| Unmade::Misshapen(error.to_string()))?;
        if !problems.is_empty() {
            return Err(Unmade::Misshapen(schema::strict_error(&problems).to_string()));
        }
    }
    Ok(Some(made))
}

/// The patch that an expression has made, as JSON.
fn operations(value: &Cel) -> Result<Value, String> {
    let Cel::List(items) = value else {
        return Err("type mismatch: JSONPatchType.expression should evaluate to array".to_owned());
    };
    let mut left = MAX_WRITTEN;
    let mut out = Vec::with_capacity(items.len());
    for item in items.iter() {
        let Some(message) = Message::of(item).filter(|message| message.name.as_ref() == OPERATION) else {
            return Err(
                "type mismatch: JSONPatchType.expression should evaluate to array of JSONPatch".to_owned()
            );
        };
        let mut operation = Map::from_iter([("op".to_owned(), json!("")), ("path".to_owned(), json!(""))]);
        for (name, value) in &message.fields {
            match (name.as_ref(), value) {
                ("value", value) => {
                    if let Some(message) = Message::of(value) {
                        values::to_json(value, left).map_err(|why| unmarshalled(&why))?;
                        check_names(message).map_err(|why| format!("type mismatch: {why}"))?;
                    }
                    let mut json = values::to_json(value, left).map_err(|why| unmarshalled(&why))?;
                    as_numbers(&mut json);
                    operation.insert("value".to_owned(), json);
                }
                ("from", Cel::String(text)) if text.is_empty() => {}
                (name, Cel::String(text)) => {
                    operation.insert(name.to_owned(), Value::from(text.as_str()));
                }
                (name, _) => return Err(format!("unexpected type for JSONPatchType '{name}' field")),
            }
        }
        let operation = Value::Object(operation);
        left = left.saturating_sub(operation.to_string().len());
        out.push(operation);
    }
    Ok(Value::Array(out))
}

fn unmarshalled(why: &values::NotJson) -> String {
    format!("JSONPath valueExpression evaluated to a type that could not marshal to JSON: {why}")
}

/// Numbers of patches go through doubles: whole ones lose their point, large ones become text.
fn as_numbers(value: &mut Value) {
    match value {
        Value::Number(number) => {
            let whole = number.as_f64().filter(|float| number.is_f64() && float.fract() == 0.0);
            if let Some(float) = whole.filter(|float| float.abs() <= MAX_SAFE as f64) {
                *value = Value::Number(Number::from(float as i64));
            } else if number.as_i64().is_some_and(|number| !(-MAX_SAFE..=MAX_SAFE).contains(&number)) {
                *value = Value::from(number.to_string());
            }
        }
        Value::Array(items) => items.iter_mut().for_each(as_numbers),
        Value::Object(map) => map.values_mut().for_each(as_numbers),
        _ => {}
    }
}
