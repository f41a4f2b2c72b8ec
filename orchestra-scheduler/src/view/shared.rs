//! A list and a map whose clones share everything until one side changes something, and then only copy what is near it.
//!
//! Both are cut into about as many pieces as a piece has entries, so a clone costs one counter, and the first change of a clone
//! costs about the square root of the size. Nothing here has an order that could leak into a decision.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;

/// Entries in a piece of a list: about the square root of a large cluster.
const PIECE: usize = 128;

/// A list that shares with its clones.
#[derive(Debug)]
pub(super) struct SharedList<T> {
    pieces: Arc<Vec<Arc<Vec<T>>>>,
    len: usize,
}

impl<T> Clone for SharedList<T> {
    fn clone(&self) -> Self {
        Self { pieces: self.pieces.clone(), len: self.len }
    }
}

impl<T> Default for SharedList<T> {
    fn default() -> Self {
        Self { pieces: Arc::default(), len: 0 }
    }
}

impl<T> SharedList<T> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self, index: usize) -> Option<&T> {
        self.pieces.get(index / PIECE)?.get(index % PIECE)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.pieces.iter().flat_map(|piece| piece.iter())
    }
}

impl<T: Clone> SharedList<T> {
    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        let piece = Arc::make_mut(&mut self.pieces).get_mut(index / PIECE)?;
        Arc::make_mut(piece).get_mut(index % PIECE)
    }

    pub(super) fn push(&mut self, value: T) {
        let pieces = Arc::make_mut(&mut self.pieces);
        match pieces.last_mut().filter(|piece| piece.len() < PIECE) {
            Some(piece) => Arc::make_mut(piece).push(value),
            None => pieces.push(Arc::new(vec![value])),
        }
        self.len += 1;
    }
}

/// A map that shares with its clones.
#[derive(Debug)]
pub(super) struct SharedMap<K, V> {
    pieces: Arc<Vec<Arc<HashMap<K, V>>>>,
    hasher: RandomState,
    len: usize,
}

impl<K, V> Clone for SharedMap<K, V> {
    fn clone(&self) -> Self {
        Self { pieces: self.pieces.clone(), hasher: self.hasher.clone(), len: self.len }
    }
}

impl<K, V> Default for SharedMap<K, V> {
    fn default() -> Self {
        Self { pieces: Arc::new(vec![Arc::default()]), hasher: RandomState::new(), len: 0 }
    }
}

impl<K: Eq + Hash, V> SharedMap<K, V> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.pieces.get(self.place(key))?.get(key)
    }

    /// The piece where a key belongs. The number of pieces is a power of two.
    fn place<Q: Hash + ?Sized>(&self, key: &Q) -> usize {
        self.hasher.hash_one(key) as usize & (self.pieces.len() - 1)
    }
}

impl<K: Clone + Eq + Hash, V: Clone> SharedMap<K, V> {
    pub(super) fn insert(&mut self, key: K, value: V) {
        if self.len > self.pieces.len() * self.pieces.len() {
            self.split();
        }
        let place = self.place(&key);
        if let Some(piece) = Arc::make_mut(&mut self.pieces).get_mut(place)
            && Arc::make_mut(piece).insert(key, value).is_none()
        {
            self.len += 1;
        }
    }

    pub(super) fn remove<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        // Looked for first, so that what is not there is not a reason to copy.
        self.get(key)?;
        let place = self.place(key);
        let piece = Arc::make_mut(&mut self.pieces).get_mut(place)?;
        let removed = Arc::make_mut(piece).remove(key)?;
        self.len -= 1;
        Some(removed)
    }

    /// Twice as many pieces.
    fn split(&mut self) {
        let count = self.pieces.len() * 2;
        let mut pieces: Vec<HashMap<K, V>> = (0..count).map(|_| HashMap::new()).collect();
        for piece in std::mem::take(Arc::make_mut(&mut self.pieces)) {
            for (key, value) in Arc::unwrap_or_clone(piece) {
                let place = self.hasher.hash_one(&key) as usize & (count - 1);
                pieces[place].insert(key, value);
            }
        }
        self.pieces = Arc::new(pieces.into_iter().map(Arc::new).collect());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_keeps_what_it_was_while_the_other_side_changes() {
        let mut list = SharedList::default();
        let mut map = SharedMap::default();
        for number in 0..1000_usize {
            list.push(number);
            map.insert(number, number);
        }
        let (before_list, before_map) = (list.clone(), map.clone());
        for number in 0..1000 {
            *list.get_mut(number).unwrap() += 1;
            if number % 2 == 0 {
                assert_eq!(map.remove(&number), Some(number));
            } else {
                map.insert(number, 7);
            }
        }
        list.push(0);
        assert!((0..1000).all(|number| before_list.get(number) == Some(&number)));
        assert!((0..1000).all(|number| list.get(number) == Some(&(number + 1))));
        assert!((0..1000).all(|number| before_map.get(&number) == Some(&number)));
        assert!((0..1000).all(|number| map.get(&number) == (number % 2 == 1).then_some(&7)));
        assert_eq!((before_list.len(), list.len(), before_map.len(), map.len()), (1000, 1001, 1000, 500));
        assert_eq!(map.remove(&0), None);
    }

    #[test]
    fn a_change_of_a_clone_copies_one_piece() {
        let mut list = SharedList::default();
        let mut map = SharedMap::default();
        for number in 0..10_000_usize {
            list.push(number);
            map.insert(number, number);
        }
        let (mut other_list, mut other_map) = (list.clone(), map.clone());
        *other_list.get_mut(5_000).unwrap() = 0;
        other_map.insert(5_000, 0);
        let copied =
            list.pieces.iter().zip(&*other_list.pieces).filter(|(left, right)| !Arc::ptr_eq(left, right));
        assert_eq!(copied.count(), 1);
        let copied =
            map.pieces.iter().zip(&*other_map.pieces).filter(|(left, right)| !Arc::ptr_eq(left, right));
        assert_eq!(copied.count(), 1);
        let largest = map.pieces.iter().map(|piece| piece.len()).max().unwrap();
        assert!(map.pieces.len() >= 64 && largest < 400, "{} pieces, {largest} in one", map.pieces.len());
    }
}
