//! Changes for watchers of one value of one field, such as an agent that watches the pods of its node.
//!
//! Other watchers take what they need out of the collection's history and look at every change there. With a thousand
//! nodes that would be a thousand looks at each pod's change, all but one or two in vain, and as many tasks woken for
//! nothing. So each of these has a box of its own, and a change is put into those that its field names, as it was before
//! and as it is now.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use orchestra_store::Revision;
use tokio::sync::Notify;

use super::object::Change;
use crate::storage::resource::Resource;

/// Changes that a box holds for a watcher who does not come. They are few for one value; beyond that it has to look into
/// the history like the others.
const MOST_CHANGES: usize = 128;
/// Bytes of objects that those changes may hold alive.
const MOST_BYTES: usize = 256 << 10;

/// What a watcher is about: objects with this value in this field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) field: String,
    pub(crate) value: String,
}

/// The box of one watcher.
#[derive(Debug)]
pub(crate) struct Inbox {
    content: Mutex<Content>,
    woken: Notify,
}

#[derive(Debug)]
struct Content {
    changes: VecDeque<Arc<Change>>,
    bytes: usize,
    /// Every change above this that the watcher is about was put in, or has been taken.
    floor: Revision,
    /// Whether the watcher is still to be told.
    is_due: bool,
}

impl Inbox {
    fn content(&self) -> MutexGuard<'_, Content> {
        // No code that can panic runs while it is half-changed.
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a change in. Whether the watcher is to be told, and was not going to be already.
    fn put(&self, change: &Arc<Change>) -> bool {
        let mut content = self.content();
        content.bytes += change.weight();
        content.changes.push_back(change.clone());
        if content.changes.len() > MOST_CHANGES || content.bytes > MOST_BYTES {
            content.changes.clear();
            content.bytes = 0;
            content.floor = change.revision;
        }
        !std::mem::replace(&mut content.is_due, true)
    }

    /// Takes every change above `after` out; `None` when not all of them are here.
    pub(crate) fn take(&self, after: Revision) -> Option<Vec<Arc<Change>>> {
        let mut content = self.content();
        if after < content.floor {
            return None;
        }
        content.bytes = 0;
        Some(content.changes.drain(..).filter(|change| change.revision > after).collect())
    }

    /// Tells the watcher to come.
    pub(crate) fn wake(&self) {
        self.content().is_due = false;
        self.woken.notify_one();
    }

    /// Waits until the watcher is told to come.
    pub(crate) async fn told(&self) {
        self.woken.notified().await;
    }
}

type ByValue = HashMap<Box<str>, Vec<Weak<Inbox>>>;

/// The boxes of a collection.
#[derive(Debug, Default)]
pub(crate) struct Inboxes {
    by_field: BTreeMap<String, ByValue>,
    /// Opened since those that nobody has any more were looked for.
    opened: usize,
    /// Those whose watchers are still to be told, in the order of the changes.
    due: Vec<Arc<Inbox>>,
}

impl Inboxes {
    /// A box into which every change above `floor` is put.
    pub(crate) fn open(&mut self, wish: &Wish, floor: Revision) -> Arc<Inbox> {
        self.sweep();
        let content = Content { changes: VecDeque::new(), bytes: 0, floor, is_due: false };
        let inbox = Arc::new(Inbox { content: Mutex::new(content), woken: Notify::new() });
        let by_value = self.by_field.entry(wish.field.clone()).or_default();
        by_value.entry(wish.value.as_str().into()).or_default().push(Arc::downgrade(&inbox));
        inbox
    }

    /// Forgets boxes without a watcher, each time as many were opened as there are.
    fn sweep(&mut self) {
        self.opened += 1;
        let there: usize = self.by_field.values().map(HashMap::len).sum();
        if self.opened <= there {
            return;
        }
        self.opened = 0;
        self.by_field.retain(|_, by_value| {
            by_value.retain(|_, boxes| {
                boxes.retain(|inbox| inbox.strong_count() > 0);
                !boxes.is_empty()
            });
            !by_value.is_empty()
        });
    }

    /// Whether a change is looked into for the boxes it is for: names are at hand without.
    pub(crate) fn look_inside(&self) -> bool {
        self.by_field.keys().any(|field| field != "metadata.name")
    }

    /// Puts a change into the boxes it is for.
    pub(crate) fn put(&mut self, resource: &Resource, change: &Arc<Change>) {
        for (field, by_value) in &self.by_field {
            let before = change.before.as_ref().map(|object| object.field(resource, field));
            let now = change.now.as_ref().map(|object| object.field(resource, field));
            let values = before.into_iter().chain(now.filter(|now| Some(*now) != before));
            let boxes = values.filter_map(|value| by_value.get(value)).flatten();
            self.due.extend(boxes.filter_map(Weak::upgrade).filter(|inbox| inbox.put(change)));
        }
    }

    /// The boxes whose watchers are to be told now.
    pub(crate) fn take_due(&mut self) -> Vec<Arc<Inbox>> {
        std::mem::take(&mut self.due)
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<Arc<Inbox>> {
        let mut values: Vec<_> = self.by_field.values().flatten().collect();
        values.sort_unstable_by_key(|(value, _)| *value);
        values.into_iter().flat_map(|(_, boxes)| boxes).filter_map(Weak::upgrade).collect()
    }
}
