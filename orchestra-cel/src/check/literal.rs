//! Lists, maps and messages that are written out.

use std::sync::Arc;

use super::{Checker, Known};
use crate::ast::{Entry, Expr};
use crate::cost;
use crate::declared::{Others, Type};

impl Checker<'_> {
    pub(super) fn list(&mut self, items: &mut [(bool, Expr)]) -> Known {
        let mut ty: Option<Type> = None;
        let mut cost = cost::LIST;
        let is_mixed = std::mem::take(&mut self.is_mixed);
        for (optional, item) in items.iter_mut() {
            let at = item.at;
            let known = self.check(item);
            cost = cost.saturating_add(known.cost);
            let found = if *optional { self.unwrapped(at, known.ty) } else { known.ty };
            self.join(at, &mut ty, if is_mixed { Type::Dyn } else { found });
        }
        let mut out = Known::of(Type::list(ty.unwrap_or(Type::Dyn)), cost);
        out.size = Some(items.len() as u64);
        out
    }

    pub(super) fn map(&mut self, entries: &mut [(bool, Expr, Expr)]) -> Known {
        let (mut keys, mut values) = (None, None);
        let mut cost = cost::MAP;
        for (optional, key, value) in entries.iter_mut() {
            let (key_at, value_at) = (key.at, value.at);
            let (key, value) = (self.check(key), self.check(value));
            cost = cost.saturating_add(key.cost).saturating_add(value.cost);
            self.join(key_at, &mut keys, key.ty);
            let found = if *optional { self.unwrapped(value_at, value.ty) } else { value.ty };
            self.join(value_at, &mut values, found);
        }
        let ty = Type::Map(Arc::new((keys.unwrap_or(Type::Dyn), values.unwrap_or(Type::Dyn))));
        let mut out = Known::of(ty, cost);
        out.size = Some(entries.len() as u64);
        out
    }

    pub(super) fn message(&mut self, at: usize, name: &str, fields: &mut [Entry]) -> Known {
        let Some(object) = self.messages.find(name) else {
            let variable = self.variables.get(name).map(|declared| declared.ty.clone());
            self.fail(
                at,
                match variable {
                    Some(ty) => format!("'{ty}' is not a type"),
                    None => format!("undeclared reference to '{name}' (in container '')"),
                },
            );
            return Known::of(Type::Dyn, cost::MESSAGE);
        };
        let mut cost = cost::MESSAGE;
        for Entry { at, optional, name, value } in fields.iter_mut() {
            let value_at = value.at;
            let known = self.check(value);
            cost = cost.saturating_add(known.cost);
            let found = if *optional { self.unwrapped(value_at, known.ty) } else { known.ty };
            match object.fields.get(name.as_ref()) {
                Some(field) if !field.ty.fits(&found) => {
                    let why = format!(
                        "expected type of field '{name}' is '{}' but provided type is '{found}'",
                        field.ty
                    );
                    self.fail(*at, why);
                }
                None if object.others == Others::Refused => {
                    self.fail(*at, format!("undefined field '{name}'"))
                }
                _ => {}
            }
        }
        let mut out = Known::of(Type::Object(object), cost);
        out.size = Some(fields.len() as u64);
        out
    }

    fn unwrapped(&mut self, at: usize, ty: Type) -> Type {
        match ty {
            Type::Optional(inner) => inner.as_ref().clone(),
            Type::Dyn => Type::Dyn,
            other => {
                self.fail(at, format!("expected type 'optional_type({other})' but found '{other}'"));
                Type::Dyn
            }
        }
    }

    /// Lists and maps that are written out hold values of one type.
    fn join(&mut self, at: usize, so_far: &mut Option<Type>, found: Type) {
        match so_far {
            None => *so_far = Some(found),
            Some(known) if known.fits(&found) => {
                if matches!(known, Type::Dyn | Type::Null) {
                    *known = found;
                }
            }
            Some(known) => {
                let why = format!("expected type '{known}' but found '{found}'");
                self.fail(at, why);
            }
        }
    }
}
