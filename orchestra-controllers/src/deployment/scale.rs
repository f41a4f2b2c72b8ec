//! How many replicas each ReplicaSet of a Deployment shall have.

use super::facts::Facts;
use super::set::Set;

fn total(sets: &[Set]) -> i32 {
    sets.iter().map(|set| set.replicas).sum()
}

/// One step of a rolling update: the new set up as far as the surge allows, old sets down as far as availability does.
pub(super) fn roll(facts: &Facts<'_>, new: &mut Set, old: &mut [Set]) {
    grow_new(facts, new, old);
    shrink_old(facts, new, old);
}

/// The size the new set may have now.
pub(super) fn grow_new(facts: &Facts<'_>, new: &mut Set, old: &[Set]) {
    let wanted = facts.replicas();
    if new.replicas == wanted && new.exists {
        return;
    }
    if new.replicas > wanted || facts.recreates() {
        new.scale(facts, wanted);
        return;
    }
    let room = (wanted.saturating_add(facts.max_surge())) - (total(old) + new.replicas);
    let step = room.min(wanted - new.replicas).max(0);
    if step > 0 {
        let size = new.replicas + step;
        new.scale(facts, size);
    }
}

fn shrink_old(facts: &Facts<'_>, new: &Set, old: &mut [Set]) {
    let before = total(old);
    if before == 0 {
        return;
    }
    let needed = facts.replicas() - facts.max_unavailable();
    let new_unavailable = new.replicas - new.available();
    let spare = before + new.replicas - needed - new_unavailable;
    if spare <= 0 {
        return;
    }
    drop_unhealthy(facts, old, spare);
    // A set that was just shrunk still counts pods that are on their way out. Whoever counted them too would go below what
    // may be unavailable; upstream does, for a moment.
    let lasting = |set: &Set| set.available().min(set.replicas);
    let available: i32 = lasting(new) + old.iter().map(lasting).sum::<i32>();
    let mut surplus = available - needed;
    for set in old.iter_mut().filter(|set| set.replicas > 0) {
        if surplus <= 0 {
            return;
        }
        let step = set.replicas.min(surplus);
        surplus -= step;
        let size = set.replicas - step;
        set.scale(facts, size);
    }
}

/// Pods of old sets that are not available help nobody and go first.
fn drop_unhealthy(facts: &Facts<'_>, old: &mut [Set], mut spare: i32) {
    for set in old.iter_mut().filter(|set| set.replicas > 0) {
        let step = spare.min(set.replicas - set.available());
        if step > 0 {
            spare -= step;
            let size = set.replicas - step;
            set.scale(facts, size);
        }
    }
}

/// The first half of a Recreate: every old set to zero. Whether there was anything to do.
pub(super) fn empty_old(facts: &Facts<'_>, old: &mut [Set]) -> bool {
    let mut any = false;
    for set in old.iter_mut().filter(|set| set.replicas > 0) {
        set.scale(facts, 0);
        any = true;
    }
    any
}

/// Whether somebody changed the Deployment's size since its sets were last scaled.
pub(super) fn is_resized<'a>(facts: &Facts<'_>, mut sets: impl Iterator<Item = &'a Set>) -> bool {
    sets.any(|set| set.replicas > 0 && set.desired().is_some_and(|desired| desired != facts.replicas()))
}

/// Brings the sets to a changed size of the Deployment without moving the rollout on: in the middle of one, each set
/// grows or shrinks in proportion.
pub(super) fn resize(facts: &Facts<'_>, new: Option<&mut Set>, old: &mut [Set]) {
    let wanted = facts.replicas();
    let saturated = new.as_ref().is_some_and(|new| {
        new.replicas == wanted && new.desired() == Some(wanted) && new.available() == wanted
    });
    let has_new = new.is_some();
    let mut sets: Vec<&mut Set> = new.into_iter().chain(old.iter_mut()).collect();
    let active = sets.iter().filter(|set| set.replicas > 0).count();
    if active <= 1 {
        let only = match active {
            1 => sets.iter().position(|set| set.replicas > 0),
            _ if has_new => Some(0),
            _ => (0..sets.len()).max_by_key(|index| sets[*index].age()),
        };
        if let Some(set) = only.and_then(|index| sets.get_mut(index)) {
            set.scale(facts, wanted);
        }
        return;
    }
    if saturated {
        for set in sets.iter_mut().skip(1).filter(|set| set.replicas > 0) {
            set.scale(facts, 0);
        }
        return;
    }
    sets.retain(|set| set.replicas > 0);
    if facts.recreates() {
        // The rollout itself will empty the old sets; they only need to know that the size was noticed.
        sets.into_iter().for_each(|set| set.note_whole(facts));
    } else {
        proportionally(facts, sets);
    }
}

fn proportionally(facts: &Facts<'_>, mut sets: Vec<&mut Set>) {
    let allowed = if facts.replicas() > 0 { facts.replicas().saturating_add(facts.max_surge()) } else { 0 };
    let to_add = allowed - sets.iter().map(|set| set.replicas).sum::<i32>();
    // The largest first; of equals the newer when growing, the older when shrinking.
    sets.sort_by(|a, b| {
        let by_age = if to_add > 0 { b.age().cmp(&a.age()) } else { a.age().cmp(&b.age()) };
        b.replicas.cmp(&a.replicas).then(by_age)
    });
    let mut added = 0;
    let mut sizes: Vec<i32> = Vec::with_capacity(sets.len());
    for set in &sets {
        let share = if to_add == 0 { 0 } else { share(facts, set, to_add, added) };
        added += share;
        sizes.push(set.replicas + share);
    }
    if let (true, Some(first)) = (to_add != 0, sizes.first_mut()) {
        *first = (*first + to_add - added).max(0);
    }
    for (set, size) in sets.iter_mut().zip(sizes) {
        set.scale(facts, size);
    }
}

/// The part of `to_add` that a set's size entitles it to.
fn share(facts: &Facts<'_>, set: &Set, to_add: i32, added: i32) -> i32 {
    if set.replicas == 0 || to_add == added {
        return 0;
    }
    let left = to_add - added;
    let part = fraction(facts, set);
    if to_add > 0 { part.min(left) } else { part.max(left) }
}

fn fraction(facts: &Facts<'_>, set: &Set) -> i32 {
    if facts.replicas() == 0 {
        return -set.replicas;
    }
    let seen = facts.deployment.status.as_ref().and_then(|status| status.replicas).unwrap_or(0);
    let before = i64::from(set.max().filter(|max| *max > 0).unwrap_or(seen).max(1));
    let whole = i64::from(facts.replicas().saturating_add(facts.max_surge()));
    // Rounded to the nearest, halves up.
    let size = (2 * i64::from(set.replicas) * whole + before) / (2 * before);
    i32::try_from(size).unwrap_or(i32::MAX) - set.replicas
}
