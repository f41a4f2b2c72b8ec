//! Which form of a function takes what it is given, and what that gives.

use std::collections::HashMap;
use std::sync::Arc;

use crate::declared::Type;
use crate::library;

pub(super) fn is_comparison(name: &str) -> bool {
    matches!(name, "_<_" | "_<=_" | "_>_" | "_>=_")
}

/// What a call gives, or nothing if no form of the function takes these.
pub(super) fn resolve(name: &str, target: Option<&Type>, args: &[Type]) -> Option<Type> {
    if is_comparison(name) {
        let [left, right] = args else { return None };
        let is_number = |ty: &Type| matches!(ty, Type::Int | Type::Uint | Type::Double);
        let is_ordered = |ty: &Type| {
            is_number(ty)
                || matches!(
                    ty,
                    Type::Bool
                        | Type::String
                        | Type::Bytes
                        | Type::Timestamp
                        | Type::Duration
                        | Type::Dyn
                        | Type::Param(_)
                )
        };
        let fit = is_ordered(left)
            && is_ordered(right)
            && (left.fits(right) || is_number(left) && is_number(right));
        return fit.then_some(Type::Bool);
    }
    let mut result: Option<Type> = None;
    for overload in library::overloads(name) {
        if overload.target.is_some() != target.is_some() || overload.args.len() != args.len() {
            continue;
        }
        let mut bound = HashMap::new();
        let pairs = overload.target.iter().zip(target).chain(overload.args.iter().zip(args));
        let mut all_fit = true;
        for (wanted, given) in pairs {
            all_fit &= unify(wanted, given, &mut bound);
        }
        if !all_fit {
            continue;
        }
        let found = substitute(&overload.result, &bound);
        result = Some(match result {
            None => found,
            Some(before) if before == found => found,
            Some(_) => Type::Dyn,
        });
    }
    result
}

fn unify(wanted: &Type, given: &Type, bound: &mut HashMap<char, Type>) -> bool {
    match (wanted, given) {
        (Type::Param(name), _) => match bound.get(name) {
            None => {
                bound.insert(*name, given.clone());
                true
            }
            Some(before) if before.fits(given) => {
                if matches!(before, Type::Dyn | Type::Null) {
                    bound.insert(*name, given.clone());
                }
                true
            }
            Some(_) => false,
        },
        (Type::List(wanted), Type::List(given)) | (Type::Optional(wanted), Type::Optional(given)) => {
            unify(wanted, given, bound)
        }
        (Type::Map(wanted), Type::Map(given)) => {
            unify(&wanted.0, &given.0, bound) && unify(&wanted.1, &given.1, bound)
        }
        _ => wanted.fits(given),
    }
}

fn substitute(ty: &Type, bound: &HashMap<char, Type>) -> Type {
    match ty {
        Type::Param(name) => bound.get(name).cloned().unwrap_or(Type::Dyn),
        Type::List(item) => Type::list(substitute(item, bound)),
        Type::Optional(inner) => Type::Optional(Arc::new(substitute(inner, bound))),
        Type::Map(entry) => Type::Map(Arc::new((substitute(&entry.0, bound), substitute(&entry.1, bound)))),
        other => other.clone(),
    }
}
