//! Takes away what a manager applied before and now leaves out, in whichever version either was.

use std::collections::BTreeSet;

use serde_json::Value;

use super::field_set::FieldSet;
use super::manager::{Entry, Ledger};
use super::remove;
use super::typed::fields;
use super::views::{Lens, Sight, Unseen};

const PRUNE: &str = "failed to prune fields: ";
const ADD_BACK: &str = "failed to prune fields: failed add back owned items: ";

/// `merged` without the places that the manager applied as `last`, neither has in `wanted` nor shares with an entry of the
/// ledger. Fields are removed in the version they were applied through; what others have is looked for in theirs.
pub(super) fn dropped(
    mut merged: Value,
    last: &Entry<'_>,
    ledger: &Ledger<'_>,
    wanted: &FieldSet<'_>,
    lens: Lens<'_>,
) -> Result<Value, Unseen> {
    let home = last.api_version();
    let root = match lens.at(home) {
        Sight::Same => lens.root,
        Sight::Other(root) => root,
        Sight::Hidden | Sight::Gone => return Ok(merged),
    };
    let kept_at = |version: &str| -> Vec<&FieldSet<'_>> {
        let wanted = lens.are_same(version, lens.api_version).then_some(wanted);
        ledger.sets_of(version, lens).chain(wanted).collect()
    };
    let managed = ledger.versions().chain([lens.api_version]);
    let others: BTreeSet<&str> = managed
        .filter(|version| !lens.are_same(version, home))
        .filter(|version| !matches!(lens.at(version), Sight::Hidden | Sight::Gone))
        .collect();
    if others.is_empty() {
        remove::dropped(&mut merged, &last.set, &kept_at(home), root);
        return Ok(merged);
    }

    let context = format!("{PRUNE}failed to convert merged object to last applied version: ");
    let there = one(&merged, home, &context, lens)?;
    let mut pruned = there.clone();
    remove::dropped(&mut pruned, &last.set, &kept_at(home), root);
    if pruned == there {
        return Ok(merged);
    }
    for version in others {
        let root = match lens.at(version) {
            Sight::Other(root) => root,
            _ => lens.root,
        };
        let seen = |what: &str| format!("{ADD_BACK}failed to convert {what} object at version {version}: ");
        let mut all = one(&there, version, &seen("merged"), lens)?;
        let left = fields(&one(&pruned, version, &seen("pruned"), lens)?, root);
        let mut kept = kept_at(version);
        kept.push(&left);
        let whole = fields(&all, root);
        remove::dropped(&mut all, &whole, &kept, root);
        pruned = all;
    }
    // Whatever the versions made of each other, nothing goes that was not applied.
    let context = format!(
        "{PRUNE}failed add back dangling items: failed to convert pruned object to last applied version: "
    );
    let left = fields(&one(&pruned, home, &context, lens)?, root);
    let mut out = there;
    remove::dropped(&mut out, &last.set, &[&left], root);
    one(&out, lens.api_version, PRUNE, lens)
}

fn one(object: &Value, version: &str, context: &str, lens: Lens<'_>) -> Result<Value, Unseen> {
    let seen = lens.see(&[object], version, context)?.pop();
    Ok(seen.map_or_else(|| object.clone(), std::borrow::Cow::into_owned))
}
