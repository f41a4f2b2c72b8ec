//! Server-side apply: who set which field, and what a new configuration of one of them makes of an object.
//!
//! Every object remembers in `metadata.managedFields` who set its fields. [`apply`] merges a configuration by the
//! rules of the schema (lists by their keys or as sets, atomic values as a whole), takes away what the same manager
//! applied before and now leaves out, and refuses to change what others manage. [`track`] keeps the account for all
//! other writes: what a write changes belongs to its writer from then on.
//!
//! What was set through another version of the API is looked at in that version: [`Views`].
//!
//! Behaviour follows `sigs.k8s.io/structured-merge-diff` and `k8s.io/apimachinery/pkg/util/managedfields`.

mod compare;
mod conflict;
mod element;
mod empty;
mod field_set;
mod last_applied;
mod made;
mod manager;
mod merge;
mod node;
mod overlay;
mod prune;
mod remove;
mod typed;
mod views;

use std::borrow::Cow;

use serde_json::Value;

pub use self::conflict::{Conflict, Conflicts};
pub use self::field_set::FieldSet;
use self::manager::{Entry, Ledger, Operation};
use self::node::Node;
pub use self::overlay::overlay;
use self::views::{Effects, Lens, Sight};
pub use self::views::{Unseen, Versions, Views};
use crate::schema::ObjectType;
use crate::structural::Structural;

/// The manager to whom the fields go that an object had before anybody applied to it.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// Who writes, how and when.
#[derive(Clone, Copy, Debug)]
pub struct Author<'a> {
    /// The name of the field manager.
    pub manager: &'a str,
    /// The version of the API the write goes through, such as `apps/v1`.
    pub api_version: &'a str,
    /// `status`, `scale`, or empty for the object itself.
    pub subresource: &'a str,
    /// The time of the write, as `managedFields` shows it.
    pub now: &'a str,
}

/// What says how objects are taken apart.
#[derive(Clone, Copy, Debug)]
pub enum Schema<'a> {
    /// Nothing: objects by their fields, lists as one value.
    Unknown,
    /// The type of a built-in kind.
    Builtin(&'static ObjectType),
    /// The schema of a custom kind.
    Custom(&'a Structural),
}

/// What is written to.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The kind's schema in the version that is written through.
    pub schema: Schema<'a>,
    /// How its other versions differ from that.
    pub versions: Versions<'a>,
    /// Fields that this write cannot set, such as `status` on the main resource, as paths of names.
    pub ignored: &'a [&'a [&'a str]],
}

/// What happens to fields that others manage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    /// They refuse the configuration.
    No,
    /// They go over to the new manager.
    Yes,
}

/// Why a configuration was not applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// It does not fit the schema. Upstream answers 500 and puts `failed to create typed patch object` before it.
    #[error("{0}")]
    Mistyped(String),
    /// Others manage fields it would change: 409.
    #[error("{0}")]
    Conflict(Conflicts),
    /// Whether it can be is seen in other versions only: it is to be applied again with the answer, see [`Views`].
    #[error(transparent)]
    Unseen(#[from] Unseen),
}

/// What an apply makes.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    /// The object without its account, neither defaulted nor made lean.
    pub object: Value,
    /// Its new `managedFields`; `None` for none.
    pub account: Option<Value>,
}

/// Applies `config` to `live` (none: the object is made).
///
/// # Errors
/// When the configuration does not fit the schema, when others manage what it changes and `force` is no, or when the object
/// has to be seen in another version.
pub fn apply(
    live: Option<&Value>,
    config: &Value,
    author: Author<'_>,
    target: Target<'_>,
    force: Force,
) -> Result<Applied, ApplyError> {
    let lens = Lens::new(author, target);
    let root = lens.root;
    typed::check(config, root).map_err(ApplyError::Mistyped)?;
    let mut wanted = typed::fields(config, root);

    let empty = empty::object(target.schema);
    let base = live.unwrap_or(empty);
    let mut ledger = Ledger::read(base, lens);
    if ledger.is_empty() && live.is_some() {
        let mut found = compare::compare(Some(empty), Some(base), root).added_or_modified();
        strip(&mut found, &[]);
        ledger.add(Entry::new(BEFORE_FIRST_APPLY, Operation::Update, author, found));
    }
    ledger.leave(lens, |sight| matches!(sight, Sight::Gone));
    let mut merged = merge::merge(Some(base), config, root);
    without_account(&mut merged);
    let before = ledger.take(author.manager, Operation::Apply, author);
    if let Some(last) = &before {
        merged = prune::dropped(merged, last, &ledger, &wanted, lens)?;
    }
    // Only now: the name in the configuration is what keeps the metadata.
    strip(&mut wanted, target.ignored);
    let effects = Effects::between(base, &merged, ledger.versions(), lens, target.ignored)?;
    let is_same = effects.own.is_empty();
    let mut conflicts = ledger.conflicts(&effects);
    if author.manager == last_applied::MANAGER && force == Force::No && !conflicts.is_empty() {
        last_applied::allow(&mut conflicts, base, root);
    }
    if force == Force::No && !conflicts.is_empty() {
        return Err(ApplyError::Conflict(conflicts.report()));
    }
    ledger.give_up(&effects);
    let same = before.as_ref().filter(|last| is_same && last.set == wanted);
    let time = same.map(|last| last.time.to_string());
    let mut entry = Entry::new(author.manager, Operation::Apply, author, wanted);
    if let Some(time) = time {
        entry.time = Cow::Owned(time);
    }
    ledger.add(entry);
    Ok(Applied { object: merged, account: ledger.write() })
}

/// Gives what a write other than apply changes to its author, and returns the new `managedFields`; `None` for none.
///
/// `new` is the object as the client wants it, complete in the sense of [`schema`](crate::schema). `live` is the stored one, none
/// when the object is made. As upstream, an object whose fields nobody manages stays so until it is applied to.
///
/// # Errors
/// The object has to be seen in another version. Who cannot show it there calls again with [`Versions::Apart`].
pub fn track(
    live: Option<&Value>,
    new: &Value,
    author: Author<'_>,
    target: Target<'_>,
) -> Result<Option<Value>, Unseen> {
    let lens = Lens::new(author, target);
    let base = live.unwrap_or_else(|| empty::object(target.schema));
    let mut ledger = Ledger::of_request(base, new, author.subresource, lens);
    if ledger.is_empty() {
        return Ok(if live.is_none() { made(base, new, author, target) } else { None });
    }
    // Everything in a new object its maker set just now, through this version.
    let is_new = live.is_none();
    ledger.leave(lens, |sight| matches!(sight, Sight::Gone) || (is_new && matches!(sight, Sight::Other(_))));
    let effects = Effects::between(base, new, ledger.versions(), lens, target.ignored)?;
    if !effects.own.is_empty() {
        ledger.give_up(&effects);
        let taken = effects.own.taken;
        if !taken.is_empty() {
            ledger.record(Entry::new(author.manager, Operation::Update, author, taken));
        }
    }
    Ok(ledger.write())
}

/// The account of a new object that nobody but its maker has a part in.
fn made(empty: &Value, new: &Value, author: Author<'_>, target: Target<'_>) -> Option<Value> {
    let left_out: Vec<&[&str]> = UNMANAGED.iter().chain(target.ignored).copied().collect();
    let fields = made::fields(new, empty, Node::root(target.schema), &left_out)?;
    let entry = Entry::new(author.manager, Operation::Update, author, FieldSet::default());
    Some(Value::Array(vec![entry.with(fields)]))
}

/// Whether two accounts say the same but for the times.
pub fn differ_in_time_only(one: &Value, other: &Value) -> bool {
    let (Some(one), Some(other)) = (one.as_array(), other.as_array()) else { return false };
    let plain = |entry: &Value| {
        let mut entry = entry.as_object().cloned().unwrap_or_default();
        entry.remove("time");
        entry
    };
    // The order follows the times.
    one.len() == other.len()
        && one.iter().all(|entry| {
            let entry = plain(entry);
            other.iter().any(|candidate| plain(candidate) == entry)
        })
}

fn without_account(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
}

/// Fields nobody manages: the server's own, and those that say which object it is.
const UNMANAGED: [&[&str]; 13] = [
    &["apiVersion"],
    &["kind"],
    &["metadata", "name"],
    &["metadata", "namespace"],
    &["metadata", "creationTimestamp"],
    &["metadata", "selfLink"],
    &["metadata", "uid"],
    &["metadata", "clusterName"],
    &["metadata", "generation"],
    &["metadata", "managedFields"],
    &["metadata", "resourceVersion"],
    &["metadata", "deletionTimestamp"],
    &["metadata", "deletionGracePeriodSeconds"],
];

fn strip(set: &mut FieldSet<'_>, ignored: &[&[&str]]) {
    set.leave("f:metadata");
    for path in UNMANAGED.iter().chain(ignored) {
        set.remove_below(path);
    }
}

#[cfg(test)]
mod custom_tests;
#[cfg(test)]
mod every_kind;
#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod version_tests;
