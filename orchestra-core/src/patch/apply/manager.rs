//! `metadata.managedFields`: one entry for each manager, operation, version and subresource.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::HashMap;

use serde_json::{Map, Value};

use super::Author;
use super::conflict::{Conflict, Conflicts};
use super::element;
use super::field_set::FieldSet;
use super::views::{Effect, Effects, Lens, Sight};

/// How many entries of other operations than apply are kept; the oldest above that are put together.
const MAX_UPDATERS: usize = 10;
/// The manager of those put together.
const ANCIENT: &str = "ancient-changes";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    Apply,
    Update,
}

impl Operation {
    fn text(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

/// What one manager has set.
#[derive(Clone, Debug)]
pub(super) struct Entry<'a> {
    manager: Cow<'a, str>,
    operation: Operation,
    api_version: Cow<'a, str>,
    subresource: Cow<'a, str>,
    pub(super) time: Cow<'a, str>,
    pub(super) set: FieldSet<'a>,
    /// What was read, while the set is still the same.
    read: Option<&'a Value>,
}

impl<'a> Entry<'a> {
    pub(super) fn new(manager: &'a str, operation: Operation, author: Author<'a>, set: FieldSet<'a>) -> Self {
        Self {
            manager: Cow::Borrowed(manager),
            operation,
            api_version: Cow::Borrowed(author.api_version),
            subresource: Cow::Borrowed(author.subresource),
            time: Cow::Borrowed(author.now),
            set,
            read: None,
        }
    }

    fn parse(value: &'a Value) -> Option<Self> {
        let text = |field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default();
        let operation = match text("operation") {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            _ => return None,
        };
        if text("apiVersion").is_empty() {
            return None;
        }
        let set = match value.get("fieldsV1") {
            Some(fields) if !fields.is_null() => FieldSet::parse(fields)?,
            _ => FieldSet::default(),
        };
        Some(Self {
            manager: Cow::Borrowed(text("manager")),
            operation,
            api_version: Cow::Borrowed(text("apiVersion")),
            subresource: Cow::Borrowed(text("subresource")),
            time: Cow::Borrowed(text("time")),
            set,
            read: Some(value),
        })
    }

    pub(super) fn api_version(&self) -> &str {
        &self.api_version
    }

    /// Whether both would be one entry. Who applies has one whatever the version.
    fn is_same(&self, other: &Entry<'_>) -> bool {
        self.manager == other.manager
            && self.operation == other.operation
            && self.subresource == other.subresource
            && (self.operation == Operation::Apply || self.api_version == other.api_version)
    }

    fn into_value(mut self) -> Value {
        if let Some(read) = self.read {
            return read.clone();
        }
        let set = std::mem::take(&mut self.set);
        self.with(set.into_value())
    }

    /// As `managedFields` has it, with these fields in the place of its own.
    pub(super) fn with(&self, fields: Value) -> Value {
        let mut out = Map::new();
        let mut put = |field: &str, text: &str| {
            if !text.is_empty() {
                out.insert(field.to_owned(), text.into());
            }
        };
        put("manager", &self.manager);
        put("operation", self.operation.text());
        put("apiVersion", &self.api_version);
        put("time", &self.time);
        put("fieldsType", "FieldsV1");
        put("subresource", &self.subresource);
        out.insert("fieldsV1".into(), fields);
        Value::Object(out)
    }

    /// As messages name the manager.
    fn describe(&self) -> String {
        let mut text = Value::from(self.manager.as_ref()).to_string();
        if !self.subresource.is_empty() {
            text.push_str(&format!(" with subresource {}", Value::from(self.subresource.as_ref())));
        }
        if self.operation == Operation::Update {
            text.push_str(&format!(" using {}", self.api_version));
        }
        text
    }

    fn order(&self, other: &Self) -> Ordering {
        let key = |entry: &Self| (entry.operation, entry.time.clone(), entry.manager.clone());
        key(self)
            .cmp(&key(other))
            .then_with(|| self.api_version.cmp(&other.api_version))
            .then_with(|| self.subresource.cmp(&other.subresource))
    }
}

/// All entries of an object.
#[derive(Debug, Default)]
pub(super) struct Ledger<'a> {
    entries: Vec<Entry<'a>>,
}

/// Who manages what somebody else would change.
#[derive(Debug)]
pub(super) struct Disputed(Vec<(String, FieldSet<'static>)>);

impl Disputed {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn except(&mut self, allowed: &FieldSet<'_>) {
        for (_, set) in &mut self.0 {
            set.subtract(allowed);
        }
        self.0.retain(|(_, set)| !set.is_empty());
    }

    pub(super) fn report(&self) -> Conflicts {
        let of = |(manager, set): &(String, FieldSet<'_>)| {
            let manager = manager.clone();
            set.paths().into_iter().map(move |path| Conflict { manager: manager.clone(), path })
        };
        Conflicts(self.0.iter().flat_map(of).collect())
    }
}

fn account(object: &Value) -> &[Value] {
    let list = object.get("metadata").and_then(|m| m.get("managedFields")).and_then(Value::as_array);
    list.map_or(&[], Vec::as_slice)
}

impl<'a> Ledger<'a> {
    /// The account of a stored object. One that cannot be read counts as none, as upstream.
    pub(super) fn read(object: &'a Value, lens: Lens<'_>) -> Self {
        let mut ledger = Self::parse(account(object)).unwrap_or_default();
        ledger.fit(lens);
        ledger
    }

    /// Fits the entries to what the schema of their version says now.
    fn fit(&mut self, lens: Lens<'_>) {
        for entry in self.entries.iter_mut().filter(|_| lens.gathers) {
            let root = match lens.at(&entry.api_version) {
                Sight::Same => lens.root,
                Sight::Other(root) => root,
                Sight::Hidden | Sight::Gone => continue,
            };
            if entry.set.gather(root) {
                entry.read = None;
            }
        }
    }

    fn parse(entries: &'a [Value]) -> Option<Self> {
        Some(Self { entries: entries.iter().map(Entry::parse).collect::<Option<_>>()? })
    }

    /// The account an update starts from: the one the client sends along, unless it sends none or goes through a
    /// subresource. A list with one empty entry wipes the account.
    pub(super) fn of_request(live: &'a Value, new: &'a Value, subresource: &str, lens: Lens<'_>) -> Self {
        let (ours, theirs) = (account(live), account(new));
        if !subresource.is_empty() || theirs.is_empty() || ours == theirs {
            return Self::read(live, lens);
        }
        if let [Value::Object(only)] = theirs
            && only.is_empty()
        {
            return Self::default();
        }
        let Some(mut ledger) = Self::parse(theirs) else { return Self::read(live, lens) };
        for entry in &mut ledger.entries {
            let Some(set) = canonical(&entry.set) else { return Self::read(live, lens) };
            entry.set = set;
            entry.read = None;
        }
        ledger.entries.retain(|entry| !entry.set.is_empty());
        ledger.fit(lens);
        ledger
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Leaves out what was set through versions of which `goes` says so.
    pub(super) fn leave(&mut self, lens: Lens<'_>, goes: impl Fn(Sight<'_>) -> bool) {
        self.entries.retain(|entry| !goes(lens.at(&entry.api_version)));
    }

    pub(super) fn add(&mut self, entry: Entry<'a>) {
        if !entry.set.is_empty() {
            self.entries.push(entry);
        }
    }

    /// Adds to the manager's entry, or makes it.
    pub(super) fn record(&mut self, mut entry: Entry<'a>) {
        if let Some(at) = self.entries.iter().position(|own| own.is_same(&entry)) {
            let own = self.entries.swap_remove(at);
            entry.set = entry.set.union(own.set);
        }
        self.entries.push(entry);
    }

    pub(super) fn take(
        &mut self,
        manager: &'a str,
        operation: Operation,
        author: Author<'a>,
    ) -> Option<Entry<'a>> {
        let wanted = Entry::new(manager, operation, author, FieldSet::default());
        let at = self.entries.iter().position(|entry| entry.is_same(&wanted))?;
        Some(self.entries.remove(at))
    }

    /// The versions through which something was set, each as often as somebody did.
    pub(super) fn versions(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(Entry::api_version)
    }

    /// What was set through a version.
    pub(super) fn sets_of(&self, api_version: &str, lens: Lens<'_>) -> impl Iterator<Item = &FieldSet<'a>> {
        let entries = self.entries.iter();
        entries.filter(move |entry| lens.are_same(&entry.api_version, api_version)).map(|entry| &entry.set)
    }

    pub(super) fn conflicts(&self, effects: &Effects<'_>) -> Disputed {
        let found = self.entries.iter().filter_map(|entry| {
            let Effect { taken, .. } = effects.of(&entry.api_version)?;
            entry.set.meets(taken).then(|| (entry.describe(), entry.set.intersection(taken)))
        });
        Disputed(found.collect())
    }

    /// Takes the fields that were set or removed from everybody who has them.
    pub(super) fn give_up(&mut self, effects: &Effects<'_>) {
        self.entries.retain_mut(|entry| {
            if let Some(Effect { taken, removed }) = effects.of(&entry.api_version) {
                for lost in [taken, removed] {
                    if entry.set.meets(lost) {
                        entry.set.subtract(lost);
                        entry.read = None;
                    }
                }
            }
            !entry.set.is_empty()
        });
    }

    /// As `metadata.managedFields`; `None` when nobody manages anything.
    pub(super) fn write(mut self) -> Option<Value> {
        self.cap();
        self.entries.sort_by(Entry::order);
        let entries: Vec<Value> = self.entries.into_iter().map(Entry::into_value).collect();
        Some(entries).filter(|entries| !entries.is_empty()).map(Value::Array)
    }

    /// Puts the oldest updates together under one name, one entry for each version of the API, until no more are left than
    /// are kept. A client may send as many entries as a body holds, so each is looked at once.
    fn cap(&mut self) {
        let is_update = |entry: &Entry<'_>| entry.operation == Operation::Update;
        let mut updaters = self.entries.iter().filter(|entry| is_update(entry)).count();
        if updaters <= MAX_UPDATERS {
            return;
        }
        self.entries.sort_by(Entry::order);
        // What is ancient already does not count as the oldest, or it alone would be moved for ever.
        let (old, rest): (Vec<Entry<'a>>, Vec<Entry<'a>>) = std::mem::take(&mut self.entries)
            .into_iter()
            .partition(|entry| is_update(entry) && entry.manager == ANCIENT && entry.subresource.is_empty());
        let mut places: HashMap<String, usize> = HashMap::new();
        let mut ancients: Vec<(Entry<'a>, Vec<FieldSet<'a>>)> = Vec::new();
        for mut entry in old {
            places.entry(entry.api_version.to_string()).or_insert(ancients.len());
            let set = std::mem::take(&mut entry.set);
            ancients.push((entry, vec![set]));
        }
        for mut entry in rest {
            if updaters <= MAX_UPDATERS || !is_update(&entry) {
                self.entries.push(entry);
                continue;
            }
            entry.manager = Cow::Borrowed(ANCIENT);
            entry.subresource = Cow::Borrowed("");
            entry.read = None;
            let set = std::mem::take(&mut entry.set);
            let known = places.get(entry.api_version.as_ref()).and_then(|at| ancients.get_mut(*at));
            if let Some((ancient, sets)) = known {
                sets.push(set);
                *ancient = entry;
                updaters -= 1;
            } else {
                places.insert(entry.api_version.to_string(), ancients.len());
                ancients.push((entry, vec![set]));
            }
        }
        for (mut ancient, sets) in ancients {
            ancient.set = FieldSet::union_of(sets);
            ancient.read = None;
            self.entries.push(ancient);
        }
    }
}

/// The set with all names in the form this server writes; `None` if one is no name.
fn canonical(set: &FieldSet<'_>) -> Option<FieldSet<'static>> {
    let mut out = FieldSet::default();
    if set.is_member() {
        out.set_member();
    }
    for (name, child) in set.children() {
        let (name, child) = (element::canonical(name)?, canonical(child)?);
        out.push(|| name, child);
    }
    out.sort();
    Some(out)
}
