//! Says before anything is evaluated whether an expression fits the types of what it is about, and what it can cost at
//! most. Words and places of errors are those of `cel-go`'s checker, costs those of its estimator with what
//! `k8s.io/apiserver/pkg/cel/library/cost.go` adds.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use kube_cel::cel::Value;

use crate::ast::{Entry, Expr, Fold, FoldKind, Node};
use crate::cost;
use crate::declared::{Declared, Others, Type, UNBOUNDED};
use crate::lexer::Unreadable;
use crate::library;
use crate::message::Messages;

/// What is known of an expression.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) ty: Type,
    /// What the schema says of the value, where it comes from one.
    declared: Option<Arc<Declared>>,
    /// The most characters, items or entries, where that is known.
    size: Option<u64>,
    pub(crate) cost: u64,
}

impl Known {
    fn of(ty: Type, cost: u64) -> Self {
        Self { ty, declared: None, size: None, cost }
    }

    fn declared(declared: &Arc<Declared>, cost: u64) -> Self {
        Self {
            ty: declared.ty.clone(),
            size: Some(declared.max_size),
            declared: Some(declared.clone()),
            cost,
        }
    }

    pub(crate) fn size(&self) -> u64 {
        if self.ty.is_scalar() { 1 } else { self.size.unwrap_or(UNBOUNDED) }
    }

    /// What is known of the items, or of the values of a map.
    pub(crate) fn item_size(&self) -> u64 {
        self.declared
            .as_ref()
            .and_then(|declared| declared.item.as_ref())
            .map_or(UNBOUNDED, |item| item.max_size)
    }
}

/// Checks an expression; turns calls of a namespace's functions into plain ones.
pub(crate) struct Checker<'e> {
    variables: &'e HashMap<String, Arc<Declared>>,
    messages: &'e Messages,
    locals: Vec<(Arc<str>, Known)>,
    /// Whether a list may hold values of several types: what is formatted may.
    is_mixed: bool,
    pub(crate) errors: Vec<Unreadable>,
    /// The variables of the environment that are looked at.
    pub(crate) uses: BTreeSet<String>,
}

/// The names of types, which are values too.
const TYPE_NAMES: [&str; 17] = [
    "bool",
    "int",
    "uint",
    "double",
    "string",
    "bytes",
    "list",
    "map",
    "null_type",
    "type",
    "optional_type",
    "google.protobuf.Duration",
    "google.protobuf.Timestamp",
    "net.IP",
    "net.CIDR",
    "kubernetes.Quantity",
    "kubernetes.URL",
];

impl<'e> Checker<'e> {
    pub(crate) fn new(variables: &'e HashMap<String, Arc<Declared>>, messages: &'e Messages) -> Self {
        Self {
            variables,
            messages,
            locals: Vec::new(),
            is_mixed: false,
            errors: Vec::new(),
            uses: BTreeSet::new(),
        }
    }

    fn fail(&mut self, at: usize, why: String) {
        self.errors.push(Unreadable { at, why });
    }

    pub(crate) fn check(&mut self, expr: &mut Expr) -> Known {
        if let Some(name) = self.type_name(expr) {
            expr.node = Node::Literal(Value::Function(Arc::new(name), None));
            return Known::of(Type::Type, 1);
        }
        if let Some(name) = self.qualified(expr) {
            expr.node = Node::Ident(name.into());
        }
        let at = expr.at;
        match &mut expr.node {
            Node::Literal(value) => literal(value),
            Node::Ident(name) => {
                let name = name.clone();
                self.ident(at, &name)
            }
            Node::Select { operand, field, test, optional } => {
                let below = self.check(operand);
                self.select(at, &below, field, *test, *optional)
            }
            Node::Call { .. } => self.call(expr),
            Node::Logic { is_and, operands } => {
                let known: Vec<Known> = operands.iter_mut().map(|operand| self.check(operand)).collect();
                if !known.iter().all(|operand| operand.ty.fits(&Type::Bool)) {
                    let name = if *is_and { "_&&_" } else { "_||_" };
                    let types: Vec<Type> = known.iter().take(2).map(|operand| operand.ty.clone()).collect();
                    self.no_overload(at, name, None, &types);
                }
                Known::of(Type::Bool, sum(&known))
            }
            Node::Conditional(parts) => {
                let [condition, yes, no] = parts.as_mut();
                let (condition, yes, no) = (self.check(condition), self.check(yes), self.check(no));
                self.conditional(at, &condition, yes, no)
            }
            Node::List(items) => self.list(items),
            Node::Map(entries) => self.map(entries),
            Node::Message { name, fields } => self.message(at, name, fields),
            Node::Fold(fold) => self.fold(at, fold),
            Node::Bind { name, value, body } => {
                let value = self.check(value);
                let cost = value.cost;
                self.locals.push((name.clone(), Known { cost: 1, ..value }));
                let mut out = self.check(body);
                self.locals.pop();
                out.cost = out.cost.saturating_add(cost).saturating_add(cost::LIST);
                out
            }
            Node::OptMap { operand, name, body, flat } => {
                let operand = self.check(operand);
                let inner = match &operand.ty {
                    Type::Optional(inner) => inner.as_ref().clone(),
                    _ => Type::Dyn,
                };
                if !operand.ty.fits(&Type::Optional(Arc::new(Type::Dyn))) {
                    self.no_overload(at, "hasValue", Some(&operand.ty), &[]);
                }
                self.locals.push((name.clone(), Known::of(inner, 1)));
                let body = self.check(body);
                self.locals.pop();
                let ty = match (&body.ty, *flat) {
                    (Type::Optional(_), true) => body.ty.clone(),
                    (_, true) => Type::Dyn,
                    (ty, false) => Type::Optional(Arc::new(ty.clone())),
                };
                let cost =
                    operand.cost.saturating_mul(2).saturating_add(body.cost).saturating_add(cost::OPT_MAP);
                Known::of(ty, cost)
            }
        }
    }

    /// The type an expression names, where no variable has that name.
    fn type_name(&self, expr: &Expr) -> Option<String> {
        let path = path(expr)?;
        let root = path.split('.').next().unwrap_or_default();
        let is_variable =
            self.variables.contains_key(root) || self.locals.iter().any(|(name, _)| **name == *root);
        (!is_variable && TYPE_NAMES.contains(&path.as_str())).then_some(path)
    }

    /// The variable with dots in its name that an expression names.
    fn qualified(&self, expr: &Expr) -> Option<String> {
        if !matches!(expr.node, Node::Select { .. }) {
            return None;
        }
        let path = path(expr)?;
        let root = path.split('.').next().unwrap_or_default();
        let is_local = self.locals.iter().any(|(name, _)| **name == *root);
        (!is_local && self.variables.contains_key(&path)).then_some(path)
    }

    fn ident(&mut self, at: usize, name: &str) -> Known {
        if let Some((_, known)) = self.locals.iter().rev().find(|(local, _)| **local == *name) {
            return Known { cost: 1, ..known.clone() };
        }
        match self.variables.get(name) {
            Some(declared) => {
                self.uses.insert(name.to_owned());
                Known::declared(declared, 1)
            }
            None => {
                self.fail(at, format!("undeclared reference to '{name}' (in container '')"));
                Known::of(Type::Dyn, 1)
            }
        }
    }

    fn select(&mut self, at: usize, below: &Known, field: &str, test: bool, optional: bool) -> Known {
        let (inner, was_optional) = match &below.ty {
            Type::Optional(inner) => (inner.as_ref(), true),
            ty => (ty, false),
        };
        let steps = u64::from(!test && matches!(inner, Type::Object(_) | Type::Map(_) | Type::Param(_)));
        let cost = below.cost.saturating_add(steps);
        let mut out = match inner {
            Type::Object(object) => match object.fields.get(field) {
                Some(declared) => Known::declared(&Arc::new(declared.clone()), cost),
                None if object.others == Others::Allowed => Known::of(Type::Dyn, cost),
                None => {
                    self.fail(at, format!("undefined field '{field}'"));
                    Known::of(Type::Dyn, cost)
                }
            },
            Type::Map(entry) => match below.declared.as_ref().and_then(|declared| declared.item.as_ref()) {
                Some(item) => Known::declared(item, cost),
                None => Known::of(entry.1.clone(), cost),
            },
            Type::Dyn | Type::Param(_) => Known::of(Type::Dyn, cost),
            other => {
                let why = format!("type '{other}' does not support field selection");
                self.fail(at, why);
                Known::of(Type::Dyn, cost)
            }
        };
        if test {
            return Known::of(Type::Bool, cost);
        }
        if (optional || was_optional) && !matches!(out.ty, Type::Optional(_)) {
            out.ty = Type::Optional(Arc::new(out.ty));
        }
        out
    }

    fn no_overload(&mut self, at: usize, name: &str, target: Option<&Type>, args: &[Type]) {
        let args: Vec<String> = args.iter().map(ToString::to_string).collect();
        let args = format!("({})", args.join(", "));
        let applied = target.map_or(args.clone(), |target| format!("{target}.{args}"));
        self.fail(at, format!("found no matching overload for '{name}' applied to '{applied}'"));
    }

    fn call(&mut self, expr: &mut Expr) -> Known {
        let at = expr.at;
        let Node::Call { function, target, args } = &mut expr.node else { return Known::of(Type::Dyn, 0) };
        // `math.ceil(x)` is a function of a namespace if no variable is called `math`.
        if let Some(prefix) = target.as_ref().and_then(|target| path(target)) {
            let qualified = format!("{prefix}.{function}");
            let root = prefix.split('.').next().unwrap_or_default();
            let is_variable =
                self.variables.contains_key(root) || self.locals.iter().any(|(name, _)| **name == *root);
            if !is_variable && !library::overloads(&qualified).is_empty() {
                *function = qualified.into();
                *target = None;
            }
        }
        let on = target.as_mut().map(|target| self.check(target));
        let is_format = function.as_ref() == "format";
        let mut known = Vec::with_capacity(args.len());
        for arg in args.iter_mut() {
            self.is_mixed = is_format && matches!(arg.node, Node::List(_));
            known.push(self.check(arg));
        }
        let name = function.clone();
        if library::overloads(&name).is_empty() && !is_comparison(&name) {
            self.fail(at, format!("undeclared reference to '{name}' (in container '')"));
            return Known::of(Type::Dyn, sum(&known));
        }
        self.literals(&name, args, on.is_some());
        let types: Vec<Type> = known.iter().map(|arg| arg.ty.clone()).collect();
        let Some(ty) = resolve(&name, on.as_ref().map(|on| &on.ty), &types) else {
            self.no_overload(at, &name, on.as_ref().map(|on| &on.ty), &types);
            return Known::of(Type::Dyn, sum(&known));
        };
        let spent = sum(&known).saturating_add(on.as_ref().map_or(0, |on| on.cost));
        let operands: Vec<&Known> = on.iter().chain(&known).collect();
        let estimate = cost::estimate(&name, on.is_some(), &operands);
        let mut out = Known::of(ty, spent.saturating_add(estimate.cost));
        out.size = estimate.size;
        if name.as_ref() == "_[_]"
            && let Some(item) = operands.first().and_then(|list| list.declared.as_ref()?.item.clone())
            && !matches!(out.ty, Type::Optional(_))
        {
            out.size = Some(item.max_size);
            out.declared = Some(item);
        }
        out
    }

    /// Literals that a function could never take are errors at once.
    fn literals(&mut self, name: &str, args: &[Expr], is_method: bool) {
        let Some(at) = (match name {
            "matches" if is_method => Some(0),
            "matches" => Some(1),
            "find" | "findAll" => Some(0),
            _ => None,
        }) else {
            return;
        };
        if let Some(Expr { at, node: Node::Literal(Value::String(pattern)), .. }) = args.get(at)
            && crate::eval::pattern(pattern).is_err()
        {
            self.fail(*at, "invalid matches argument".to_owned());
        }
    }

    fn conditional(&mut self, at: usize, condition: &Known, yes: Known, no: Known) -> Known {
        if !condition.ty.fits(&Type::Bool) || !yes.ty.fits(&no.ty) {
            let types = [condition.ty.clone(), yes.ty.clone(), no.ty.clone()];
            self.no_overload(at, "_?_:_", None, &types);
        }
        let cost = condition.cost.saturating_add(yes.cost.max(no.cost));
        let size = yes.size.zip(no.size).map(|(yes, no)| yes.max(no));
        let ty = yes.ty.joined(&no.ty);
        let declared = yes.declared.filter(|declared| Some(declared) == no.declared.as_ref());
        Known { ty, declared, size, cost }
    }

    fn list(&mut self, items: &mut [(bool, Expr)]) -> Known {
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

    fn map(&mut self, entries: &mut [(bool, Expr, Expr)]) -> Known {
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

    fn message(&mut self, at: usize, name: &str, fields: &mut [Entry]) -> Known {
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

    fn fold(&mut self, at: usize, fold: &mut Fold) -> Known {
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

fn sum(known: &[Known]) -> u64 {
    known.iter().fold(0, |sum, operand| sum.saturating_add(operand.cost))
}

fn literal(value: &Value) -> Known {
    let (ty, size) = match value {
        Value::Bool(_) => (Type::Bool, None),
        Value::Int(_) => (Type::Int, None),
        Value::UInt(_) => (Type::Uint, None),
        Value::Float(_) => (Type::Double, None),
        Value::String(text) => (Type::String, Some(text.chars().count() as u64)),
        Value::Bytes(bytes) => (Type::Bytes, Some(bytes.len() as u64)),
        Value::Null => (Type::Null, None),
        _ => (Type::Dyn, None),
    };
    Known { ty, declared: None, size, cost: 0 }
}

/// `a.b.c`, if the expression is just that.
fn path(expr: &Expr) -> Option<String> {
    match &expr.node {
        Node::Ident(name) => Some(name.to_string()),
        Node::Select { operand, field, test: false, optional: false } => {
            Some(format!("{}.{field}", path(operand)?))
        }
        _ => None,
    }
}

fn is_comparison(name: &str) -> bool {
    matches!(name, "_<_" | "_<=_" | "_>_" | "_>=_")
}

/// What a call gives, or nothing if no form of the function takes these.
fn resolve(name: &str, target: Option<&Type>, args: &[Type]) -> Option<Type> {
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
