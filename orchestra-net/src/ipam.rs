//! Which address of a range is given out next.

use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

/// The addresses of one range and who holds them.
///
/// Addresses are given out in rising order and start again at the bottom, so that an address that was just returned stays
/// unused as long as possible: a client that still holds it does not reach another pod by accident. A holder has one address.
#[derive(Clone, Debug)]
pub struct Ipam {
    range: Ipv4Net,
    /// The first address given out; those below are kept for the cluster itself.
    first: u32,
    next: u32,
    taken: HashSet<u32>,
    held: HashMap<String, u32>,
}

impl Ipam {
    /// All of `range` but its first `reserved` addresses and its last one.
    pub fn new(range: Ipv4Net, reserved: u32) -> Self {
        let first = u32::from(range.network()).saturating_add(reserved);
        Self { range, first, next: first, taken: HashSet::new(), held: HashMap::new() }
    }

    /// The range addresses come from.
    pub fn range(&self) -> Ipv4Net {
        self.range
    }

    /// The address `holder` has, if any.
    pub fn held_by(&self, holder: &str) -> Option<Ipv4Addr> {
        self.held.get(holder).map(|address| Ipv4Addr::from(*address))
    }

    /// Gives `holder` the next free address instead of what it has; `None` when all are taken.
    pub fn allocate(&mut self, holder: &str) -> Option<Ipv4Addr> {
        let last = u32::from(self.range.broadcast()).saturating_sub(1);
        if last < self.first {
            return None;
        }
        let count = last - self.first + 1;
        let offset = self.next.saturating_sub(self.first);
        let address = (0..count)
            .map(|step| self.first + (offset + step) % count)
            .find(|address| !self.taken.contains(address))?;
        self.give(address, holder);
        self.next = address + 1;
        Some(Ipv4Addr::from(address))
    }

    /// Gives `holder` exactly `address`, instead of what it has. False when another holds it or it is not one to give out.
    pub fn claim(&mut self, address: Ipv4Addr, holder: &str) -> bool {
        let number = u32::from(address);
        let ours = self.range.contains(&address) && number >= self.first && address != self.range.broadcast();
        let free = !self.taken.contains(&number) || self.held.get(holder) == Some(&number);
        if !ours || !free {
            return false;
        }
        self.give(number, holder);
        self.next = self.next.max(number + 1);
        true
    }

    /// Takes back whatever `holder` has.
    pub fn release(&mut self, holder: &str) {
        if let Some(address) = self.held.remove(holder) {
            self.taken.remove(&address);
        }
    }

    fn give(&mut self, address: u32, holder: &str) {
        self.release(holder);
        self.taken.insert(address);
        self.held.insert(holder.to_owned(), address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> Ipam {
        Ipam::new("10.0.0.0/29".parse().unwrap(), 2)
    }

    #[test]
    fn addresses_are_unique_until_the_range_is_used_up() {
        let mut ipam = small();
        let given: Vec<_> = (0..6).map(|n| ipam.allocate(&n.to_string())).collect();
        let shown: Vec<_> = given.iter().flatten().map(ToString::to_string).collect();
        assert_eq!(shown, ["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"]);
        assert_eq!(given[5], None);
    }

    #[test]
    fn a_returned_address_is_used_again_last() {
        let mut ipam = small();
        let first = ipam.allocate("a").unwrap();
        ipam.release("a");
        for holder in ["b", "c", "d", "e"] {
            assert_ne!(ipam.allocate(holder).unwrap(), first);
        }
        assert_eq!(ipam.allocate("f"), Some(first));
    }

    #[test]
    fn a_claim_needs_a_free_address_inside_the_range() {
        let mut ipam = small();
        assert!(ipam.claim("10.0.0.4".parse().unwrap(), "a"));
        assert!(ipam.claim("10.0.0.4".parse().unwrap(), "a"), "again by the same holder");
        assert!(!ipam.claim("10.0.0.4".parse().unwrap(), "b"));
        for outside in ["10.0.0.1", "10.0.0.7", "10.0.1.4"] {
            assert!(!ipam.claim(outside.parse().unwrap(), "b"), "{outside}");
        }
        assert_eq!(ipam.held_by("a"), Some("10.0.0.4".parse().unwrap()));
    }

    #[test]
    fn what_a_holder_had_before_is_free_again() {
        let mut ipam = small();
        ipam.allocate("a").unwrap();
        assert!(ipam.claim("10.0.0.5".parse().unwrap(), "a"));
        assert_eq!(ipam.held_by("a"), Some("10.0.0.5".parse().unwrap()));
        assert!(ipam.claim("10.0.0.2".parse().unwrap(), "b"), "given up by a");
        ipam.release("a");
        assert_eq!(ipam.held_by("a"), None);
        assert!(ipam.claim("10.0.0.5".parse().unwrap(), "b"));
    }
}
