//! SchedulingGates: a pod with gates is parked until the last one is taken away.

use crate::event::{ClusterEvent, Hint};
use crate::plugin::{Plugin, PreEnqueue, Requeue};
use crate::verdict::Admission;
use crate::view::{ClusterView, PodView};

/// Parks pods with `spec.schedulingGates`.
#[derive(Clone, Copy, Debug, Default)]
pub struct SchedulingGates;

impl Plugin for SchedulingGates {
    fn name(&self) -> &str {
        "SchedulingGates"
    }
}

impl PreEnqueue for SchedulingGates {
    fn pre_enqueue(&self, pod: &PodView) -> Admission {
        if pod.rules.gates.is_empty() {
            return Admission::Admit;
        }
        let gates = pod.rules.gates.join(" ");
        Admission::Hold(vec![format!("waiting for scheduling gates: [{gates}]").into()])
    }
}

impl Requeue for SchedulingGates {
    fn hint(&self, _: &ClusterView, _: &PodView, event: &ClusterEvent) -> Hint {
        Hint::when(matches!(event, ClusterEvent::PodUpdated { new, .. } if new.rules.gates.is_empty()))
    }
}
