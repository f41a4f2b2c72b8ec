//! Sets of fields, as `managedFields` writes them.
//!
//! In JSON, a set is a tree: `f:name` is a field, `k:{…}` the item of a list with those keys, `v:…` an item of a set;
//! `.` says that the place itself belongs to the set, and so does an empty object. In memory it is the same tree with
//! sorted children. Names are kept with their prefixes, so that reading and writing need not make new ones.

use std::borrow::Cow;
use std::cmp::Ordering;

use serde_json::{Map, Value};

use super::node::Node;

/// A set of the places in an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSet<'a> {
    is_member: bool,
    /// Sorted by name; none is empty.
    children: Vec<(Cow<'a, str>, FieldSet<'a>)>,
}

impl<'a> FieldSet<'a> {
    /// Reads `fieldsV1`; `None` if it is no field set.
    pub fn parse(value: &'a Value) -> Option<Self> {
        let mut set = Self::default();
        for (name, below) in value.as_object()? {
            if name == "." {
                set.is_member = true;
                continue;
            }
            let kind = name.split_at_checked(2).map(|(kind, _)| kind);
            if !matches!(kind, Some("f:" | "k:" | "v:" | "i:")) {
                return None;
            }
            let mut child = Self::parse(below)?;
            child.is_member |= child.children.is_empty();
            set.children.push((Cow::Borrowed(name), child));
        }
        set.sort();
        Some(set)
    }

    /// As `fieldsV1`.
    pub fn into_value(self) -> Value {
        let itself = (self.is_member && !self.children.is_empty()).then(|| (".".into(), Map::new().into()));
        let children = self.children.into_iter().map(|(name, child)| (name.into_owned(), child.into_value()));
        // Sorted as they are, they make a map without being looked for in it.
        Value::Object(itself.into_iter().chain(children).collect())
    }

    /// The set without borrowed names.
    pub fn into_owned(self) -> FieldSet<'static> {
        let own =
            |(name, child): (Cow<'_, str>, FieldSet<'_>)| (Cow::Owned(name.into_owned()), child.into_owned());
        FieldSet { is_member: self.is_member, children: self.children.into_iter().map(own).collect() }
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        !self.is_member && self.children.is_empty()
    }

    /// A set of this one place.
    pub(super) fn leaf() -> Self {
        Self { is_member: true, children: Vec::new() }
    }

    pub(super) fn is_member(&self) -> bool {
        self.is_member
    }

    pub(super) fn set_member(&mut self) {
        self.is_member = true;
    }

    pub(super) fn has_children(&self) -> bool {
        !self.children.is_empty()
    }

    pub(super) fn children(&self) -> impl Iterator<Item = (&str, &Self)> {
        self.children.iter().map(|(name, child)| (name.as_ref(), child))
    }

    pub(super) fn child(&self, name: &str) -> Option<&Self> {
        let at = self.children.binary_search_by(|(own, _)| own.as_ref().cmp(name)).ok()?;
        self.children.get(at).map(|(_, child)| child)
    }

    /// Makes one place of what the schema takes for one value now, though it was set in parts. Says whether there was any.
    pub(super) fn gather(&mut self, node: Node<'_>) -> bool {
        if node.is_one_value() && !self.children.is_empty() {
            (self.is_member, self.children) = (true, Vec::new());
            return true;
        }
        let mut changed = false;
        for (name, child) in &mut self.children {
            let below = match name.split_at_checked(2) {
                Some(("f:", name)) => node.field(name),
                Some(("k:", _)) => Some(node.item()),
                _ => None,
            };
            changed |= below.is_some_and(|node| child.gather(node));
        }
        changed
    }

    /// Makes room for so many children more.
    pub(super) fn reserve(&mut self, more: usize) {
        self.children.reserve(more);
    }

    /// Adds a child that is not there yet; [`Self::sort`] must follow. Empty ones are left out.
    pub(super) fn push(&mut self, name: impl FnOnce() -> String, child: Self) {
        if !child.is_empty() {
            self.children.push((Cow::Owned(name()), child));
        }
    }

    pub(super) fn sort(&mut self) {
        if !self.children.is_sorted_by(|(a, _), (b, _)| a <= b) {
            self.children.sort_by(|(a, _), (b, _)| a.cmp(b));
        }
    }

    /// What is in either.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        let is_member = self.is_member || other.is_member;
        if self.children.is_empty() || other.children.is_empty() {
            let children = if self.children.is_empty() { other.children } else { self.children };
            return Self { is_member, children };
        }
        let mut children = Vec::with_capacity(self.children.len().max(other.children.len()));
        let (mut ours, mut theirs) =
            (self.children.into_iter().peekable(), other.children.into_iter().peekable());
        while let (Some((a, _)), Some((b, _))) = (ours.peek(), theirs.peek()) {
            match a.cmp(b) {
                Ordering::Less => children.extend(ours.next()),
                Ordering::Greater => children.extend(theirs.next()),
                Ordering::Equal => {
                    let both = ours.next().zip(theirs.next());
                    children.extend(both.map(|((name, one), (_, other))| (name, one.union(other))));
                }
            }
        }
        children.extend(ours);
        children.extend(theirs);
        Self { is_member, children }
    }

    /// What is in any of them. Two by two, so that many small sets cost no more than their size.
    pub(super) fn union_of(mut sets: Vec<Self>) -> Self {
        while sets.len() > 1 {
            let mut pairs = sets.into_iter();
            let mut halved = Vec::with_capacity(pairs.len().div_ceil(2));
            while let Some(one) = pairs.next() {
                halved.push(match pairs.next() {
                    Some(other) => one.union(other),
                    None => one,
                });
            }
            sets = halved;
        }
        sets.pop().unwrap_or_default()
    }

    /// Whether any place is in both.
    pub fn meets(&self, other: &FieldSet<'_>) -> bool {
        if self.is_member && other.is_member {
            return true;
        }
        let mut found = false;
        self.each_shared(other, |_, a, b| found = found || a.meets(b));
        found
    }

    /// Takes out what is in `other`.
    pub fn subtract(&mut self, other: &FieldSet<'_>) {
        self.is_member &= !other.is_member;
        for (name, child) in &other.children {
            if let Ok(at) = self.children.binary_search_by(|(own, _)| own.cmp(name))
                && let Some((_, own)) = self.children.get_mut(at)
            {
                own.subtract(child);
                if own.is_empty() {
                    self.children.remove(at);
                }
            }
        }
    }

    /// What is in both.
    #[must_use]
    pub fn intersection(&self, other: &FieldSet<'_>) -> FieldSet<'static> {
        let mut out = FieldSet { is_member: self.is_member && other.is_member, children: Vec::new() };
        self.each_shared(other, |name, a, b| out.push(|| name.to_owned(), a.intersection(b)));
        out
    }

    /// Visits the children both have, in order.
    fn each_shared<'s>(
        &'s self,
        other: &'s FieldSet<'_>,
        mut visit: impl FnMut(&'s str, &'s Self, &'s FieldSet<'_>),
    ) {
        let (mut ours, mut theirs) = (self.children.iter().peekable(), other.children.iter().peekable());
        while let (Some((a, left)), Some((b, right))) = (ours.peek(), theirs.peek()) {
            match a.as_ref().cmp(b.as_ref()) {
                Ordering::Less => drop(ours.next()),
                Ordering::Greater => drop(theirs.next()),
                Ordering::Equal => {
                    visit(a, left, right);
                    ours.next();
                    theirs.next();
                }
            }
        }
    }

    /// Takes a child itself out, but not what is below it.
    pub(super) fn leave(&mut self, name: &str) {
        if let Ok(at) = self.children.binary_search_by(|(own, _)| own.as_ref().cmp(name))
            && let Some((_, child)) = self.children.get_mut(at)
        {
            child.is_member = false;
            if child.is_empty() {
                self.children.remove(at);
            }
        }
    }

    /// Takes out the field at a path of names, with all below it.
    pub(super) fn remove_below(&mut self, path: &[&str]) {
        let Some((first, rest)) = path.split_first() else { return };
        let found = self.children.iter().position(|(name, _)| name.strip_prefix("f:") == Some(first));
        let Some(at) = found else { return };
        if rest.is_empty() {
            self.children.remove(at);
        } else if let Some((_, child)) = self.children.get_mut(at) {
            child.remove_below(rest);
            if child.is_empty() {
                self.children.remove(at);
            }
        }
    }

    /// The paths of all places in it, as upstream prints them: `.spec.containers[name="a"].image`.
    pub fn paths(&self) -> Vec<String> {
        let mut out = Vec::new();
        self.collect(&mut String::new(), &mut out);
        out
    }

    fn collect(&self, path: &mut String, out: &mut Vec<String>) {
        if self.is_member {
            out.push(path.clone());
        }
        for (name, child) in &self.children {
            let length = path.len();
            super::element::print(name, path);
            child.collect(path, out);
            path.truncate(length);
        }
    }
}
