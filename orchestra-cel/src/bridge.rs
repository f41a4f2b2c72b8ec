//! The functions of `kube-cel`: quantities, addresses, URLs, versions, sets, text.
//!
//! They know no cost, and take values apart and put them together again for each call; so what they are given is
//! counted here first. One that fails on something it did not expect must not end more than the expression.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock};

use kube_cel::KubeCelExt;
use kube_cel::cel::common::ast::{CallExpr, Expr, IdedExpr};
use kube_cel::cel::objects::Map;
use kube_cel::cel::{Context, ExecutionError, Value};

use crate::eval::{Evaluated, Evaluator, Fault, optional_of};
use crate::message::Message;

static LIBRARY: LazyLock<Context<'static>> = LazyLock::new(|| Context::default().with_all());

/// Calls a function of the library.
pub(crate) fn call(
    evaluator: &mut Evaluator<'_>,
    function: &str,
    is_method: bool,
    operands: Vec<Value>,
) -> Evaluated {
    let most = evaluator.left().saturating_mul(10);
    let mut counted = Counted { parts: 0, has_type: false };
    for operand in &operands {
        count(operand, most, &mut counted);
    }
    evaluator.charge(counted.parts / 10)?;
    let operands = if counted.has_type { without_types(function, operands)? } else { operands };
    let ident = |at: usize| IdedExpr { id: 0, expr: Expr::Ident(format!("@{at}")) };
    let mut names = (0..operands.len()).map(ident);
    let target = if is_method { names.next().map(Box::new) } else { None };
    let args = names.collect();
    let call =
        IdedExpr { id: 0, expr: Expr::Call(CallExpr { func_name: function.to_owned(), target, args }) };
    let run = || {
        let mut context = LIBRARY.new_inner_scope();
        for (at, operand) in operands.into_iter().enumerate() {
            context.add_variable_from_value(format!("@{at}"), operand);
        }
        Value::resolve(&call, &context)
    };
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(ExecutionError::FunctionError { message, .. })) => Err(Fault::Error(message)),
        Ok(Err(
            ExecutionError::NoSuchOverload
            | ExecutionError::UnexpectedType { .. }
            | ExecutionError::UnsupportedTargetType { .. },
        )) => Err(Fault::no_overload()),
        Ok(Err(error)) => Err(Fault::new(error.to_string())),
        Err(_) => Err(Fault::new(format!("function '{function}' failed"))),
    }
}

/// What was seen of the operands.
struct Counted {
    parts: u64,
    /// Whether there is a type among them, which is a value of the language and none of the library's.
    has_type: bool,
}

/// How many values there are in a value, counted up to `most`.
fn count(value: &Value, most: u64, counted: &mut Counted) {
    counted.parts = counted.parts.saturating_add(1);
    if counted.parts > most {
        return;
    }
    match value {
        Value::List(items) => items.iter().for_each(|item| count(item, most, counted)),
        Value::Map(map) => map.map.values().for_each(|value| count(value, most, counted)),
        Value::String(text) => counted.parts = counted.parts.saturating_add(text.len() as u64 / 8),
        Value::Function(..) => counted.has_type = true,
        Value::Opaque(_) => {
            if let Some(Some(inner)) = optional_of(value) {
                count(inner, most, counted);
            } else if let Some(message) = Message::of(value) {
                message.fields.values().for_each(|value| count(value, most, counted));
            }
        }
        _ => {}
    }
}

/// The operands with the names of types in the place of types: `format` writes them so, and no other function takes any.
fn without_types(function: &str, operands: Vec<Value>) -> Result<Vec<Value>, Fault> {
    if function != "format" {
        return Err(Fault::no_overload());
    }
    operands.into_iter().map(named).collect()
}

fn named(value: Value) -> Evaluated {
    Ok(match value {
        Value::Function(name, _) => Value::String(name),
        Value::List(items) => {
            let items: Result<Vec<Value>, Fault> = items.iter().cloned().map(named).collect();
            Value::List(Arc::new(items?))
        }
        Value::Map(map) => {
            let entries = map.map.iter().map(|(key, value)| Ok((key.clone(), named(value.clone())?)));
            Value::Map(Map { map: Arc::new(entries.collect::<Result<_, Fault>>()?) })
        }
        // There is no text for these, with a type inside or without.
        Value::Opaque(_) => return Err(Fault::no_overload()),
        other => other,
    })
}
