//! `PreFilter`: what can be said of a pod before any node is looked at.

use std::collections::BTreeSet;

use crate::guard::{failure, guarded};
use crate::outcome::{Diagnosis, Failure};
use crate::plugin::{Cycle, PreFilter};
use crate::profile::Profile;
use crate::verdict::{PreFiltered, Rejection, RejectionKind};
use crate::view::{NodeName, PodView};

/// Plugins that have nothing to say about a pod, by their position in the profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Skipped {
    pub(super) filters: Vec<bool>,
    pub(super) adjusters: Vec<bool>,
}

impl Skipped {
    /// Nobody.
    pub(super) fn nobody(profile: &Profile) -> Self {
        Self { filters: vec![false; profile.filter.len()], adjusters: vec![false; profile.adjust.len()] }
    }

    /// Takes note that a plugin has nothing to say, or takes it back.
    pub(super) fn set(&mut self, profile: &Profile, name: &str, skipped: bool) {
        for (skip, _) in self.filters.iter_mut().zip(&profile.filter).filter(|(_, one)| one.name() == name) {
            *skip = skipped;
        }
        for (skip, _) in self.adjusters.iter_mut().zip(&profile.adjust).filter(|(_, one)| one.name() == name)
        {
            *skip = skipped;
        }
    }
}

/// What the plugins said.
#[derive(Debug)]
pub(super) struct Narrowed {
    pub(super) skipped: Skipped,
    /// The nodes that come into question, if not all do.
    pub(super) only: Option<BTreeSet<NodeName>>,
    /// The plugins that said so.
    pub(super) narrowing: Vec<String>,
    /// The pod was refused; the reason is in the diagnosis.
    pub(super) refused: bool,
}

/// Runs `PreFilter`.
pub(super) fn pre_filter(
    profile: &Profile,
    cycle: &mut Cycle<'_>,
    pod: &PodView,
    diagnosis: &mut Diagnosis,
) -> Result<Narrowed, Failure> {
    pre_filter_heard(profile, cycle, pod, diagnosis, |_| true, |_, _| {})
}

/// Runs `PreFilter` of those plugins alone that `speaks` holds for: of the others it is known that they have nothing to say.
pub(super) fn pre_filter_of(
    profile: &Profile,
    cycle: &mut Cycle<'_>,
    pod: &PodView,
    speaks: impl Fn(&dyn PreFilter) -> bool,
) -> Result<Narrowed, Failure> {
    pre_filter_heard(profile, cycle, pod, &mut Diagnosis::default(), speaks, |_, _| {})
}

/// Runs `PreFilter`, with someone who hears what each plugin said.
pub(super) fn pre_filter_heard<'p>(
    profile: &'p Profile,
    cycle: &mut Cycle<'_>,
    pod: &PodView,
    diagnosis: &mut Diagnosis,
    speaks: impl Fn(&dyn PreFilter) -> bool,
    mut hear: impl FnMut(&'p str, &PreFiltered),
) -> Result<Narrowed, Failure> {
    let mut narrowed =
        Narrowed { skipped: Skipped::nobody(profile), only: None, narrowing: Vec::new(), refused: false };
    for plugin in &profile.pre_filter {
        let name = plugin.name();
        let said = match speaks(&**plugin) {
            true => guarded(name, "PreFilter", || plugin.pre_filter(cycle, pod))?,
            false => PreFiltered::Skip,
        };
        hear(name, &said);
        match said {
            PreFiltered::All => {}
            PreFiltered::Only(nodes) => {
                narrowed.narrowing.push(name.to_owned());
                let only = match narrowed.only.take() {
                    Some(only) => only.intersection(&nodes).cloned().collect(),
                    None => nodes,
                };
                if only.is_empty() {
                    diagnosis.plugins.extend(narrowed.narrowing.iter().cloned());
                    diagnosis.pre_filter = Some(Rejection::unresolvable(no_common_node(&narrowed.narrowing)));
                    narrowed.refused = true;
                    return Ok(narrowed);
                }
                narrowed.only = Some(only);
            }
            PreFiltered::Skip => narrowed.skipped.set(profile, name, true),
            PreFiltered::Reject(rejection) => {
                diagnosis.plugins.insert(name.to_owned());
                narrowed.refused = true;
                let hopeless = rejection.kind == RejectionKind::Unresolvable;
                diagnosis.pre_filter = Some(rejection);
                if hopeless {
                    break;
                }
            }
            PreFiltered::Fail(error) => {
                return Err(failure(name, format!("running PreFilter plugin {name:?}: {error}")));
            }
        }
    }
    Ok(narrowed)
}

fn no_common_node(plugins: &[String]) -> String {
    match plugins {
        [one] => format!("node(s) didn't satisfy plugin {one}"),
        many => format!("node(s) didn't satisfy plugin(s) [{}] simultaneously", many.join(" ")),
    }
}
