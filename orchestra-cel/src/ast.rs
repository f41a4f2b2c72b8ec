//! Expressions as trees.

use std::collections::BTreeSet;
use std::sync::Arc;

use kube_cel::cel::Value;

/// An expression and the character errors about it point at.
#[derive(Clone, Debug)]
pub(crate) struct Expr {
    pub(crate) at: usize,
    /// How deep the tree below is; bounded, so that recursion over it is.
    pub(crate) depth: usize,
    pub(crate) node: Node,
}

/// What an expression is.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    Literal(Value),
    Ident(Arc<str>),
    /// `operand.field`; with `test` it is `has(operand.field)`, with `optional` it is `operand.?field`.
    Select {
        operand: Box<Expr>,
        field: Arc<str>,
        test: bool,
        optional: bool,
    },
    Call {
        function: Arc<str>,
        target: Option<Box<Expr>>,
        args: Vec<Expr>,
    },
    /// Any number of operands; short-circuiting, and an error does not count where another operand decides.
    Logic {
        is_and: bool,
        operands: Vec<Expr>,
    },
    Conditional(Box<[Expr; 3]>),
    List(Vec<(bool, Expr)>),
    Map(Vec<(bool, Expr, Expr)>),
    /// `Type{field: value}`.
    Message {
        name: Arc<str>,
        fields: Vec<Entry>,
    },
    Fold(Box<Fold>),
    /// `cel.bind(name, value, body)`.
    Bind {
        name: Arc<str>,
        value: Box<Expr>,
        body: Box<Expr>,
    },
    /// `optional.optMap(name, body)`, and `optFlatMap` where the body is an optional itself.
    OptMap {
        operand: Box<Expr>,
        name: Arc<str>,
        body: Box<Expr>,
        flat: bool,
    },
}

/// A field of a message that is written out. Errors about it point at its colon.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) at: usize,
    /// Whether the value is an optional, and the field left out where it holds nothing.
    pub(crate) optional: bool,
    pub(crate) name: Arc<str>,
    pub(crate) value: Expr,
}

/// A macro over the items of a list or the entries of a map.
#[derive(Clone, Debug)]
pub(crate) struct Fold {
    pub(crate) kind: FoldKind,
    pub(crate) range: Expr,
    pub(crate) first: Arc<str>,
    pub(crate) second: Option<Arc<str>>,
    pub(crate) filter: Option<Expr>,
    pub(crate) body: Expr,
}

/// What a fold makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FoldKind {
    All,
    Exists,
    ExistsOne,
    Filter,
    /// `map` and `transformList`.
    List,
    /// `transformMap`.
    Map,
    /// `transformMapEntry`.
    Entries,
    SortBy,
}

impl Expr {
    /// An expression over `below`.
    pub(crate) fn new(at: usize, node: Node) -> Self {
        let mut depth = 0;
        node.below(&mut |expr| depth = depth.max(expr.depth));
        Self { at, depth: depth + 1, node }
    }

    /// The fields of a variable that are looked at.
    pub(crate) fn fields_of<'a>(&'a self, variable: &str, found: &mut BTreeSet<&'a str>) {
        if let Node::Select { operand, field, .. } = &self.node
            && matches!(&operand.node, Node::Ident(name) if name.as_ref() == variable)
        {
            found.insert(field);
        }
        self.node.below(&mut |below| below.fields_of(variable, found));
    }
}

impl Node {
    /// Every expression right below this one.
    pub(crate) fn below<'a>(&'a self, see: &mut dyn FnMut(&'a Expr)) {
        match self {
            Self::Literal(_) | Self::Ident(_) => {}
            Self::Select { operand, .. } => see(operand),
            Self::Call { target, args, .. } => target.iter().map(AsRef::as_ref).chain(args).for_each(see),
            Self::Logic { operands, .. } => operands.iter().for_each(see),
            Self::Conditional(parts) => parts.iter().for_each(see),
            Self::List(items) => items.iter().for_each(|(_, item)| see(item)),
            Self::Map(entries) => entries.iter().for_each(|(_, key, value)| {
                see(key);
                see(value);
            }),
            Self::Message { fields, .. } => fields.iter().for_each(|entry| see(&entry.value)),
            Self::Fold(fold) => {
                see(&fold.range);
                fold.filter.iter().for_each(&mut *see);
                see(&fold.body);
            }
            Self::Bind { value, body, .. } => {
                see(value);
                see(body);
            }
            Self::OptMap { operand, body, .. } => {
                see(operand);
                see(body);
            }
        }
    }
}
