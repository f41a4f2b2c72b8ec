//! The Common Expression Language as the Kubernetes API server speaks it.
//!
//! An [`Environment`] says which variables there are and what is known of them. It compiles an expression: reads it, checks it
//! against the types, and estimates what it can cost at most. The [`Program`] is evaluated with a budget, which it
//! never exceeds: whatever an expression does is counted while it is done, so one that comes from an attacker ends.
//!
//! ```
//! use orchestra_cel::{Declared, Environment, Scope, Type, Value, values};
//!
//! struct Self_(Value);
//! impl Scope for Self_ {
//!     fn get(&self, name: &str) -> Option<Value> {
//!         (name == "self").then(|| self.0.clone())
//!     }
//! }
//!
//! let environment = Environment::new().variable("self", Declared::list(Declared::simple(Type::Int, 1, 1), 10));
//! let program = environment.compile("self.all(n, n > 0)").expect("fits");
//! assert_eq!(program.ty(), &Type::Bool);
//! let outcome = program.evaluate(&Self_(values::from_json(&serde_json::json!([1, 2]))), 1_000);
//! assert_eq!(outcome.result, Ok(Value::Bool(true)));
//! let error = environment.compile("self.all(n, n > 'a')").expect_err("does not");
//! assert!(error.to_string().starts_with("ERROR: <input>:1:15: found no matching overload for '_>_'"));
//! ```
//!
//! Values, and the functions of Kubernetes' libraries, are those of [`kube_cel`] and the `cel` crate it re-exports. Reader,
//! checker and evaluator are our own, because that crate checks no types, counts no costs, and lets
//! a field of what has none pass as `false`.
//!
//! Differences from upstream: lists that are sets or maps by their schema compare as lists, in order; deep comparisons
//! and the making of many patterns cost a little more; expressions nest at most 100 deep.

mod ast;
mod bridge;
mod check;
mod cost;
mod declared;
mod eval;
mod lexer;
mod library;
mod message;
mod operators;
mod parser;
pub mod values;

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

pub use declared::{Declared, Object, Others, Type, UNBOUNDED};
pub use eval::{Fault, Outcome, Scope};
pub use kube_cel::cel::Value;
pub use kube_cel::cel::objects::{Key, Map, Opaque, OptionalValue};
pub use message::Message;
pub use values::{escape, is_identifier};

use check::Checker;
use eval::Evaluator;
use lexer::Unreadable;
use message::Messages;

/// The variables expressions may use.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    variables: HashMap<String, Arc<Declared>>,
    messages: Messages,
}

impl Environment {
    /// No variables.
    pub fn new() -> Self {
        Self::default()
    }

    /// With a variable more.
    #[must_use]
    pub fn variable(mut self, name: &str, declared: Declared) -> Self {
        self.variables.insert(name.to_owned(), Arc::new(declared));
        self
    }

    /// With a type of which expressions may write values: `Type{field: value}`.
    #[must_use]
    pub fn message(mut self, object: Object) -> Self {
        self.messages.add(object);
        self
    }

    /// With types of any fields: `name`, and every name that begins with it and a dot.
    #[must_use]
    pub fn family(mut self, name: &str) -> Self {
        self.messages.add_family(name);
        self
    }

    /// Reads and checks an expression.
    ///
    /// # Errors
    /// It cannot be read, or does not fit the types.
    pub fn compile(&self, source: &str) -> Result<Program, CompileError> {
        let mut expr = match parser::parse(source) {
            Ok(expr) => expr,
            Err(error) => return Err(CompileError { source: source.to_owned(), errors: vec![error] }),
        };
        let mut checker = Checker::new(&self.variables, &self.messages);
        let known = checker.check(&mut expr);
        if !checker.errors.is_empty() {
            let mut errors = checker.errors;
            errors.sort_by_key(|error| error.at);
            return Err(CompileError { source: source.to_owned(), errors });
        }
        Ok(Program { expr, size: known.size(), cost: known.cost, ty: known.ty, uses: checker.uses })
    }
}

/// Why an expression cannot be compiled. `Display` shows the places, as upstream does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompileError {
    source: String,
    errors: Vec<Unreadable>,
}

/// So many errors of one expression are shown.
const MAX_SHOWN: usize = 20;

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().take(MAX_SHOWN).enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            let (mut line, mut column) = (1, 0);
            for c in self.source.chars().take(error.at) {
                if c == '\n' {
                    line += 1;
                    column = 0;
                } else {
                    column += 1;
                }
            }
            let text = self.source.split('\n').nth(line - 1).unwrap_or_default();
            write!(
                f,
                "ERROR: <input>:{line}:{}: {}\n | {text}\n | {}^",
                column + 1,
                error.why,
                ".".repeat(column)
            )?;
        }
        Ok(())
    }
}

impl std::error::Error for CompileError {}

/// An expression that can be evaluated.
#[derive(Clone, Debug)]
pub struct Program {
    expr: ast::Expr,
    ty: Type,
    size: u64,
    cost: u64,
    uses: BTreeSet<String>,
}

impl Program {
    /// The type of its value.
    pub fn ty(&self) -> &Type {
        &self.ty
    }

    /// What is known of its value, for another expression that uses it as a variable.
    pub fn declared(&self) -> Declared {
        Declared::simple(self.ty.clone(), self.size, 1)
    }

    /// What it costs at most.
    pub fn estimated_cost(&self) -> u64 {
        self.cost
    }

    /// Whether it looks at a variable.
    pub fn uses(&self, variable: &str) -> bool {
        self.uses.contains(variable)
    }

    /// How deep it nests, which bounds how deep its evaluation goes and, beyond what it is given, its value.
    pub fn depth(&self) -> usize {
        self.expr.depth
    }

    /// The fields of a variable that it looks at.
    pub fn fields_of(&self, variable: &str) -> BTreeSet<&str> {
        let mut found = BTreeSet::new();
        self.expr.fields_of(variable, &mut found);
        found
    }

    /// Evaluates it for at most `limit`.
    pub fn evaluate(&self, scope: &dyn Scope, limit: u64) -> Outcome {
        let mut evaluator = Evaluator::new(scope, limit);
        let result = evaluator.eval(&self.expr);
        Outcome { result, cost: evaluator.cost }
    }
}
