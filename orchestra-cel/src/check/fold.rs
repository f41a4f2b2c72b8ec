//! Macros that go through a list or a map.

use std::sync::Arc;

use super::{Checker, Known};
use crate::ast::{Fold, FoldKind};
use crate::cost;
use crate::declared::Type;

impl Checker<'_> {
    pub(super) fn fold(&mut self, at: usize, fold: &mut Fold) -> Known {
        let range = self.check(&mut fold.range);
        let item = || match range.declared.as_ref().and_then(|declared| declared.item.as_ref()) {
            Some(item) => Known::declared(item, 1),
            None => Known::of(
                match &range.ty {
                    Type::List(item) => item.as_ref().clone(),
                    Type::Map(entry) => entry.1.clone(),
                    _ => Type::Dyn,
                },
                1,
            ),
        };
        let index = match &range.ty {
            Type::Map(entry) => Known::of(entry.0.clone(), 1),
            Type::List(_) => Known::of(Type::Int, 1),
            _ => Known::of(Type::Dyn, 1),
        };
        if !matches!(range.ty, Type::List(_) | Type::Map(_) | Type::Dyn) {
            let why = format!(
                "expression of type '{}' cannot be range of a comprehension (must be list, map, or dynamic)",
                range.ty
            );
            self.fail(fold.range.at, why);
        }
        let before = self.locals.len();
        match &fold.second {
            Some(second) => {
                self.locals.push((fold.first.clone(), index));
                self.locals.push((second.clone(), item()));
            }
            None if matches!(range.ty, Type::Map(_)) => self.locals.push((fold.first.clone(), index)),
            None => self.locals.push((fold.first.clone(), item())),
        }
        let element = self.locals.get(before).map_or(Type::Dyn, |(_, known)| known.ty.clone());
        let filter = fold.filter.as_mut().map(|filter| self.check(filter));
        let body = self.check(&mut fold.body);
        self.locals.truncate(before);
        if let Some(filter) = &filter
            && !filter.ty.fits(&Type::Bool)
        {
            self.no_overload(
                at,
                "_?_:_",
                None,
                &[filter.ty.clone(), Type::list(Type::Dyn), Type::list(Type::Dyn)],
            );
        }
        let wants_bool = match fold.kind {
            FoldKind::All => Some("_&&_"),
            FoldKind::Exists => Some("_||_"),
            FoldKind::ExistsOne | FoldKind::Filter => Some("_?_:_"),
            _ => None,
        };
        if let Some(name) = wants_bool
            && !body.ty.fits(&Type::Bool)
        {
            self.no_overload(at, name, None, &[Type::Bool, body.ty.clone()]);
        }
        let count = range.size();
        let step = cost::step(fold.kind)
            .saturating_add(body.cost)
            .saturating_add(filter.as_ref().map_or(0, |filter| filter.cost));
        let cost =
            range.cost.saturating_add(cost::around(fold.kind)).saturating_add(count.saturating_mul(step));
        let ty = match fold.kind {
            FoldKind::All | FoldKind::Exists | FoldKind::ExistsOne => Type::Bool,
            FoldKind::Filter => Type::list(element),
            FoldKind::SortBy => range.ty.clone(),
            FoldKind::List => Type::list(body.ty.clone()),
            FoldKind::Map => {
                let key = match &range.ty {
                    Type::Map(entry) => entry.0.clone(),
                    Type::List(_) => Type::Int,
                    _ => Type::Dyn,
                };
                Type::Map(Arc::new((key, body.ty.clone())))
            }
            FoldKind::Entries => body.ty.clone(),
        };
        let mut out = Known::of(ty, cost);
        out.size = Some(count);
        if matches!(fold.kind, FoldKind::Filter | FoldKind::SortBy) {
            out.declared = range.declared.filter(|_| matches!(range.ty, Type::List(_)));
        }
        out
    }
}
