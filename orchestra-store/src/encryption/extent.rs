//! What is known of the values under prefixes: which are sealed, and which may be plain. Pure.

use std::collections::BTreeSet;

use super::guarded::marked;
use super::rules::{EncryptionRules, Policy};
use crate::key::Key;

/// What is known of the values under prefixes of the key space.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// Every value under these is sealed.
    pub sealed: BTreeSet<String>,
    /// Under these some may be, and some not.
    pub mixed: BTreeSet<String>,
}

impl Extent {
    /// What is to be remembered before anything is written by a server that wants `wanted` encrypted.
    pub(super) fn towards(&self, wanted: &BTreeSet<String>) -> Self {
        let (sealed, opened): (BTreeSet<String>, BTreeSet<String>) =
            self.sealed.iter().cloned().partition(|prefix| covers(wanted, prefix));
        let new = wanted.iter().filter(|prefix| !covers(&sealed, prefix)).cloned();
        let mixed =
            self.mixed.iter().cloned().chain(opened).chain(new).filter(|prefix| !covers(&sealed, prefix));
        Self { mixed: mixed.collect(), sealed }
    }

    /// What is known after everything under the prefixes in `done` was brought into the form that `rules` ask for. What another
    /// process has noted meanwhile stays as it is.
    pub(super) fn settled(&self, done: &BTreeSet<String>, rules: &EncryptionRules) -> Self {
        let (done, mixed): (BTreeSet<String>, BTreeSet<String>) =
            self.mixed.iter().cloned().partition(|prefix| done.contains(prefix));
        let wanted = done.into_iter().filter(|prefix| {
            rules.policy(&Key::from(prefix.as_str())).is_some_and(|policy| policy != Policy::Plain)
        });
        Self { sealed: self.sealed.iter().cloned().chain(wanted).collect(), mixed }
    }

    /// The rules for a server that wants `wanted` encrypted: the longest prefix first.
    pub(super) fn rules(&self, wanted: &BTreeSet<String>) -> EncryptionRules {
        let mut prefixes: Vec<&String> = self.sealed.iter().chain(&self.mixed).chain(wanted).collect();
        prefixes.sort_by_key(|prefix| std::cmp::Reverse(prefix.len()));
        prefixes.into_iter().fold(marked(), |rules, prefix| {
            let policy = match (covers(wanted, prefix), covers(&self.sealed, prefix)) {
                (true, true) => Policy::Sealed,
                (true, false) => Policy::Sealing,
                (false, _) => Policy::Plain,
            };
            rules.with(prefix.clone(), policy)
        })
    }

    /// All prefixes of which anything is known.
    pub(super) fn all(&self) -> BTreeSet<String> {
        self.sealed.union(&self.mixed).cloned().collect()
    }
}

fn covers(prefixes: &BTreeSet<String>, prefix: &str) -> bool {
    prefixes.iter().any(|known| prefix.starts_with(known.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set<const N: usize>(prefixes: [&str; N]) -> BTreeSet<String> {
        prefixes.map(str::to_owned).into()
    }

    #[test]
    fn only_what_was_brought_into_form_is_noted_as_being_in_it() {
        // Another process has begun with "/b/" meanwhile.
        let extent = Extent { sealed: set(["/s/"]), mixed: set(["/a/", "/b/", "/gone/"]) };
        let rules = EncryptionRules::new().with("/a/", Policy::Sealing).with("/gone/", Policy::Plain);
        let settled = extent.settled(&set(["/a/", "/gone/"]), &rules);
        assert_eq!(settled, Extent { sealed: set(["/a/", "/s/"]), mixed: set(["/b/"]) });
    }
}
