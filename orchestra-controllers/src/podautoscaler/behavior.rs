//! How fast and how far a target may be scaled: limits, rates, and steadiness.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::autoscaling::v2::{HPAScalingPolicy, HPAScalingRules, HorizontalPodAutoscalerBehavior};
use orchestra_core::quantity::Quantity;

use super::memory::Memory;

/// For how long the highest recommendation holds, where an autoscaler does not say.
const DOWNSCALE_WINDOW: SignedDuration = SignedDuration::from_mins(5);
/// Without a behaviour of its own, an autoscaler may double its target, or bring it to four.
const UPSCALE_FACTOR: i32 = 2;
const UPSCALE_LEAST: i32 = 4;
/// How far a metric may be from its target without anything being done.
const TOLERANCE: f64 = 0.1;

/// Why a condition is as it is: its reason and its message.
pub(super) type Why = (&'static str, &'static str);

const STEADY: Why = ("ReadyForNewScale", "recommended size matches current size");
const WITHIN: Why = ("DesiredWithinRange", "the desired count is within the acceptable range");
const TOO_FAST: Why =
    ("ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate");
const TOO_MANY: Why = ("TooManyReplicas", "the desired replica count is more than the maximum replica count");
const TOO_FEW: Why = ("TooFewReplicas", "the desired replica count is less than the minimum replica count");
const DOWN_TOO_FAST: Why =
    ("ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate");
const HELD_UP: Why = (
    "ScaleDownStabilized",
    "recent recommendations were higher than current one, applying the highest recent recommendation",
);
const HELD_DOWN: Why = (
    "ScaleUpStabilized",
    "recent recommendations were lower than current one, applying the lowest recent recommendation",
);

/// How many replicas there may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) current: i32,
    pub(super) least: i32,
    pub(super) most: i32,
}

/// What a proposal comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Settled {
    pub(super) replicas: i32,
    /// Of the condition `AbleToScale`, which is true.
    pub(super) able: Why,
    /// Of the condition `ScalingLimited`.
    pub(super) limited: (bool, Why),
}

/// How far a metric may be from its target.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tolerance {
    below: f64,
    above: f64,
}

impl Tolerance {
    pub(super) fn of(behavior: Option<&HorizontalPodAutoscalerBehavior>) -> Self {
        let of = |rules: Option<&HPAScalingRules>| {
            let wanted = rules.and_then(|rules| Quantity::try_from(rules.tolerance.as_ref()?).ok());
            wanted.map_or(TOLERANCE, |wanted| wanted.milli_value() as f64 / 1000.0)
        };
        Self {
            below: of(behavior.and_then(|behavior| behavior.scale_down.as_ref())),
            above: of(behavior.and_then(|behavior| behavior.scale_up.as_ref())),
        }
    }

    /// Whether nothing need be done about a metric that is this many times its target.
    pub(super) fn allows(self, ratio: f64) -> bool {
        (1.0 - self.below..=1.0 + self.above).contains(&ratio)
    }
}

/// What is to be done about a proposal; it is remembered.
pub(super) fn settle(
    behavior: Option<&HorizontalPodAutoscalerBehavior>,
    bounds: Bounds,
    proposed: i32,
    memory: &mut Memory,
    now: Timestamp,
) -> Settled {
    let (steady, able, (replicas, why)) = match behavior {
        None => {
            let steady = memory.recommended(DOWNSCALE_WINDOW, now).fold(proposed, i32::max);
            memory.recommend(proposed, DOWNSCALE_WINDOW, now);
            (steady, if steady == proposed { STEADY } else { HELD_UP }, limit(bounds, steady))
        }
        Some(behavior) => {
            let rules = Rules::of(behavior);
            let steady = rules.steady(bounds.current, proposed, memory, now);
            memory.recommend(proposed, rules.up.window.max(rules.down.window), now);
            let held = if proposed >= bounds.current { HELD_DOWN } else { HELD_UP };
            (steady, if steady == proposed { STEADY } else { held }, rules.limit(bounds, steady, memory, now))
        }
    };
    Settled { replicas, able, limited: (replicas != steady, why) }
}

/// Remembers that a target was rescaled, as far as a behaviour asks for it later.
pub(super) fn rescaled(
    behavior: Option<&HorizontalPodAutoscalerBehavior>,
    from: i32,
    to: i32,
    memory: &mut Memory,
    now: Timestamp,
) {
    if let Some(behavior) = behavior {
        let rules = Rules::of(behavior);
        let longest = |rules: &Direction| rules.policies.iter().map(|policy| policy.period_seconds).max();
        let longest = longest(&rules.up).max(longest(&rules.down)).unwrap_or_default();
        memory.rescaled(from, to, seconds(longest), now);
    }
}

/// The limits of an autoscaler without a behaviour of its own.
fn limit(bounds: Bounds, wanted: i32) -> (i32, Why) {
    let fastest = bounds.current.saturating_mul(UPSCALE_FACTOR).max(UPSCALE_LEAST);
    let (most, why) = if bounds.most > fastest { (fastest, TOO_FAST) } else { (bounds.most, TOO_MANY) };
    if wanted < bounds.least {
        (bounds.least, TOO_FEW)
    } else if wanted > most {
        (most, why)
    } else {
        (wanted, WITHIN)
    }
}

/// A behaviour with what it leaves out.
struct Rules {
    up: Direction,
    down: Direction,
}

struct Direction {
    window: SignedDuration,
    policies: Vec<HPAScalingPolicy>,
    choice: Choice,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Choice {
    Most,
    Least,
    None,
}

impl Rules {
    fn of(behavior: &HorizontalPodAutoscalerBehavior) -> Self {
        let policy = |type_: &str, value| HPAScalingPolicy { type_: type_.into(), value, period_seconds: 15 };
        let all = policy("Percent", 100);
        let up = vec![policy("Pods", 4), all.clone()];
        Self {
            up: Direction::of(behavior.scale_up.as_ref(), SignedDuration::ZERO, up),
            down: Direction::of(behavior.scale_down.as_ref(), DOWNSCALE_WINDOW, vec![all]),
        }
    }

    /// The replicas there are, unless every recommendation of the window is for more, or for fewer.
    fn steady(&self, current: i32, proposed: i32, memory: &Memory, now: Timestamp) -> i32 {
        let lowest = memory.recommended(self.up.window, now).fold(proposed, i32::min);
        let highest = memory.recommended(self.down.window, now).fold(proposed, i32::max);
        current.max(lowest).min(highest)
    }

    fn limit(&self, bounds: Bounds, wanted: i32, memory: &Memory, now: Timestamp) -> (i32, Why) {
        let Bounds { current, least, most } = bounds;
        if wanted > current {
            let fastest = self.up.furthest(current, Way::Up, memory, now).max(current);
            let (most, why) = if most > fastest { (fastest, TOO_FAST) } else { (most, TOO_MANY) };
            if wanted > most {
                return (most, why);
            }
        } else if wanted < current {
            let fastest = self.down.furthest(current, Way::Down, memory, now).min(current);
            let (least, why) = if least < fastest { (fastest, DOWN_TOO_FAST) } else { (least, TOO_FEW) };
            if wanted < least {
                return (least, why);
            }
        }
        (wanted, WITHIN)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Up,
    Down,
}

impl Direction {
    fn of(rules: Option<&HPAScalingRules>, window: SignedDuration, policies: Vec<HPAScalingPolicy>) -> Self {
        let given = rules.and_then(|rules| rules.policies.clone()).filter(|policies| !policies.is_empty());
        let choice = match rules.and_then(|rules| rules.select_policy.as_deref()) {
            Some("Disabled") => Choice::None,
            Some("Min") => Choice::Least,
            _ => Choice::Most,
        };
        Self {
            window: rules.and_then(|rules| rules.stabilization_window_seconds).map_or(window, seconds),
            policies: given.unwrap_or(policies),
            choice,
        }
    }

    /// How far the policies let the target go this way, what was done in each one's period taken into account.
    fn furthest(&self, current: i32, way: Way, memory: &Memory, now: Timestamp) -> i32 {
        if self.choice == Choice::None {
            return current;
        }
        let allowed = self.policies.iter().map(|policy| {
            let period = seconds(policy.period_seconds);
            let begun = current - memory.added(period, now) + memory.removed(period, now);
            let share = f64::from(policy.value) / 100.0;
            match (policy.type_.as_str(), way) {
                ("Pods", Way::Up) => begun.saturating_add(policy.value),
                ("Pods", Way::Down) => begun.saturating_sub(policy.value),
                (_, Way::Up) => super::proposal::ceiling(f64::from(begun) * (1.0 + share)),
                // Toward nothing, as upstream's conversion does.
                (_, Way::Down) => (f64::from(begun) * (1.0 - share)) as i32,
            }
        });
        let furthest =
            if (self.choice == Choice::Most) == (way == Way::Up) { allowed.max() } else { allowed.min() };
        furthest.unwrap_or(current)
    }
}

fn seconds(seconds: i32) -> SignedDuration {
    SignedDuration::from_secs(i64::from(seconds))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).unwrap()
    }

    fn behavior(value: serde_json::Value) -> HorizontalPodAutoscalerBehavior {
        serde_json::from_value(value).unwrap()
    }

    fn bounds(current: i32) -> Bounds {
        Bounds { current, least: 1, most: 100 }
    }

    #[test]
    fn without_a_behaviour_a_target_at_most_doubles_and_shrinks_after_five_quiet_minutes() {
        let mut memory = Memory::default();
        let up = settle(None, bounds(5), 50, &mut memory, at(0));
        assert_eq!((up.replicas, up.able, up.limited), (10, STEADY, (true, TOO_FAST)));
        assert_eq!(settle(None, bounds(1), 50, &mut Memory::default(), at(0)).replicas, 4);
        let down = settle(None, bounds(10), 2, &mut memory, at(299));
        assert_eq!((down.able, down.replicas), (HELD_UP, 20));
        let down = settle(None, bounds(10), 2, &mut memory, at(300));
        assert_eq!((down.able, down.replicas, down.limited), (STEADY, 2, (false, WITHIN)));
    }

    #[test]
    fn bounds_hold_whatever_is_proposed() {
        let tight = Bounds { current: 5, least: 4, most: 6 };
        let settled = |proposed| settle(None, tight, proposed, &mut Memory::default(), at(0));
        assert_eq!((settled(1).replicas, settled(1).limited), (4, (true, TOO_FEW)));
        assert_eq!((settled(9).replicas, settled(9).limited), (6, (true, TOO_MANY)));
    }

    #[test]
    fn policies_count_what_was_done_in_their_period() {
        let rules =
            behavior(json!({"scaleUp": {"policies": [{"type": "Pods", "value": 4, "periodSeconds": 60}]}}));
        let mut memory = Memory::default();
        let first = settle(Some(&rules), bounds(10), 50, &mut memory, at(0));
        assert_eq!((first.replicas, first.limited), (14, (true, TOO_FAST)));
        rescaled(Some(&rules), 10, 14, &mut memory, at(0));
        assert_eq!(settle(Some(&rules), bounds(14), 50, &mut memory, at(30)).replicas, 14);
        assert_eq!(settle(Some(&rules), bounds(14), 50, &mut memory, at(60)).replicas, 18);
    }

    #[test]
    fn the_policy_that_changes_most_decides_unless_the_least_is_asked_for_or_none() {
        let policies = json!([{"type": "Pods", "value": 2, "periodSeconds": 60},
            {"type": "Percent", "value": 50, "periodSeconds": 60}]);
        let down = |choice: &str| {
            let rules =
                behavior(json!({"scaleDown": {"stabilizationWindowSeconds": 0, "selectPolicy": choice,
                "policies": policies}}));
            settle(Some(&rules), bounds(11), 1, &mut Memory::default(), at(0)).replicas
        };
        assert_eq!((down("Max"), down("Min"), down("Disabled")), (5, 9, 11));
    }

    #[test]
    fn a_window_for_growing_waits_until_all_recommendations_are_higher() {
        let rules = behavior(json!({"scaleUp": {"stabilizationWindowSeconds": 60}}));
        let mut memory = Memory::default();
        memory.begin(3, at(0));
        let early = settle(Some(&rules), bounds(3), 6, &mut memory, at(15));
        assert_eq!((early.replicas, early.able), (3, HELD_DOWN));
        assert_eq!(settle(Some(&rules), bounds(3), 5, &mut memory, at(60)).replicas, 5);
    }
}
