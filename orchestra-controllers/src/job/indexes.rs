//! Sets of completion indexes, in the short form in which a Job's status holds them: `1,3-5,7`.

use std::fmt;

/// A set of indexes as sorted spans that neither meet nor overlap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Indexes(Vec<Span>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    first: u32,
    last: u32,
}

impl Indexes {
    /// Reads the short form and leaves out what is not below `end`. What cannot be read, and what follows it, is left
    /// out too: nobody but a controller writes this.
    pub(super) fn parse(text: &str, end: u32) -> Self {
        let mut read = Self::default();
        for part in text.split(',').filter(|_| !text.is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (Ok(first), Ok(last)) = (first.parse::<u32>(), last.parse::<u32>()) else { break };
            if first >= end || first > last {
                break;
            }
            read.insert_span(Span { first, last: last.min(end - 1) });
        }
        read
    }

    pub(super) fn contains(&self, index: u32) -> bool {
        let at = self.0.partition_point(|span| span.last < index);
        self.0.get(at).is_some_and(|span| span.first <= index)
    }

    pub(super) fn insert(&mut self, index: u32) {
        self.insert_span(Span { first: index, last: index });
    }

    fn insert_span(&mut self, new: Span) {
        // All spans that the new one overlaps or touches become one with it.
        let from = self.0.partition_point(|span| span.last.saturating_add(1) < new.first);
        let until = self.0.partition_point(|span| span.first <= new.last.saturating_add(1));
        let joined = self
            .0
            .drain(from..until)
            .fold(new, |all, span| Span { first: all.first.min(span.first), last: all.last.max(span.last) });
        self.0.insert(from, joined);
    }

    /// How many indexes there are.
    pub(super) fn len(&self) -> u32 {
        self.0.iter().fold(0_u32, |sum, span| sum.saturating_add((span.last - span.first).saturating_add(1)))
    }

    /// How many indexes both sets have.
    pub(super) fn shared(&self, other: &Self) -> u32 {
        let overlaps = self.0.iter().flat_map(|mine| {
            let from = other.0.partition_point(|span| span.last < mine.first);
            other
                .0
                .iter()
                .skip(from)
                .take_while(|span| span.first <= mine.last)
                .map(|span| (mine.last.min(span.last) - mine.first.max(span.first)).saturating_add(1))
        });
        overlaps.fold(0, u32::saturating_add)
    }

    /// All indexes of both sets become this one's.
    pub(super) fn unite(&mut self, other: &Self) {
        other.0.iter().for_each(|span| self.insert_span(*span));
    }

    /// The lowest `count` indexes below `end` that are not in the set.
    pub(super) fn first_missing(&self, count: usize, end: u32) -> Vec<u32> {
        let (mut missing, mut next) = (Vec::new(), 0);
        for span in &self.0 {
            missing.extend((next..span.first.min(end)).take(count - missing.len()));
            next = span.last.saturating_add(1);
        }
        missing.extend((next..end).take(count - missing.len()));
        missing
    }
}

impl FromIterator<u32> for Indexes {
    fn from_iter<I: IntoIterator<Item = u32>>(indexes: I) -> Self {
        let mut all = Self::default();
        indexes.into_iter().for_each(|index| all.insert(index));
        all
    }
}

impl Extend<u32> for Indexes {
    fn extend<I: IntoIterator<Item = u32>>(&mut self, indexes: I) {
        indexes.into_iter().for_each(|index| self.insert(index));
    }
}

impl fmt::Display for Indexes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, Span { first, last }) in self.0.iter().enumerate() {
            if number > 0 {
                f.write_str(",")?;
            }
            match last - first {
                0 => write!(f, "{first}")?,
                1 => write!(f, "{first},{last}")?,
                _ => write!(f, "{first}-{last}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn are_written_as_upstream_writes_them() {
        let all: Indexes = [7, 1, 3, 5, 4, 9, 10].into_iter().collect();
        assert_eq!(all.to_string(), "1,3-5,7,9,10");
        assert_eq!(Indexes::parse("1,3-5,7,9,10", 100), all);
        assert_eq!(Indexes::parse("1,3-5,7,9,10", 5).to_string(), "1,3,4");
        assert_eq!(Indexes::default().to_string(), "");
        assert_eq!(Indexes::parse("0,x,3", 100).to_string(), "0");
    }

    proptest! {
        #[test]
        fn behave_as_sets_do(indexes in prop::collection::vec(0_u32..40, 0..60), others in prop::collection::vec(0_u32..40, 0..60), count in 0_usize..50) {
            let set: BTreeSet<u32> = indexes.iter().copied().collect();
            let other: BTreeSet<u32> = others.iter().copied().collect();
            let short: Indexes = indexes.into_iter().collect();
            prop_assert_eq!(short.len() as usize, set.len());
            prop_assert_eq!((0..45).filter(|i| short.contains(*i)).collect::<BTreeSet<_>>(), set.clone());
            prop_assert_eq!(&Indexes::parse(&short.to_string(), 40), &short);
            prop_assert_eq!(short.shared(&others.into_iter().collect()) as usize, set.intersection(&other).count());
            let missing: Vec<u32> = (0..40).filter(|i| !set.contains(i)).take(count).collect();
            prop_assert_eq!(short.first_missing(count, 40), missing);
        }
    }
}
