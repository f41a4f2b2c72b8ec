//! Probes that ask real containers: over the network, or by a command beside them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Probe;

use super::http::{self, NoAnswer};
use super::probe::{ProbeResult, ProbeTarget, Prober};
use crate::runtime::{ContainerRuntime, Error};

/// Asks real containers.
#[derive(Debug)]
pub(crate) struct RealProber {
    pub(crate) runtime: Arc<dyn ContainerRuntime>,
}

impl From<NoAnswer> for ProbeResult {
    fn from(no: NoAnswer) -> Self {
        match no {
            NoAnswer::Refused(why) => Self::Refused(why),
            NoAnswer::Other(why) => Self::Failure(why),
        }
    }
}

#[async_trait]
impl Prober for RealProber {
    async fn probe(&self, target: &ProbeTarget, probe: &Probe, timeout: Duration) -> ProbeResult {
        if let Some(action) = &probe.exec {
            let command = action.command.clone().unwrap_or_default();
            return match self.runtime.exec_sync(&target.id, &command, timeout).await {
                Ok(done) if done.code == 0 => ProbeResult::Success,
                Ok(done) => {
                    let mut said = String::from_utf8_lossy(&done.stdout).into_owned();
                    said.push_str(&String::from_utf8_lossy(&done.stderr));
                    ProbeResult::Failure(said)
                }
                Err(Error::Timeout(after)) => ProbeResult::Failure(format!(
                    "command timed out: {command:?} timed out after {}s",
                    after.as_secs()
                )),
                Err(error) => ProbeResult::Failure(error.describe()),
            };
        }
        if let Some(action) = &probe.http_get {
            let asked =
                http::get(&target.container, &target.address, action, "kube-probe/1.36", timeout).await;
            return match asked {
                Ok((status, _)) if status.is_success() || status.is_redirection() => ProbeResult::Success,
                Ok((status, _)) => {
                    ProbeResult::Failure(format!("HTTP probe failed with statuscode: {}", status.as_u16()))
                }
                Err(no) => no.into(),
            };
        }
        if let Some(action) = &probe.tcp_socket {
            let host = action.host.as_deref().filter(|h| !h.is_empty()).unwrap_or(&target.address);
            let port = match http::port(&target.container, &action.port) {
                Ok(port) => port,
                Err(why) => return ProbeResult::Failure(why),
            };
            return match tokio::time::timeout(timeout, http::connect(host, port)).await {
                Ok(Ok(_)) => ProbeResult::Success,
                Ok(Err(no)) => no.into(),
                Err(_) => ProbeResult::Failure(format!("dial tcp {host}:{port}: i/o timeout")),
            };
        }
        if probe.grpc.is_some() {
            return ProbeResult::Failure("gRPC probes are not supported by this node yet".to_owned());
        }
        ProbeResult::Failure("missing probe handler".to_owned())
    }
}
