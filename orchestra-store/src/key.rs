//! Keys are bytes, compared as bytes; nothing in them is normalised.

use std::borrow::Borrow;
use std::ops::{Bound, RangeBounds};

use bytes::Bytes;

/// A key. `a/..` is only a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(Bytes);

impl Key {
    /// A key of these bytes.
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        Self(bytes.into())
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Found in maps by its bytes alone.
impl Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl From<&str> for Key {
    fn from(text: &str) -> Self {
        Self(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl From<String> for Key {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

/// Keys from `start` (included) to `end` (excluded; `None` is the end of the key space).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRange {
    /// First key of the range.
    pub start: Key,
    /// First key behind the range.
    pub end: Option<Key>,
}

impl KeyRange {
    /// Every key.
    pub fn all() -> Self {
        Self { start: Key::new(Bytes::new()), end: None }
    }

    /// Every key that begins with `prefix`.
    pub fn prefix(prefix: impl AsRef<[u8]>) -> Self {
        let prefix = prefix.as_ref();
        let mut end = prefix.to_vec();
        // The successor of a prefix: drop trailing 0xff, raise the last byte that is left.
        while end.last() == Some(&0xff) {
            end.pop();
        }
        if let Some(last) = end.last_mut() {
            *last += 1;
        }
        let end = (!end.is_empty()).then(|| Key::new(end));
        Self { start: Key::new(Bytes::copy_from_slice(prefix)), end }
    }

    /// Whether `key` lies in the range.
    pub fn contains(&self, key: &Key) -> bool {
        is_between(self.bounds(), key.as_bytes())
    }

    /// The range as bytes.
    pub(crate) fn bounds(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        let end = self.end.as_ref().map_or(Bound::Unbounded, |end| Bound::Excluded(end.as_bytes()));
        (Bound::Included(self.start.as_bytes()), end)
    }
}

/// Whether `key` lies between two keys.
pub(crate) fn is_between(bounds: (Bound<&[u8]>, Bound<&[u8]>), key: &[u8]) -> bool {
    RangeBounds::<[u8]>::contains(&bounds, key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_range_holds_what_begins_with_it_and_nothing_else() {
        let range = KeyRange::prefix("/pods/");
        assert!(range.contains(&"/pods/".into()));
        assert!(range.contains(&"/pods/zz".into()));
        assert!(!range.contains(&"/pods0".into()));
        assert!(!range.contains(&"/pods".into()));
        assert_eq!(KeyRange::prefix([0xff, 0xff]).end, None);
    }
}
