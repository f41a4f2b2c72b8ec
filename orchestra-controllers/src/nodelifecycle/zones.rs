//! How many nodes of each zone are down, and how fast pods may be driven from them.
//!
//! One dead node is the node's trouble; half a zone of dead nodes is more likely the network's, or this controller's
//! own. So nodes of a healthy zone are given up one every ten seconds, those of a badly disrupted one ten times more
//! slowly (not at all if it is small), and none while no node of the whole cluster is heard. These are upstream's
//! defaults.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use orchestra_core::meta::labels::{REGION, ZONE};

use super::health::is_ready;

const NORMAL: Duration = Duration::from_secs(10);
const SLOW: Duration = Duration::from_secs(100);
/// A zone of at most this many nodes is small.
const SMALL: usize = 50;
/// From this share of nodes down, and more than two, a zone is disrupted.
const DISRUPTED_PERCENT: usize = 55;

/// Region and zone of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Zone(String, String);

impl Zone {
    /// Where a node is.
    pub fn of(node: &Node) -> Self {
        let label = |key: &str| node.metadata.labels.as_ref().and_then(|labels| labels.get(key)).cloned();
        Self(label(REGION).unwrap_or_default(), label(ZONE).unwrap_or_default())
    }
}

/// Upstream's key of a zone, by which metrics tell zones apart; nodes that say nothing are in a zone without a name.
impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.as_str(), self.1.as_str()) {
            ("", "") => Ok(()),
            (region, zone) => write!(f, "{region}:\0:{zone}"),
        }
    }
}

/// When the next node of a zone may be given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Now.
    Now,
    /// After this long.
    After(Duration),
    /// Not before other nodes come back.
    Never,
}

#[derive(Debug, Default)]
struct Tally {
    up: usize,
    down: BTreeSet<String>,
    next: Option<Timestamp>,
}

/// The nodes of a cluster by zone, up and down.
#[derive(Debug, Default)]
pub struct Zones(BTreeMap<Zone, Tally>);

impl Zones {
    /// A node has come, changed or gone. Tells whether it counts differently now.
    pub fn note(&mut self, old: Option<&Node>, new: Option<&Node>) -> bool {
        let place = |node: &Node| (Zone::of(node), is_ready(node));
        if old.map(place) == new.map(place) {
            return false;
        }
        if let Some(old) = old {
            let tally = self.0.entry(Zone::of(old)).or_default();
            if is_ready(old) {
                tally.up = tally.up.saturating_sub(1);
            } else {
                tally.down.remove(old.metadata.name.as_deref().unwrap_or_default());
            }
        }
        if let Some(new) = new {
            let tally = self.0.entry(Zone::of(new)).or_default();
            if is_ready(new) {
                tally.up += 1;
            } else {
                tally.down.insert(new.metadata.name.clone().unwrap_or_default());
            }
        }
        self.0.retain(|_, tally| tally.up > 0 || !tally.down.is_empty());
        true
    }

    /// The names of all nodes that are down.
    pub fn down(&self) -> impl Iterator<Item = &str> {
        self.0.values().flat_map(|tally| tally.down.iter().map(String::as_str))
    }

    /// Every zone with how many nodes it has, and how many of them are down.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (String, usize, usize)> {
        self.0.iter().map(|(zone, tally)| (zone.to_string(), tally.up + tally.down.len(), tally.down.len()))
    }

    /// Whether no node is up: then the trouble is likely on this side, and no pod is driven out.
    pub fn are_all_down(&self) -> bool {
        !self.0.is_empty() && self.0.values().all(|tally| tally.up == 0)
    }

    /// Asks to give up one node of a zone. [`Pace::Now`] counts as done.
    pub fn give_up(&mut self, zone: &Zone, now: Timestamp) -> Pace {
        let Some(tally) = self.0.get_mut(zone) else { return Pace::Now };
        let Some(pause) = tally.pause() else { return Pace::Never };
        let wait = tally.next.and_then(|next| Duration::try_from(next.duration_since(now)).ok());
        match wait.filter(|wait| !wait.is_zero()) {
            Some(wait) => Pace::After(wait),
            None => {
                tally.next = now.checked_add(pause).ok();
                Pace::Now
            }
        }
    }
}

impl Tally {
    /// The time between two nodes given up; `None` if none is.
    fn pause(&self) -> Option<Duration> {
        let (down, all) = (self.down.len(), self.down.len() + self.up);
        if self.up == 0 || down <= 2 || down * 100 < all * DISRUPTED_PERCENT {
            return Some(NORMAL);
        }
        (all > SMALL).then_some(SLOW)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(number: usize, zone: &str, ready: &str) -> Node {
        serde_json::from_value(json!({
            "metadata": {"name": format!("{zone}{number}"), "labels": {ZONE: zone}},
            "status": {"conditions": [{"type": "Ready", "status": ready}]},
        }))
        .unwrap()
    }

    fn zones(up: usize, down: usize) -> (Zones, Zone) {
        let mut zones = Zones::default();
        (0..up).for_each(|n| assert!(zones.note(None, Some(&node(n, "a", "True")))));
        (up..up + down).for_each(|n| assert!(zones.note(None, Some(&node(n, "a", "Unknown")))));
        (zones, Zone::of(&node(0, "a", "True")))
    }

    fn paces(up: usize, down: usize) -> [Pace; 2] {
        let (mut zones, zone) = zones(up, down);
        [0, 1].map(|second| zones.give_up(&zone, Timestamp::from_second(second).unwrap()))
    }

    #[test]
    fn a_healthy_zone_gives_up_a_node_every_ten_seconds_and_a_disrupted_one_hardly_any() {
        assert_eq!(paces(9, 1), [Pace::Now, Pace::After(Duration::from_secs(9))]);
        assert_eq!(paces(1, 2), [Pace::Now, Pace::After(Duration::from_secs(9))]);
        assert_eq!(paces(2, 3), [Pace::Never; 2]);
        assert_eq!(paces(40, 60), [Pace::Now, Pace::After(Duration::from_secs(99))]);
        assert_eq!(paces(0, 3), [Pace::Now, Pace::After(Duration::from_secs(9))]);
    }

    #[test]
    fn a_cluster_is_down_when_every_zone_is() {
        let (mut zones, _) = zones(0, 2);
        assert!(zones.are_all_down());
        assert!(zones.note(None, Some(&node(0, "b", "True"))));
        assert!(!zones.are_all_down());
        assert!(zones.note(Some(&node(0, "b", "True")), Some(&node(0, "b", "False"))));
        assert!(zones.are_all_down());
        assert!(!zones.note(Some(&node(0, "b", "False")), Some(&node(0, "b", "Unknown"))));
        assert_eq!(zones.down().collect::<Vec<_>>(), ["a0", "a1", "b0"]);
        assert!(zones.note(Some(&node(0, "b", "Unknown")), None));
        assert_eq!(zones.down().count(), 2);
    }
}
