//! Evaluates a checked expression, and counts what that costs while it does: an expression that would cost more than
//! it may ends, whatever it is.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use kube_cel::cel::Value;
use kube_cel::cel::objects::{Key, Map, OptionalValue};
use regex::{Regex, RegexBuilder};

use crate::ast::{Entry, Expr, Fold, FoldKind, Node};
use crate::message::Message;
use crate::{bridge, cost, operators};

/// Where the variables of an expression come from.
pub trait Scope {
    /// The value of a variable, if it has one.
    fn get(&self, name: &str) -> Option<Value>;

    /// A field of a variable that is worked out only when it is asked for, at most for `budget`. `None` if the variable is not of that
    /// sort.
    fn lazy(&self, name: &str, field: &str, budget: u64) -> Option<Outcome> {
        let _ = (name, field, budget);
        None
    }

    /// What a map holds under a text that is no key of it, where that is not an error. `in` and `has` do not see it.
    fn absent(&self, map: &Map, key: &str) -> Option<Value> {
        let _ = (map, key);
        None
    }

    /// A method of a value that only the scope knows. `None` if it is none of the scope's.
    fn call(&self, function: &str, operands: &[Value]) -> Option<Result<Value, Fault>> {
        let _ = (function, operands);
        None
    }
}

/// No variables.
impl Scope for () {
    fn get(&self, _: &str) -> Option<Value> {
        None
    }
}

/// Why there is no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The expression fails on what it was given.
    Error(String),
    /// It costs more than it may.
    Cost,
    /// The scope has to find something out first; then the expression can be evaluated again.
    Pending,
}

impl Fault {
    pub(crate) fn new(why: impl Into<String>) -> Self {
        Self::Error(why.into())
    }

    pub(crate) fn no_overload() -> Self {
        Self::new("no such overload")
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error(why) => f.write_str(why),
            Self::Cost => f.write_str("operation cancelled: actual cost limit exceeded"),
            Self::Pending => f.write_str("operation interrupted"),
        }
    }
}

impl std::error::Error for Fault {}

/// What an evaluation comes to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The value.
    pub result: Result<Value, Fault>,
    /// What it cost.
    pub cost: u64,
}

/// A pattern, of a size that is bounded, matched in time linear in the text.
pub(crate) fn pattern(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern).size_limit(1 << 20).nest_limit(100).build()
}

/// Patterns that are made while an expression is evaluated are dear: so many are free.
const FREE_PATTERNS: usize = 16;
const PATTERN_COST: u64 = 2_000;

pub(crate) struct Evaluator<'a> {
    scope: &'a dyn Scope,
    locals: Vec<(Arc<str>, Value)>,
    pub(crate) cost: u64,
    limit: u64,
    /// Parts of values gone through that are not charged yet: ten cost one.
    visited: u64,
    patterns: HashMap<Arc<String>, Regex>,
}

pub(crate) type Evaluated = Result<Value, Fault>;

impl<'a> Evaluator<'a> {
    pub(crate) fn new(scope: &'a dyn Scope, limit: u64) -> Self {
        Self { scope, locals: Vec::new(), cost: 0, limit, visited: 0, patterns: HashMap::new() }
    }

    /// How much may still be spent.
    pub(crate) fn left(&self) -> u64 {
        self.limit.saturating_sub(self.cost)
    }

    pub(crate) fn charge(&mut self, cost: u64) -> Result<(), Fault> {
        self.cost = self.cost.saturating_add(cost);
        if self.cost > self.limit { Err(Fault::Cost) } else { Ok(()) }
    }

    /// Counts a value of so many parts that is gone through.
    pub(crate) fn visit(&mut self, parts: usize) -> Result<(), Fault> {
        self.visited += parts as u64 + 1;
        let cost = self.visited / 10;
        self.visited %= 10;
        self.charge(cost)
    }

    pub(crate) fn eval(&mut self, expr: &Expr) -> Evaluated {
        match &expr.node {
            Node::Literal(value) => Ok(value.clone()),
            Node::Ident(name) => self.ident(name),
            Node::Select { operand, field, test, optional } => self.select(operand, field, *test, *optional),
            Node::Call { function, target, args } => self.call(function, target.as_deref(), args),
            Node::Logic { is_and, operands } => self.logic(*is_and, operands),
            Node::Conditional(parts) => self.conditional(parts),
            Node::List(items) => self.list(items),
            Node::Map(entries) => self.map(entries),
            Node::Message { name, fields } => self.message(name, fields),
            Node::Fold(fold) => self.fold(fold),
            Node::Bind { name, value, body } => self.bind(name, value, body),
            Node::OptMap { operand, name, body, flat } => self.opt_map(operand, name, body, *flat),
        }
    }

    fn ident(&mut self, name: &str) -> Evaluated {
        self.charge(1)?;
        if let Some((_, value)) = self.locals.iter().rev().find(|(local, _)| **local == *name) {
            return Ok(value.clone());
        }
        self.scope.get(name).ok_or_else(|| Fault::new(format!("no such attribute(s): {name}")))
    }

    fn select(&mut self, operand: &Expr, field: &str, test: bool, optional: bool) -> Evaluated {
        if let Node::Ident(name) = &operand.node
            && !self.locals.iter().any(|(local, _)| local == name)
            && let Some(outcome) = self.scope.lazy(name, field, self.left())
        {
            self.charge(outcome.cost.saturating_add(2))?;
            return outcome.result;
        }
        let value = self.eval(operand)?;
        let (value, was_optional) = match optional_of(&value) {
            Some(Some(inner)) => (inner.clone(), true),
            Some(None) if test => return Ok(Value::Bool(false)),
            Some(None) => return Ok(none()),
            None => (value, false),
        };
        self.charge(u64::from(!test))?;
        let found = match &value {
            Value::Map(map) => map.map.get(&Key::String(Arc::new(field.to_owned()))).cloned(),
            other => match Message::of(other) {
                Some(message) => message.fields.get(field).cloned(),
                None => return Err(Fault::no_overload()),
            },
        };
        if test {
            return Ok(Value::Bool(found.is_some()));
        }
        match found {
            Some(value) if optional || was_optional => Ok(some(value)),
            None if optional || was_optional => Ok(none()),
            Some(value) => Ok(value),
            None => {
                let absent = match &value {
                    Value::Map(map) => self.scope.absent(map, field),
                    _ => None,
                };
                absent.ok_or_else(|| Fault::new(format!("no such key: {field}")))
            }
        }
    }

    /// What the scope puts in the place of a key that is not there.
    fn put_in_place(&self, function: &str, operands: &[Value]) -> Option<Value> {
        let ("_[_]", [Value::Map(map), Value::String(key)]) = (function, operands) else { return None };
        let missing = !map.map.contains_key(&Key::String(key.clone()));
        missing.then(|| self.scope.absent(map, key)).flatten()
    }

    fn call(&mut self, function: &str, target: Option<&Expr>, args: &[Expr]) -> Evaluated {
        let mut operands = Vec::with_capacity(args.len() + 1);
        for operand in target.into_iter().chain(args) {
            operands.push(self.eval(operand)?);
        }
        self.charge(cost::actual(function, &operands))?;
        if let Some(value) = self.put_in_place(function, &operands) {
            return Ok(value);
        }
        let result = match operators::apply(self, function, &operands) {
            Some(result) => result,
            None => match self.scope.call(function, &operands) {
                Some(result) => result,
                None => bridge::call(self, function, target.is_some(), operands),
            },
        }?;
        // Text grows by what is done to it: what comes out counts too, where what went in did not tell.
        if matches!(function, "join" | "replace" | "format" | "split") {
            self.charge(cost::size(&result) / 10)?;
        }
        Ok(result)
    }

    fn logic(&mut self, is_and: bool, operands: &[Expr]) -> Evaluated {
        let mut fault = None;
        for operand in operands {
            match self.eval(operand) {
                Ok(Value::Bool(found)) if found != is_and => return Ok(Value::Bool(found)),
                Ok(Value::Bool(_)) => {}
                Ok(_) => fault = fault.or(Some(Fault::no_overload())),
                Err(Fault::Error(why)) => fault = fault.or(Some(Fault::Error(why))),
                Err(other) => return Err(other),
            }
        }
        fault.map_or(Ok(Value::Bool(is_and)), Err)
    }

    fn conditional(&mut self, [condition, yes, no]: &[Expr; 3]) -> Evaluated {
        match self.eval(condition)? {
            Value::Bool(true) => self.eval(yes),
            Value::Bool(false) => self.eval(no),
            _ => Err(Fault::no_overload()),
        }
    }

    fn list(&mut self, items: &[(bool, Expr)]) -> Evaluated {
        self.charge(cost::LIST)?;
        let mut out = Vec::with_capacity(items.len());
        for (optional, item) in items {
            let value = self.eval(item)?;
            match (optional, optional_of(&value)) {
                (true, Some(inner)) => out.extend(inner.cloned()),
                _ => out.push(value),
            }
        }
        Ok(Value::List(Arc::new(out)))
    }

    fn map(&mut self, entries: &[(bool, Expr, Expr)]) -> Evaluated {
        self.charge(cost::MAP)?;
        let mut out = HashMap::with_capacity(entries.len());
        for (optional, key, value) in entries {
            let key = key_of(self.eval(key)?)?;
            let value = self.eval(value)?;
            let value = match (optional, optional_of(&value)) {
                (true, Some(None)) => continue,
                (true, Some(Some(inner))) => inner.clone(),
                _ => value,
            };
            if out.contains_key(&key) {
                return Err(Fault::new(format!("insert failed: key {key} already exists")));
            }
            out.insert(key, value);
        }
        Ok(Value::Map(Map { map: Arc::new(out) }))
    }

    fn message(&mut self, name: &Arc<str>, entries: &[Entry]) -> Evaluated {
        self.charge(cost::MESSAGE)?;
        let mut fields = BTreeMap::new();
        for Entry { optional, name, value, .. } in entries {
            let value = self.eval(value)?;
            let value = match (optional, optional_of(&value)) {
                (true, Some(None)) => continue,
                (true, Some(Some(inner))) => inner.clone(),
                _ => value,
            };
            fields.insert(name.clone(), value);
        }
        Ok(Value::Opaque(Arc::new(Message { name: name.clone(), fields })))
    }

    fn bind(&mut self, name: &Arc<str>, value: &Expr, body: &Expr) -> Evaluated {
        self.charge(cost::LIST)?;
        let value = self.eval(value)?;
        self.within(name, value, body)
    }

    fn within(&mut self, name: &Arc<str>, value: Value, body: &Expr) -> Evaluated {
        self.locals.push((name.clone(), value));
        let out = self.eval(body);
        self.locals.pop();
        out
    }

    fn opt_map(&mut self, operand: &Expr, name: &Arc<str>, body: &Expr, flat: bool) -> Evaluated {
        self.charge(cost::OPT_MAP)?;
        let operand = self.eval(operand)?;
        match optional_of(&operand) {
            None => Err(Fault::no_overload()),
            Some(None) => Ok(none()),
            Some(Some(inner)) => {
                let out = self.within(name, inner.clone(), body)?;
                match (flat, optional_of(&out)) {
                    (true, Some(_)) => Ok(out),
                    (true, None) => Err(Fault::no_overload()),
                    (false, _) => Ok(some(out)),
                }
            }
        }
    }

    fn fold(&mut self, fold: &Fold) -> Evaluated {
        let range = self.eval(&fold.range)?;
        self.charge(cost::around(fold.kind))?;
        let mut made = Made::new(fold.kind);
        match &range {
            Value::List(items) => {
                for (at, item) in items.iter().enumerate() {
                    let index = Value::Int(i64::try_from(at).unwrap_or(i64::MAX));
                    if self.step(fold, &mut made, index, item.clone(), false)? {
                        break;
                    }
                }
            }
            Value::Map(map) => {
                // Upstream's order is by chance. Here it is one, so that a rule that fails fails alike each time.
                let mut keys: Vec<&Key> = map.map.keys().collect();
                keys.sort();
                for key in keys {
                    let value = map.map.get(key).cloned().unwrap_or(Value::Null);
                    if self.step(fold, &mut made, Value::from(key), value, true)? {
                        break;
                    }
                }
            }
            _ => return Err(Fault::no_overload()),
        }
        made.finish(self)
    }

    /// One item; says whether the rest does not matter any more.
    fn step(
        &mut self,
        fold: &Fold,
        made: &mut Made,
        index: Value,
        item: Value,
        of_map: bool,
    ) -> Result<bool, Fault> {
        self.charge(cost::step(fold.kind))?;
        let before = self.locals.len();
        let single = if of_map { index.clone() } else { item.clone() };
        match &fold.second {
            Some(second) => {
                self.locals.push((fold.first.clone(), index.clone()));
                self.locals.push((second.clone(), item));
            }
            None => self.locals.push((fold.first.clone(), single.clone())),
        }
        let kept = match &fold.filter {
            None => Ok(true),
            Some(filter) => self.eval(filter).and_then(truth),
        };
        let body = match kept {
            Ok(true) => Some(self.eval(&fold.body)),
            Ok(false) => None,
            Err(fault) => Some(Err(fault)),
        };
        self.locals.truncate(before);
        match body {
            None => Ok(false),
            Some(body) => made.add(body, single, index),
        }
    }

    /// A pattern, made once for each evaluation.
    pub(crate) fn regex(&mut self, text: &Arc<String>) -> Result<Regex, Fault> {
        if let Some(found) = self.patterns.get(text) {
            return Ok(found.clone());
        }
        if self.patterns.len() >= FREE_PATTERNS {
            self.charge(PATTERN_COST)?;
        }
        let made = pattern(text).map_err(|error| Fault::new(format!("error parsing regexp: {error}")))?;
        if self.patterns.len() < FREE_PATTERNS {
            self.patterns.insert(text.clone(), made.clone());
        }
        Ok(made)
    }
}

/// What a fold has made so far.
enum Made {
    /// `all` and `exists`: the value that decides, and a fault that stands unless something decides.
    Decision {
        decides: bool,
        decided: bool,
        fault: Option<Fault>,
    },
    One(u64),
    Filtered(Vec<Value>),
    List(Vec<Value>),
    Map(HashMap<Key, Value>),
    Entries(HashMap<Key, Value>),
    Sorted(Vec<(Value, Value)>),
}

impl Made {
    fn new(kind: FoldKind) -> Self {
        match kind {
            FoldKind::All => Self::Decision { decides: false, decided: false, fault: None },
            FoldKind::Exists => Self::Decision { decides: true, decided: false, fault: None },
            FoldKind::ExistsOne => Self::One(0),
            FoldKind::Filter => Self::Filtered(Vec::new()),
            FoldKind::List => Self::List(Vec::new()),
            FoldKind::Map => Self::Map(HashMap::new()),
            FoldKind::Entries => Self::Entries(HashMap::new()),
            FoldKind::SortBy => Self::Sorted(Vec::new()),
        }
    }

    fn add(&mut self, body: Evaluated, item: Value, index: Value) -> Result<bool, Fault> {
        match self {
            Self::Decision { decides, decided, fault } => match body {
                Ok(Value::Bool(found)) => *decided = found == *decides,
                Ok(_) => *fault = fault.take().or(Some(Fault::no_overload())),
                Err(Fault::Error(why)) => *fault = fault.take().or(Some(Fault::Error(why))),
                Err(other) => return Err(other),
            },
            Self::One(count) => *count += u64::from(truth(body?)?),
            Self::Filtered(items) => {
                if truth(body?)? {
                    items.push(item);
                }
            }
            Self::List(items) => items.push(body?),
            Self::Map(entries) => {
                entries.insert(key_of(index)?, body?);
            }
            Self::Entries(entries) => {
                let Value::Map(more) = body? else { return Err(Fault::no_overload()) };
                for (key, value) in more.map.iter() {
                    if entries.insert(key.clone(), value.clone()).is_some() {
                        return Err(Fault::new(format!("insert failed: key {key} already exists")));
                    }
                }
            }
            Self::Sorted(items) => items.push((body?, item)),
        }
        Ok(matches!(self, Self::Decision { decided: true, .. }))
    }

    fn finish(self, evaluator: &mut Evaluator<'_>) -> Evaluated {
        Ok(match self {
            Self::Decision { decides, decided: true, .. } => Value::Bool(decides),
            Self::Decision { fault: Some(fault), .. } => return Err(fault),
            Self::Decision { decides, .. } => Value::Bool(!decides),
            Self::One(count) => Value::Bool(count == 1),
            Self::Filtered(items) | Self::List(items) => Value::List(Arc::new(items)),
            Self::Map(entries) | Self::Entries(entries) => Value::Map(Map { map: Arc::new(entries) }),
            Self::Sorted(mut items) => {
                evaluator.charge(items.len() as u64)?;
                let mut comparable = true;
                items.sort_by(|(a, _), (b, _)| {
                    a.partial_cmp(b).unwrap_or_else(|| {
                        comparable = false;
                        std::cmp::Ordering::Equal
                    })
                });
                if !comparable {
                    return Err(Fault::no_overload());
                }
                Value::List(Arc::new(items.into_iter().map(|(_, item)| item).collect()))
            }
        })
    }
}

fn truth(value: Value) -> Result<bool, Fault> {
    match value {
        Value::Bool(found) => Ok(found),
        _ => Err(Fault::no_overload()),
    }
}

pub(crate) fn key_of(value: Value) -> Result<Key, Fault> {
    match value {
        Value::Int(key) => Ok(Key::Int(key)),
        Value::UInt(key) => Ok(Key::Uint(key)),
        Value::Bool(key) => Ok(Key::Bool(key)),
        Value::String(key) => Ok(Key::String(key)),
        _ => Err(Fault::new("unsupported key type")),
    }
}

/// What an optional holds; the outer `None` for what is no optional.
pub(crate) fn optional_of(value: &Value) -> Option<Option<&Value>> {
    match value {
        Value::Opaque(opaque) => opaque.downcast_ref::<OptionalValue>().map(OptionalValue::value),
        _ => None,
    }
}

pub(crate) fn some(value: Value) -> Value {
    Value::Opaque(Arc::new(OptionalValue::of(value)))
}

pub(crate) fn none() -> Value {
    Value::Opaque(Arc::new(OptionalValue::none()))
}
