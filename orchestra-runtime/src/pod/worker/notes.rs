//! What a worker makes of the notes it gets.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{Note, Worker};
use crate::event::Severity;
use crate::logs;
use crate::metrics::Round;
use crate::pod::lifecycle;
use crate::pod::spec::{NODE_SHUTDOWN, full_name, grace_seconds, member, meta};
use crate::pod::start::{Failure, Home, StartedContainer, own_message_path};
use crate::pod::state::{Ended, Life, Sandbox, Stop, StopReason};
use crate::runtime::{ContainerId, Exit, SandboxId};

/// What a container has left when its pod was taken out of the API by force.
const FORCED_SECONDS: i64 = 1;
/// The longest termination message, and the most that is taken from a log.
const MAX_MESSAGE: usize = 4096;
const MAX_FROM_LOG: usize = 2048;
const MAX_LINES_FROM_LOG: u64 = 80;

impl Worker {
    pub(super) fn take(&mut self, note: Note) {
        match note {
            Note::Pod(pod) => {
                if self.round == Round::Sync {
                    self.round = Round::Update;
                }
                self.changed(pod);
            }
            Note::Vanished => self.must_stop(StopReason::Vanished),
            Note::Shutdown => self.must_stop(StopReason::Shutdown),
            Note::Ended { id, exit } => self.ended(&id, exit),
            Note::SandboxUp(result) => self.sandbox_up(result),
            Note::Settled(home) => self.home = Some(home),
            Note::Started { name, result } => self.started(&name, result),
            Note::Hooked { name, id, result } => self.hooked(&name, &id, result),
            Note::Stopped { id, error } => self.stopped(&id, error),
            Note::Probe { name, id, kind, verdict } => self.probed(&name, &id, kind, verdict),
            Note::Reported { status, written } => self.reported(*status, written),
        }
    }

    fn must_stop(&mut self, why: StopReason) {
        let since = self.context.clock.now();
        let grace_seconds = grace_seconds(&self.pod);
        match &mut self.state.stop {
            // It is on its way. Somebody who takes it out of the API by force does not want to wait for it.
            Some(stop) if why == StopReason::Vanished => {
                stop.why = why;
                stop.grace_seconds = stop.grace_seconds.min(FORCED_SECONDS);
                self.hurry(FORCED_SECONDS);
            }
            Some(stop) if !matches!(stop.why, StopReason::Deadline | StopReason::Rejected) => {}
            stop => *stop = Some(Stop { since, grace_seconds, why }),
        }
    }

    fn sandbox_up(&mut self, result: Result<(SandboxId, Home), (&'static str, String)>) {
        match result {
            Ok((id, home)) => {
                self.sandbox_failures = 0;
                self.state.sandbox = Sandbox::Ready { id, addresses: home.addresses.clone() };
                self.home = Some(home);
            }
            Err((reason, message)) => {
                self.context.recorder.note(&self.pod, None, Severity::Warning, reason, message.clone());
                // Half a second, doubling up to two minutes, as upstream tries mounts again.
                let wait = SignedDuration::from_millis(500 << self.sandbox_failures.min(8));
                self.sandbox_failures += 1;
                let wait = wait.min(SignedDuration::from_secs(122));
                let retry_at = self.context.clock.now().checked_add(wait).unwrap_or(Timestamp::MAX);
                self.state.sandbox = Sandbox::Failed { message, retry_at };
            }
        }
    }

    fn started(&mut self, name: &str, result: Result<StartedContainer, Failure>) {
        let now = self.context.clock.now();
        let Some(container) = self.state.containers.get_mut(name) else { return };
        match result {
            Ok(started) => {
                container.image_ref = started.image_ref;
                container.attempts = Default::default();
                let (id, started_at) = (started.id, started.started_at);
                let spec = member(&self.pod, name).map(|m| m.container.into_owned());
                let post_start =
                    spec.as_ref().and_then(|c| c.lifecycle.as_ref()).is_some_and(|l| l.post_start.is_some());
                container.life = Life::Running { id: id.clone(), started_at, hooked: !post_start };
                if let Some(exit) = self.early.remove(&id) {
                    return self.ended(&id, exit);
                }
                match spec.filter(|_| post_start) {
                    Some(spec) => {
                        let (context, address) = (self.context.clone(), self.address());
                        let name = name.to_owned();
                        self.job(async move {
                            let result = lifecycle::post_start(&context, &id, &spec, &address).await;
                            Note::Hooked { name, id, result }
                        });
                    }
                    None => self.probe(name, &id),
                }
            }
            Err(Failure::Waits { reason, message }) => {
                container.attempts.step(now, now);
                let (wait, retry_at) =
                    container.attempts.delay(now).unwrap_or((SignedDuration::from_secs(10), now));
                // Configuration is looked at again every ten seconds, and at once when what it misses appears.
                let retry_at = if reason == "CreateContainerConfigError" {
                    now.checked_add(wait.min(SignedDuration::from_secs(10))).unwrap_or(retry_at)
                } else {
                    retry_at
                };
                container.life = Life::Waiting { reason: reason.to_owned(), message, since: now, retry_at };
            }
            Err(Failure::Start { id, image_ref, message }) => {
                container.image_ref = image_ref;
                let exit = Exit {
                    code: 128,
                    signal: None,
                    started_at: None,
                    finished_at: now,
                    reason: Some("StartError".to_owned()),
                    message: Some(message),
                };
                self.over(name, id, exit);
            }
        }
    }

    fn hooked(&mut self, name: &str, id: &ContainerId, result: Result<(), String>) {
        let Some(container) = self.state.containers.get_mut(name) else { return };
        let Life::Running { id: running, hooked, .. } = &mut container.life else { return };
        if running != id {
            return;
        }
        match result {
            Ok(()) => {
                *hooked = true;
                self.probe(name, id);
            }
            Err(why) => {
                let message = format!("PostStartHook failed: {why}");
                let name = Some(name);
                self.context.recorder.note(
                    &self.pod,
                    name,
                    Severity::Warning,
                    "FailedPostStartHook",
                    message,
                );
                container.condemned = Some("FailedPostStartHook".to_owned());
            }
        }
    }

    fn stopped(&mut self, id: &ContainerId, error: Option<String>) {
        let Some(why) = error else { return };
        // The end of a container is told by its exit; this is about containers that could not be stopped.
        tracing::warn!(%id, error = why, "a container could not be stopped");
        let (context, sender, id) = (self.context.clone(), self.sender.clone(), id.clone());
        self.jobs.spawn(async move {
            tokio::time::sleep(Duration::from_secs(10)).await;
            let gone = Exit {
                code: 137,
                signal: None,
                started_at: None,
                finished_at: context.clock.now(),
                reason: Some("ContainerStatusUnknown".to_owned()),
                message: Some(why),
            };
            let exit = match context.runtime.container_status(&id).await.map(|s| s.state) {
                Ok(crate::runtime::ContainerState::Exited(exit)) => exit,
                Err(crate::runtime::Error::NotFound { .. }) => gone,
                _ => {
                    let error = context.runtime.stop_container(&id, Duration::ZERO).await.err();
                    let error = error.map(|e| e.describe());
                    let _ = sender.send(Note::Stopped { id, error });
                    return;
                }
            };
            let _ = sender.send(Note::Ended { id, exit });
        });
    }

    fn ended(&mut self, id: &ContainerId, exit: Exit) {
        let found = self.state.containers.iter().find(|(_, c)| match &c.life {
            Life::Running { id: running, .. } | Life::Stopping { id: running, .. } => running == id,
            _ => false,
        });
        match found.map(|(name, _)| name.clone()) {
            Some(name) => self.over(&name, Some(id.clone()), exit),
            // Its start may not have been told yet. Ends of earlier lives are of no interest.
            None if self.state.containers.values().any(|c| c.life == Life::Starting) => {
                self.early.insert(id.clone(), exit);
            }
            None => {}
        }
    }

    fn over(&mut self, name: &str, id: Option<ContainerId>, mut exit: Exit) {
        self.stop_probes(name);
        let Some(member) = member(&self.pod, name) else { return };
        let Some(container) = self.state.containers.get_mut(name) else { return };
        let stopping = matches!(container.life, Life::Stopping { .. });
        if stopping && self.state.stop.as_ref().is_some_and(|s| s.why == StopReason::Shutdown) {
            exit.reason = Some(NODE_SHUTDOWN.to_owned());
        }
        if exit.message.is_none() {
            let attempt = u32::try_from(container.restarts).unwrap_or(0);
            let log = self.context.log_path(&meta(&self.pod), name, attempt);
            let file = own_message_path(&member.container)
                .map(|_| self.context.message_path(&meta(&self.pod).uid, name));
            let from_log =
                member.container.termination_message_policy.as_deref() == Some("FallbackToLogsOnError");
            exit.message = message(file.as_deref(), from_log.then_some(log.as_path()), exit.code);
        }
        container.condemned = None;
        let backs_off = self.state.stop.is_none()
            && member.restarts_after(&exit)
            && container.backoff.delay(exit.finished_at).is_some();
        container.life = Life::Ended(Ended { id, exit });
        if backs_off {
            let message =
                format!("Back-off restarting failed container {name} in pod {}", full_name(&self.pod));
            self.context.recorder.note(&self.pod, Some(name), Severity::Warning, "BackOff", message);
        }
    }
}

/// The termination message: what the program wrote to its file, or else the end of its log.
fn message(file: Option<&std::path::Path>, log: Option<&std::path::Path>, code: i32) -> Option<String> {
    let written = file.and_then(|path| std::fs::read(path).ok()).unwrap_or_default();
    if !written.is_empty() {
        let text = String::from_utf8_lossy(&written[..written.len().min(MAX_MESSAGE)]).into_owned();
        return Some(text);
    }
    let log = log.filter(|_| code != 0)?;
    let options = logs::LogOptions { tail_lines: Some(MAX_LINES_FROM_LOG), ..Default::default() };
    let tail = logs::read(log, &options).ok()?;
    let from = tail.len().saturating_sub(MAX_FROM_LOG);
    let text = String::from_utf8_lossy(&tail[from..]).into_owned();
    (!text.is_empty()).then_some(text)
}
