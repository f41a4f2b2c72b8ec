//! The functions of `kube-cel`: quantities, addresses, URLs, versions, sets, text.
//!
//! They know no cost, and take values apart and put them together again for each call; so what they are given is
//! counted here first. One that fails on something it did not expect must not end more than the expression.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::LazyLock;

use kube_cel::KubeCelExt;
use kube_cel::cel::common::ast::{CallExpr, Expr, IdedExpr};
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
    let mut parts = 0;
    for operand in &operands {
        count(operand, most, &mut parts);
    }
    evaluator.charge(parts / 10)?;
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

/// How many values there are in a value, counted up to `most`.
fn count(value: &Value, most: u64, parts: &mut u64) {
    *parts = parts.saturating_add(1);
    if *parts > most {
        return;
    }
    match value {
        Value::List(items) => items.iter().for_each(|item| count(item, most, parts)),
        Value::Map(map) => map.map.values().for_each(|value| count(value, most, parts)),
        Value::String(text) => *parts = parts.saturating_add(text.len() as u64 / 8),
        Value::Opaque(_) => {
            if let Some(Some(inner)) = optional_of(value) {
                count(inner, most, parts);
            } else if let Some(message) = Message::of(value) {
                message.fields.values().for_each(|value| count(value, most, parts));
            }
        }
        _ => {}
    }
}
