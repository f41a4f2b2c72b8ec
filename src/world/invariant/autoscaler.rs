//! Autoscalers keep to their bounds and come to rest.

use super::super::log::{Change, Object, WriteLog};
use super::super::{Happening, Invariant};
use super::convergence::can_be_ready;
use super::{ByUid, Recent, limited, named};

/// No autoscaler wants fewer replicas than its `minReplicas` or more than its `maxReplicas`; at rest, what it scales has as
/// many as it wants.
///
/// One that cannot tell is left out at rest: beside another of the same Deployment (upstream calls that ambiguous and scales
/// by neither), over one that was scaled to nothing, which turns it off, or where pods do not come to be or become ready.
#[derive(Debug, Default)]
pub struct Autoscalers {
    bounds: ByUid<Recent<(i64, i64)>>,
}

const AUTOSCALERS: &str = "horizontalpodautoscalers.autoscaling";

fn bounds(autoscaler: &Object) -> (i64, i64) {
    let least = autoscaler.number("/spec/minReplicas").unwrap_or(1);
    (least, autoscaler.number("/spec/maxReplicas").unwrap_or(least))
}

impl Invariant for Autoscalers {
    fn name(&self) -> &'static str {
        "autoscalers keep to their bounds"
    }

    fn look(&mut self, happening: &Happening, log: &WriteLog) -> Result<(), String> {
        match happening {
            Happening::Changed(change) if change.resource() == AUTOSCALERS => self.wanted(change),
            Happening::AtRest => at_rest(log),
            _ => Ok(()),
        }
    }
}

impl Autoscalers {
    fn wanted(&mut self, change: &Change) -> Result<(), String> {
        let Some(new) = &change.new else { return Ok(()) };
        let seen = self.bounds.entry(new.uid().into()).or_default();
        seen.set(change.at, bounds(new));
        let wanted = |object: &Object| object.number("/status/desiredReplicas").unwrap_or(0);
        let wants = wanted(new);
        // Nothing, as long as it does not know, or is turned off.
        if wants == 0 || change.old.as_ref().map(wanted) == Some(wants) {
            return Ok(());
        }
        if seen.seen(change.at).any(|(least, most)| (*least..=*most).contains(&wants)) {
            return Ok(());
        }
        let (least, most) = bounds(new);
        Err(format!("{} wants {wants}, and may want {least} to {most}", named(new)))
    }
}

fn at_rest(log: &WriteLog) -> Result<(), String> {
    let limited = limited(log);
    let target = |autoscaler: &Object| {
        (autoscaler.namespace.clone(), autoscaler.text("/spec/scaleTargetRef/name").to_owned())
    };
    for autoscaler in log.of(AUTOSCALERS).filter(|autoscaler| !limited.contains(&*autoscaler.namespace)) {
        let (namespace, name) = target(autoscaler);
        let is_alone = log.of(AUTOSCALERS).filter(|other| target(other) == target(autoscaler)).count() == 1;
        let scaled = |object: &&Object| object.namespace == namespace && *object.name == *name;
        let Some(deployment) = log.of("deployments.apps").find(scaled) else { continue };
        let replicas = deployment.number("/spec/replicas").unwrap_or(1);
        if !is_alone || replicas == 0 || !can_be_ready(deployment) {
            continue;
        }
        let (least, most) = bounds(autoscaler);
        let wants = autoscaler.number("/status/desiredReplicas").unwrap_or(0);
        if !(least..=most).contains(&replicas) || wants != replicas {
            return Err(format!(
                "{} has {replicas} replicas; {} allows {least} to {most} and wants {wants}",
                named(deployment),
                named(autoscaler)
            ));
        }
    }
    Ok(())
}
