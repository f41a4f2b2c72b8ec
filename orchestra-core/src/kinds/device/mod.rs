//! Dynamic resource allocation: classes of devices, claims to them, and what drivers have to offer.
//!
//! Selectors in CEL are looked at for their length; who allocates compiles them.

mod claim;
mod class;
mod request;
mod slice;

pub(super) use claim::{kind as claim, template};
pub(super) use class::kind as class;
pub(super) use slice::kind as slice;

use super::frame::View;
use crate::gvk::GroupVersion;
use crate::violation::{Violation, Violations};

const GROUP: GroupVersion = GroupVersion::new("resource.k8s.io", "v1");

/// What a taint of a device does, as messages list it.
const TAINT_EFFECTS: [&str; 3] = ["NoExecute", "NoSchedule", "None"];

/// A list must not be longer than `most`, and name nothing twice.
fn bounded<'a>(out: &mut Violations, list: &View<'a>, most: usize, key: fn(&View<'a>) -> &'a str) {
    if list.len() > most {
        out.push(Violation::too_many(list.path(), list.len(), most));
    }
    let mut seen = Vec::new();
    for item in list.items() {
        let own = key(&item);
        if !own.is_empty() && seen.contains(&own) {
            out.push(Violation::duplicate(item.path(), item.json()));
        }
        seen.push(own);
    }
}
