//! Says before anything is evaluated whether an expression fits the types of what it is about, and what it can cost at
//! most. Words and places of errors are those of `cel-go`'s checker, costs those of its estimator with what
//! `k8s.io/apiserver/pkg/cel/library/cost.go` adds.

mod fold;
mod literal;
mod overload;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use kube_cel::cel::Value;

use crate::ast::{Expr, Node};
use crate::cost;
use crate::declared::{Declared, Others, Type, UNBOUNDED};
use crate::lexer::Unreadable;
use crate::library;
use crate::message::Messages;
use overload::{is_comparison, resolve};

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
