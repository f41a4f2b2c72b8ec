//! Hooks, and the graceful end of a container.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, LifecycleHandler, Pod};
use tokio::time::Instant;

use super::http::{self, NoAnswer};
use crate::agent::context::Context;
use crate::event::Severity;
use crate::runtime::{ContainerId, Error};

/// A hook without a time limit of its own may take this long.
const LONGEST_HOOK: Duration = Duration::from_secs(24 * 3600);

/// Runs a hook. The error is for an event.
async fn hook(
    context: &Context,
    id: &ContainerId,
    container: &Container,
    address: &str,
    handler: &LifecycleHandler,
    limit: Duration,
) -> Result<(), String> {
    if let Some(action) = &handler.exec {
        let command = action.command.clone().unwrap_or_default();
        return match context.runtime.exec_sync(id, &command, limit).await {
            Ok(done) if done.code == 0 => Ok(()),
            Ok(done) => Err(format!(
                "command {command:?} exited with {}: {}",
                done.code,
                String::from_utf8_lossy(&done.stderr).trim_end()
            )),
            Err(error) => Err(error.describe()),
        };
    }
    if let Some(action) = &handler.http_get {
        let asked = http::get(container, address, action, "kube-lifecycle/1.36", limit).await;
        return match asked {
            Ok((status, _)) if status.as_u16() < 400 => Ok(()),
            Ok((status, _)) => Err(format!("HTTP hook failed with statuscode: {}", status.as_u16())),
            Err(NoAnswer::Refused(why) | NoAnswer::Other(why)) => Err(why),
        };
    }
    if let Some(action) = &handler.sleep {
        let seconds = Duration::from_secs(u64::try_from(action.seconds).unwrap_or(0));
        tokio::time::sleep(seconds.min(limit)).await;
    }
    // tcpSocket is not supported as a hook upstream either, and does nothing.
    Ok(())
}

/// Runs the postStart hook, if there is one.
pub(crate) async fn post_start(
    context: &Context,
    id: &ContainerId,
    container: &Container,
    address: &str,
) -> Result<(), String> {
    match container.lifecycle.as_ref().and_then(|l| l.post_start.as_ref()) {
        Some(handler) => hook(context, id, container, address, handler, LONGEST_HOOK).await,
        None => Ok(()),
    }
}

/// Stops a container: its preStop hook, the polite request, and the end, all within `grace`.
pub(crate) async fn stop(
    context: &Context,
    pod: &Pod,
    container: &Container,
    id: &ContainerId,
    address: &str,
    grace: Duration,
) -> Result<(), Error> {
    let begun = Instant::now();
    let pre_stop = container.lifecycle.as_ref().and_then(|l| l.pre_stop.as_ref());
    if let Some(handler) = pre_stop.filter(|_| !grace.is_zero()) {
        let run = hook(context, id, container, address, handler, grace);
        let failed = match tokio::time::timeout(grace, run).await {
            Ok(done) => done.err(),
            Err(_) => Some("PreStop hook did not finish in time".to_owned()),
        };
        if let Some(why) = failed {
            let message = format!("PreStopHook failed: {why}");
            let name = Some(container.name.as_str());
            context.recorder.note(pod, name, Severity::Warning, "FailedPreStopHook", message);
        }
    }
    // The program gets a moment even when the hook took all there was.
    let left = grace.saturating_sub(begun.elapsed()).max(grace.min(Duration::from_secs(2)));
    context.runtime.stop_container(id, left).await
}
