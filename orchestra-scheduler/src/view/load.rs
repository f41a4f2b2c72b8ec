//! The numbers of a node that plugins about resources look at, side by side: no map and no list, so that those of many
//! nodes can be gone through at the pace of memory.
//!
//! A [`Load`] has them as they are. A [`Brief`] has those of almost all nodes, as floating numbers in one cache line: a
//! processor divides these two at a time, and several times as fast as whole numbers.

use super::NodeView;
use crate::unit::{NonZero, Points, ResourceName};

/// CPU, memory and pods of a node: what there is, and how much of it is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Load {
    pub(crate) allocatable: NonZero,
    /// What its pods asked for.
    pub(crate) requested: NonZero,
    /// What they count for in scoring.
    pub(crate) occupied: NonZero,
    pub(crate) allocatable_pods: i64,
    pub(crate) pods: i64,
}

/// From 0 to below this, and a hundred times that, every whole number is a floating one, too: sums, differences and
/// products with points are exact, and so is the whole part of a quotient of two of them.
const EXACT: std::ops::Range<i64> = 0..1 << 46;

/// CPU and memory of a node that offers both, in numbers that are exact.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(align(64))]
pub(crate) struct Brief {
    pub(crate) offered: [f64; 2],
    pub(crate) requested: [f64; 2],
    pub(crate) occupied: [f64; 2],
    /// How even the shares are that its pods asked for, from 0 to 100.
    pub(crate) evenness: i32,
    /// Whether one pod more is allowed.
    pub(crate) has_place: bool,
    /// Whether all this holds; nothing is said of a node with nothing to offer or with enormous numbers.
    pub(crate) holds: bool,
}

impl Brief {
    /// The same numbers, where they are exact.
    pub(crate) fn of(load: &Load) -> Self {
        let (Some(offered), Some(requested), Some(occupied)) =
            (exact(load.allocatable), exact(load.requested), exact(load.occupied))
        else {
            return Self::default();
        };
        if offered[0] == 0.0 || offered[1] == 0.0 {
            return Self::default();
        }
        let shares = [(requested[0] / offered[0]).min(1.0), (requested[1] / offered[1]).min(1.0)];
        Self {
            offered,
            requested,
            occupied,
            evenness: whole(evenness(shares)),
            has_place: load.pods.saturating_add(1) <= load.allocatable_pods,
            holds: true,
        }
    }
}

/// CPU and memory as floating numbers; `None` where these are not exact.
pub(crate) fn exact(of: NonZero) -> Option<[f64; 2]> {
    let is_exact = EXACT.contains(&of.cpu.0) && EXACT.contains(&of.memory.0);
    is_exact.then_some([of.cpu.0 as f64, of.memory.0 as f64])
}

/// How even two shares are, from 50 to 100, by the shortcut upstream takes for two.
#[inline]
pub(crate) fn evenness([left, right]: [f64; 2]) -> f64 {
    (1.0 - ((left - right) / 2.0).abs()) * Points::MAX.0 as f64
}

/// The smaller of two numbers, in one instruction: neither is none (NaN).
#[inline]
pub(crate) fn least(left: f64, right: f64) -> f64 {
    if left < right { left } else { right }
}

/// Among numbers of this size the next one is 1 away, and the lowest bits count them.
const STEP_OF_ONE: f64 = (1_u64 << 52) as f64;

/// The whole part of a number from 0 to below 2³¹. There is no branch in it, for nobody could predict which way it goes, and
/// no conversion, which would look at what is out of range.
#[inline]
pub(crate) fn whole(value: f64) -> i32 {
    let moved = value + STEP_OF_ONE;
    // That is the nearest one, which may be the next.
    moved.to_bits() as i32 - i32::from(moved - STEP_OF_ONE > value)
}

/// The share that so much is of what there is, at most all of it.
#[inline]
pub(crate) fn share(used: i64, offered: i64) -> f64 {
    (used as f64 / offered as f64).min(1.0)
}

/// CPU and memory of a sum, by the name of the resource; `None` for any other resource.
#[inline]
pub(crate) fn amount(of: NonZero, name: &ResourceName) -> Option<i64> {
    match name {
        ResourceName::Cpu => Some(of.cpu.0),
        ResourceName::Memory => Some(of.memory.0),
        ResourceName::EphemeralStorage | ResourceName::Scalar(_) => None,
    }
}

impl NodeView {
    /// The numbers of this node.
    pub(crate) fn load(&self) -> Load {
        let (offered, requested) = (&self.facts().allocatable, self.requested());
        Load {
            allocatable: NonZero { cpu: offered.cpu, memory: offered.memory },
            requested: NonZero { cpu: requested.cpu, memory: requested.memory },
            occupied: self.occupied(),
            allocatable_pods: self.facts().allocatable_pods,
            pods: i64::try_from(self.pods().len()).unwrap_or(i64::MAX),
        }
    }
}
