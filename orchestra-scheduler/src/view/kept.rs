//! Objects of which a decision needs a few facts, kept by key: one trait, so that a new kind is one `impl`.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;

use super::NodeName;
use super::catalog::Catalog;
use crate::event::ClusterEvent;

/// A reduced object that a [`ClusterView`](super::ClusterView) keeps by key.
///
/// The kinds are those of this crate: outside of it there is no shelf to name.
pub trait Kept: Debug + PartialEq + Sized + Send + Sync + 'static {
    /// What the object is found by.
    type Key: Clone + Debug + Eq + Ord + Hash + Send + Sync + 'static;

    /// What this object is found by.
    fn key(&self) -> Self::Key;

    /// Where objects of this kind are kept.
    fn shelf(catalog: &Catalog) -> &Shelf<Self::Key, Self>;

    /// Where objects of this kind are kept, to change.
    fn shelf_mut(catalog: &mut Catalog) -> &mut Shelf<Self::Key, Self>;

    /// The node that the object speaks of, if it does of one: in what state that is follows from the object, too.
    fn node(&self) -> Option<&NodeName>;

    /// The event that it came or changed, if pods may be waiting for that.
    fn applied(before: Option<Arc<Self>>, now: Arc<Self>) -> Option<ClusterEvent>;

    /// The event that it is gone, if pods may be waiting for that.
    fn deleted(gone: Arc<Self>) -> Option<ClusterEvent>;
}

/// The objects of one kind, in the order of their keys. A clone shares them until one side changes.
#[derive(Clone, Debug)]
pub struct Shelf<K, V>(Arc<BTreeMap<K, Arc<V>>>);

impl<K, V> Default for Shelf<K, V> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K: Ord + Clone, V> Shelf<K, V> {
    /// The object at `key`.
    pub(super) fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&Arc<V>>
    where
        K: Borrow<Q>,
    {
        self.0.get(key)
    }

    /// All objects.
    pub(super) fn values(&self) -> impl Iterator<Item = &Arc<V>> + use<'_, K, V> {
        self.0.values()
    }

    /// The objects from this key on.
    pub(super) fn starting_at(&self, key: K) -> impl Iterator<Item = &Arc<V>> {
        self.0.range(key..).map(|(_, object)| object)
    }

    pub(super) fn insert(&mut self, key: K, value: Arc<V>) -> Option<Arc<V>> {
        Arc::make_mut(&mut self.0).insert(key, value)
    }

    pub(super) fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<Arc<V>>
    where
        K: Borrow<Q>,
    {
        if self.0.contains_key(key) { Arc::make_mut(&mut self.0).remove(key) } else { None }
    }
}
