//! Which build of what answers, and how many could not even shake hands with it.

use std::fmt;

use orchestra_metrics::write;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::counter::Counter;
use serde_json::Value;

use crate::health;

/// What `/version` says, as labels, and the failed handshakes of TLS.
#[derive(Debug)]
pub(super) struct BuildInfo {
    pub(super) failed_handshakes: Counter,
}

impl Collector for BuildInfo {
    fn encode(&self, mut out: DescriptorEncoder<'_>) -> fmt::Result {
        let out = &mut out;
        let version = health::version_info();
        let labels = [
            ("build_date", "buildDate"),
            ("compiler", "compiler"),
            ("git_commit", "gitCommit"),
            ("git_tree_state", "gitTreeState"),
            ("git_version", "gitVersion"),
            ("go_version", "goVersion"),
            ("major", "major"),
            ("minor", "minor"),
            ("platform", "platform"),
        ]
        .map(|(label, field)| (label, version.get(field).and_then(Value::as_str).unwrap_or_default()));
        let help = "[BETA] A metric with a constant '1' value labeled by major, minor, git version, git commit, git tree state, build date, Go version, and compiler from which Kubernetes was built, and platform on which it is running.";
        write::gauge(out, "kubernetes_build_info", help, [(labels, 1)])?;
        let help = "[ALPHA] Number of requests dropped with 'TLS handshake error from' error";
        let failed = [([], self.failed_handshakes.get())];
        write::counter(out, "apiserver_tls_handshake_errors_total", help, failed)
    }
}
