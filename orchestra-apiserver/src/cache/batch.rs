//! Events that many watchers send alike, written once.
//!
//! Watchers who are woken together stand at the same revision, and most of them ask for everything in the same form. What
//! the first of them writes out the others take as it is: for them there is neither a change to look at nor a byte to copy.
//! Only what happened last is kept, and only where it is short; who is further behind writes for itself.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use orchestra_store::Revision;

use crate::negotiate::accept::Syntax;

/// Bytes of one batch.
pub(crate) const MOST_BYTES: usize = 128 << 10;
/// Batches that are kept. Watchers in several forms, or who came between two wakings, each need one.
const KEPT: usize = 4;

/// Who sends the same events: whoever watches all objects of one namespace, or of all, in one form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Audience {
    pub(crate) namespace: Option<String>,
    pub(crate) syntax: Syntax,
}

/// All that happened between two revisions, as one audience sees it.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) audience: Audience,
    pub(crate) after: Revision,
    pub(crate) upto: Revision,
    pub(crate) bytes: Bytes,
    /// The length of each event.
    pub(crate) events: Vec<usize>,
}

/// The last batches of one collection.
#[derive(Debug, Default)]
pub(crate) struct Batches(Mutex<VecDeque<Arc<Batch>>>);

impl Batches {
    fn kept(&self) -> MutexGuard<'_, VecDeque<Arc<Batch>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What comes behind a revision for an audience, if somebody has written it.
    pub(crate) fn find(&self, audience: &Audience, after: Revision) -> Option<Arc<Batch>> {
        let kept = self.kept();
        kept.iter().rev().find(|batch| batch.after == after && batch.audience == *audience).cloned()
    }

    /// Keeps a batch for the others of its audience.
    pub(crate) fn keep(&self, batch: Batch) {
        let mut kept = self.kept();
        while kept.len() >= KEPT {
            kept.pop_front();
        }
        kept.push_back(Arc::new(batch));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_batches_are_kept_each_for_its_own_audience() {
        let batches = Batches::default();
        let audience =
            |namespace: Option<&str>, syntax| Audience { namespace: namespace.map(str::to_owned), syntax };
        let all = audience(None, Syntax::Json);
        for at in 0..6 {
            let (after, upto, bytes) = (Revision(at), Revision(at + 1), Bytes::from(at.to_string()));
            batches.keep(Batch { audience: all.clone(), after, upto, bytes, events: vec![1] });
        }
        let found = |audience: &Audience, after| {
            batches.find(audience, Revision(after)).map(|batch| (batch.upto.0, batch.bytes.clone()))
        };
        assert_eq!(found(&all, 5), Some((6, "5".into())));
        assert_eq!((found(&all, 1), found(&all, 2)), (None, Some((3, "2".into()))));
        assert_eq!(found(&audience(Some("default"), Syntax::Json), 5), None);
        assert_eq!(found(&audience(None, Syntax::Protobuf), 5), None);
    }
}
