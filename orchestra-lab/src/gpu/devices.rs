//! What is left of each device of one node.

use super::Ask;

/// A device that nobody has a part of.
pub const WHOLE: u16 = 1000;

/// Devices of a node beyond this many are not used.
pub const MOST_DEVICES: usize = 16;

/// Some devices of a node, by position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Picked(u16);

impl Picked {
    /// One device; nothing for a position that no node has.
    #[must_use]
    pub fn one(position: usize) -> Self {
        let bit = u32::try_from(position).ok().and_then(|position| 1_u16.checked_shl(position));
        Self(bit.unwrap_or(0))
    }

    /// The positions, lowest first.
    pub fn positions(self) -> impl Iterator<Item = usize> {
        (0..MOST_DEVICES).filter(move |position| self.0 >> position & 1 == 1)
    }
}

/// What is left of each device, in thousandths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Devices {
    left: [u16; MOST_DEVICES],
    count: u8,
}

impl Devices {
    /// So many devices, all free.
    #[must_use]
    pub fn free(count: usize) -> Self {
        let mut left = [0; MOST_DEVICES];
        let count = count.min(MOST_DEVICES);
        left.iter_mut().take(count).for_each(|left| *left = WHOLE);
        Self { left, count: u8::try_from(count).unwrap_or(0) }
    }

    /// What is left of each.
    #[must_use]
    pub fn left(&self) -> &[u16] {
        self.left.get(..usize::from(self.count)).unwrap_or_default()
    }

    /// What is left in all.
    #[must_use]
    pub fn total_left(&self) -> i64 {
        self.left.iter().map(|left| i64::from(*left)).sum()
    }

    /// How many nobody has a part of.
    #[must_use]
    pub fn wholly_free(&self) -> usize {
        self.left.iter().filter(|left| **left == WHOLE).count()
    }

    /// How many have at least so much left.
    #[must_use]
    pub fn with_at_least(&self, milli: u16) -> usize {
        self.left().iter().filter(|left| **left >= milli).count()
    }

    /// Whether this can be given.
    #[must_use]
    pub fn can_give(&self, ask: Ask) -> bool {
        match ask {
            Ask::Nothing => true,
            Ask::Share(share) => self.left().iter().any(|left| *left >= share),
            Ask::Whole(count) => self.wholly_free() >= usize::from(count),
            Ask::Odd => false,
        }
    }

    /// The device with the least left that has enough, the lowest position among equals.
    #[must_use]
    pub fn tightest(&self, share: u16) -> Option<usize> {
        let enough = self.left().iter().enumerate().filter(|(_, left)| **left >= share);
        enough.min_by_key(|(_, left)| **left).map(|(position, _)| position)
    }

    /// The lowest positions of so many free devices.
    #[must_use]
    pub fn lowest_free(&self, count: u8) -> Option<Picked> {
        let free = self.left().iter().enumerate().filter(|(_, left)| **left == WHOLE);
        let picked: Vec<_> = free.map(|(position, _)| position).take(count.into()).collect();
        let mask = picked.iter().fold(0, |mask, position| mask | Picked::one(*position).0);
        (picked.len() == usize::from(count)).then_some(Picked(mask))
    }

    /// The same after `ask` was given from the devices picked; never below nothing.
    #[must_use]
    pub fn after(mut self, ask: Ask, picked: Picked) -> Self {
        let each = match ask {
            Ask::Nothing | Ask::Odd => 0,
            Ask::Share(share) => share,
            Ask::Whole(_) => WHOLE,
        };
        for position in picked.positions() {
            if let Some(left) = self.left.get_mut(position) {
                *left = left.saturating_sub(each);
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_go_to_the_tightest_device_and_whole_ones_to_the_lowest_free() {
        let devices = Devices::free(4).after(Ask::Share(300), Picked::one(1));
        let devices = devices.after(Ask::Share(600), Picked::one(2));
        assert_eq!(devices.left(), [1000, 700, 400, 1000]);
        assert_eq!(
            [devices.tightest(400), devices.tightest(500), devices.tightest(800)],
            [Some(2), Some(1), Some(0)]
        );
        let two: Vec<_> = devices.lowest_free(2).unwrap().positions().collect();
        assert_eq!(two, [0, 3]);
        assert!(devices.lowest_free(3).is_none());
        assert!(!devices.can_give(Ask::Whole(3)) && !devices.can_give(Ask::Odd));
        assert_eq!((devices.total_left(), devices.wholly_free()), (3100, 2));
    }

    #[test]
    fn more_devices_than_are_kept_account_of_are_not_used() {
        assert_eq!(Devices::free(40).left().len(), MOST_DEVICES);
    }
}
