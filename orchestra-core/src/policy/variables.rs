//! What expressions of a policy see: the inputs, and the variables that the policy makes of them. Each variable sees those before
//! it, is worked out when it is asked for, and once.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};

use orchestra_cel::{Declared, Environment, Fault, Object, Others, Outcome, Program, Scope, Value as Cel};
use serde_json::Value;

use super::environment::{Wanted, compile};
use super::{Inputs, Lazy, access};

/// How deep variables that are made of others may go, all their expressions together: evaluation goes as deep.
const MAX_DEPTH: usize = 250;

/// What a policy calls a value, and the expression that gives it; or why that cannot be compiled.
pub(super) type Variable = (String, Result<Program, String>);

pub(super) fn text<'v>(value: &'v Value, field: &str) -> &'v str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

pub(super) fn items<'v>(spec: &'v Value, field: &str) -> &'v [Value] {
    spec.get(field).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// The variables of a policy, each of which sees those before it, and the environment with all of them.
pub(super) fn compile_all(spec: &Value, base: &Environment) -> (Vec<Variable>, Environment) {
    let mut fields: BTreeMap<String, Declared> = BTreeMap::new();
    let mut out = Vec::new();
    let with = |fields: &BTreeMap<String, Declared>| {
        let object = Object {
            name: "kubernetes.variables".to_owned(),
            fields: fields.clone(),
            others: Others::Refused,
        };
        base.clone().variable("variables", Declared::object(object, 2))
    };
    let mut depths: HashMap<String, usize> = HashMap::new();
    for variable in items(spec, "variables") {
        let name = text(variable, "name").to_owned();
        let program = compile(&with(&fields), text(variable, "expression"), Wanted::Any);
        let program = program.and_then(|program| {
            let below =
                program.fields_of("variables").into_iter().filter_map(|field| depths.get(field)).max();
            let depth = program.depth() + below.copied().unwrap_or_default();
            if depth > MAX_DEPTH {
                return Err(format!("compilation failed: expression recursion limit exceeded: {MAX_DEPTH}"));
            }
            depths.insert(name.clone(), depth);
            Ok(program)
        });
        let declared = program.as_ref().map_or_else(|_| Declared::dynamic(), Program::declared);
        fields.insert(name.clone(), declared);
        out.push((name, program));
    }
    (out, with(&fields))
}

/// The inputs, and the variables that expressions make of them.
pub(super) struct Variables<'a> {
    inputs: &'a Inputs<'a>,
    named: &'a [Variable],
    known: RefCell<HashMap<String, Result<Cel, Fault>>>,
}

impl<'a> Variables<'a> {
    pub(super) fn new(inputs: &'a Inputs<'a>, named: &'a [Variable]) -> Self {
        Self { inputs, named, known: RefCell::default() }
    }
}

impl Scope for Variables<'_> {
    fn get(&self, name: &str) -> Option<Cel> {
        match name {
            "object" => Some(self.inputs.object.get()),
            "oldObject" => Some(self.inputs.old.get()),
            "request" => Some(self.inputs.request.get()),
            "namespaceObject" => Some(self.inputs.namespace.get()),
            "params" => self.inputs.params.as_ref().map(Lazy::get),
            "authorizer" => self.inputs.authority.map(|_| access::authorizer()),
            "authorizer.requestResource" => {
                let request = self.inputs.request.0.unwrap_or(&Value::Null);
                self.inputs.authority.map(|_| access::request_resource(request))
            }
            _ => None,
        }
    }

    fn call(&self, function: &str, operands: &[Cel]) -> Option<Result<Cel, Fault>> {
        access::call(self.inputs.authority?, function, operands)
    }

    fn lazy(&self, name: &str, field: &str, budget: u64) -> Option<Outcome> {
        if name != "variables" {
            return None;
        }
        if let Some(result) = self.known.borrow().get(field) {
            return Some(Outcome { result: result.clone(), cost: 0 });
        }
        let (_, program) = self.named.iter().find(|(name, _)| name == field)?;
        let failed =
            |why: String| Fault::Error(format!("composited variable {field:?} fails to evaluate: {why}"));
        // A variable sees those before it only, so this ends.
        let outcome = match program {
            Ok(program) => program.evaluate(self, budget),
            Err(why) => Outcome { result: Err(failed(why.clone())), cost: 0 },
        };
        let result = match outcome.result {
            Err(Fault::Error(why)) => Err(failed(why)),
            other => other,
        };
        self.known.borrow_mut().insert(field.to_owned(), result.clone());
        Some(Outcome { result, cost: outcome.cost })
    }
}
