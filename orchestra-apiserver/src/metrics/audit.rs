//! What the audit log was told, and what of it was lost.

use std::fmt;

use orchestra_metrics::write;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::counter::Counter;

use crate::audit::AuditLevel;

/// Counts of the audit log. Clones count the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct AuditMetrics {
    levels: [Counter; AuditLevel::ALL.len()],
    told: Counter,
    lost: Counter,
}

impl AuditMetrics {
    /// A request is told about in this much detail.
    pub(crate) fn level(&self, level: AuditLevel) {
        let mut levels = AuditLevel::ALL.iter().zip(&self.levels);
        if let Some((_, counter)) = levels.find(|(known, _)| **known == level) {
            counter.inc();
        }
    }

    /// An event was taken.
    pub(crate) fn told(&self) {
        self.told.inc();
    }

    /// An event was not.
    pub(crate) fn lost(&self) {
        self.lost.inc();
    }
}

impl Collector for AuditMetrics {
    fn encode(&self, mut out: DescriptorEncoder<'_>) -> fmt::Result {
        let out = &mut out;
        let help = "[ALPHA] Counter of audit events generated and sent to the audit backend.";
        write::counter(out, "apiserver_audit_event_total", help, [([], self.told.get() + self.lost.get())])?;
        let help = "[ALPHA] Counter of audit events that failed to be audited properly. Plugin identifies the plugin affected by the error.";
        let lost = Some(self.lost.get()).filter(|lost| *lost > 0);
        write::counter(
            out,
            "apiserver_audit_error_total",
            help,
            lost.map(|lost| ([("plugin", "log")], lost)),
        )?;
        let help = "[ALPHA] Counter of policy levels for audit events (1 per request).";
        let levels = AuditLevel::ALL.iter().zip(&self.levels).filter(|(_, counter)| counter.get() > 0);
        let levels = levels.map(|(level, counter)| ([("level", level.as_str())], counter.get()));
        write::counter(out, "apiserver_audit_level_total", help, levels)?;
        let help = "[ALPHA] Counter of apiserver requests rejected due to an error in audit logging backend.";
        write::counter(out, "apiserver_audit_requests_rejected_total", help, [([], 0)])
    }
}
