//! Which values are encrypted.

use bytes::Bytes;

use crate::key::{Key, KeyRange};

/// What becomes of the values under a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Written encrypted, and nothing else is read: a plain value was put there by somebody who went around the store.
    Sealed,
    /// Written encrypted; plain values are still read, because some were written before encryption was switched on.
    Sealing,
    /// Written plain; encrypted values are still read, because some were written before it was switched off.
    Plain,
}

/// Which prefixes of the key space have a policy. Values under other keys pass as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EncryptionRules {
    rules: Vec<(Bytes, Policy)>,
}

impl EncryptionRules {
    /// No prefix has a policy.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives keys that begin with `prefix` a policy, unless a prefix that was named before has given them one.
    #[must_use]
    pub fn with(mut self, prefix: impl Into<Bytes>, policy: Policy) -> Self {
        self.rules.push((prefix.into(), policy));
        self
    }

    /// The policy for a key.
    pub fn policy(&self, key: &Key) -> Option<Policy> {
        self.rules.iter().find(|(prefix, _)| key.as_bytes().starts_with(prefix)).map(|(_, policy)| *policy)
    }

    /// The prefixes with their policies, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Policy)> {
        self.rules.iter().map(|(prefix, policy)| (&prefix[..], *policy))
    }

    /// Whether any key of `range` may have a policy.
    pub(super) fn touch(&self, range: &KeyRange) -> bool {
        self.rules.iter().any(|(prefix, _)| {
            let ruled = KeyRange::prefix(prefix);
            let begins_below = |end: &Option<Key>, start: &Key| end.as_ref().is_none_or(|end| start < end);
            begins_below(&ruled.end, &range.start) && begins_below(&range.end, &ruled.start)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_prefix_that_fits_decides() {
        let rules = EncryptionRules::new()
            .with("/a/secret/", Policy::Sealed)
            .with("/a/", Policy::Plain)
            .with("/a/b", Policy::Sealing);
        for (key, policy) in
            [("/a/secret/x", Some(Policy::Sealed)), ("/a/b", Some(Policy::Plain)), ("/b", None), ("/a", None)]
        {
            assert_eq!(rules.policy(&key.into()), policy, "{key}");
        }
    }

    #[test]
    fn a_range_that_may_hold_an_encrypted_value_is_known() {
        let rules = EncryptionRules::new().with("/b/", Policy::Sealed);
        let range =
            |start: &str, end: Option<&str>| KeyRange { start: start.into(), end: end.map(Key::from) };
        for (range, touched) in [
            (KeyRange::all(), true),
            (KeyRange::prefix("/b/c/"), true),
            (KeyRange::prefix("/"), true),
            (KeyRange::prefix("/a/"), false),
            (range("/a", Some("/b/")), false),
            (range("/a", Some("/b/0")), true),
            (range("/b0", None), false),
            (range("/b/z", None), true),
        ] {
            assert_eq!(rules.touch(&range), touched, "{range:?}");
        }
        assert!(EncryptionRules::new().with("", Policy::Sealed).touch(&KeyRange::prefix("/x")));
    }
}
