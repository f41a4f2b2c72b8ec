//! How many objects lie behind the pages that were read last.
//!
//! Each page says how many are left. Whoever reads page after page would have them counted again for each, which takes longer than
//! finding the page; what lies behind one is what lay behind the page before it, less those in it.

use std::collections::VecDeque;

use orchestra_store::Revision;

/// Pages that are remembered: those that as many clients, who read at the same time, have got to.
const MOST_PAGES: usize = 16;

/// The ends of pages of one resource, of one revision.
#[derive(Debug, Default)]
pub(super) struct Behind {
    revision: Revision,
    /// The oldest first.
    ends: VecDeque<End>,
}

#[derive(Debug)]
struct End {
    /// All pages were of keys that begin with this.
    prefix: Box<str>,
    /// The key at which the next page begins.
    next: Box<str>,
    count: usize,
}

impl Behind {
    /// How many objects there are from `start` on, if a page ended there that was read at this revision.
    pub(super) fn count(&self, revision: Revision, prefix: &str, start: &str) -> Option<usize> {
        let is_it = |end: &&End| *end.next == *start && *end.prefix == *prefix;
        self.ends.iter().find(is_it).filter(|_| self.revision == revision).map(|end| end.count)
    }

    /// A page has ended with the key `last`, and so many are behind it.
    pub(super) fn remember(&mut self, revision: Revision, prefix: &str, last: &str, count: usize) {
        if self.revision != revision {
            self.revision = revision;
            self.ends.clear();
        }
        let next = format!("{last}\0");
        if self.count(revision, prefix, &next).is_some() {
            return;
        }
        if self.ends.len() == MOST_PAGES {
            self.ends.pop_front();
        }
        self.ends.push_back(End { prefix: prefix.into(), next: next.into(), count });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_of_one_revision_one_prefix_and_the_last_pages() {
        let mut behind = Behind::default();
        behind.remember(Revision(3), "ns/", "ns/a", 7);
        assert_eq!(behind.count(Revision(3), "ns/", "ns/a\0"), Some(7));
        for (revision, prefix, start) in [(4, "ns/", "ns/a\0"), (3, "", "ns/a\0"), (3, "ns/", "ns/a")] {
            assert_eq!(behind.count(Revision(revision), prefix, start), None, "{revision} {prefix} {start}");
        }
        for page in 0..MOST_PAGES {
            behind.remember(Revision(3), "", &format!("{page:03}"), page);
            behind.remember(Revision(3), "", &format!("{page:03}"), page);
        }
        assert_eq!(behind.count(Revision(3), "ns/", "ns/a\0"), None);
        assert_eq!(behind.count(Revision(3), "", "000\0"), Some(0));
        behind.remember(Revision(4), "", "x", 1);
        assert_eq!(behind.count(Revision(3), "", "000\0"), None);
    }
}
