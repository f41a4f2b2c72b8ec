//! The probes of a pod's containers, as tasks.

use super::super::probe::{self, ProbeKind, ProbeTarget, Verdict};
use super::{Note, Worker};
use crate::event::Severity;
use crate::pod::spec::member;
use crate::pod::state::Life;
use crate::runtime::ContainerId;

impl Worker {
    /// Begins the probes of a container that runs: the startup probe, or when that is through, the others.
    pub(super) fn probe(&mut self, name: &str, id: &ContainerId) {
        let Some(spec) = member(&self.pod, name).map(|m| m.container.into_owned()) else { return };
        let started = self.state.containers.get(name).is_some_and(|c| c.started);
        let kinds: &[ProbeKind] =
            if started { &[ProbeKind::Readiness, ProbeKind::Liveness] } else { &[ProbeKind::Startup] };
        let target = ProbeTarget::new(id.clone(), spec, self.address());
        for kind in kinds.iter().copied().filter(|k| k.of(&target.container).is_some()) {
            let sender = self.sender.clone();
            let (name_of, id_of) = (name.to_owned(), id.clone());
            let tell = move |verdict: Verdict| {
                // Nobody listens any more when the pod is gone.
                let _ = sender.send(Note::Probe { name: name_of.clone(), id: id_of.clone(), kind, verdict });
            };
            let since = tokio::time::Instant::now();
            let run = probe::run(kind, target.clone(), self.context.prober.clone(), since, tell);
            let handle = self.jobs.spawn(run);
            self.probes.entry(name.to_owned()).or_default().push(handle);
        }
    }

    pub(super) fn stop_probes(&mut self, name: &str) {
        for probe in self.probes.remove(name).into_iter().flatten() {
            probe.abort();
        }
    }

    pub(super) fn probed(&mut self, name: &str, id: &ContainerId, kind: ProbeKind, verdict: Verdict) {
        let Some(container) = self.state.containers.get_mut(name) else { return };
        match &container.life {
            Life::Running { id: running, .. } if running == id => {}
            _ => return,
        }
        match (verdict, kind) {
            (Verdict::Failed(why), _) => {
                let message = format!("{} probe failed: {why}", kind.name());
                self.context.recorder.note(&self.pod, Some(name), Severity::Warning, "Unhealthy", message);
            }
            (Verdict::Turned(good), ProbeKind::Readiness) => container.ready = good,
            (Verdict::Turned(true), ProbeKind::Startup) => {
                container.started = true;
                self.probe(name, id);
            }
            (Verdict::Turned(true), ProbeKind::Liveness) => {}
            (Verdict::Turned(false), kind) => {
                let which = if kind == ProbeKind::Startup { "startup" } else { "liveness" };
                container.condemned =
                    Some(format!("Container {name} failed {which} probe, will be restarted"));
            }
        }
    }
}
