//! The flags of the audit log, spelled as upstream's.

use std::path::PathBuf;

use clap::Args;
use orchestra::apiserver::{AuditLog, AuditLogOptions, AuditPolicy};

use crate::failure::Failure;

#[derive(Args, Debug)]
pub(crate) struct Audit {
    /// An audit.k8s.io/v1 Policy: how much of which request is written down.
    #[arg(long, value_name = "FILE", requires = "audit_log_path")]
    audit_policy_file: Option<PathBuf>,
    /// The file that it is written to, one event a line.
    #[arg(long, value_name = "FILE", requires = "audit_policy_file")]
    audit_log_path: Option<PathBuf>,
    /// At how many mebibytes the file is put away and a new one begun; 0 is 100.
    #[arg(long, value_name = "MIB", default_value_t = 0, requires = "audit_log_path")]
    audit_log_maxsize: u32,
    /// How many files that were put away are kept; 0 for all.
    #[arg(long, value_name = "NUMBER", default_value_t = 0, requires = "audit_log_path")]
    audit_log_maxbackup: u32,
    /// For how many days they are kept; 0 for ever.
    #[arg(long, value_name = "DAYS", default_value_t = 0, requires = "audit_log_path")]
    audit_log_maxage: u32,
}

impl Audit {
    /// The policy and the opened log, when there is to be one.
    pub(crate) fn open(&self) -> Result<Option<(AuditPolicy, AuditLog)>, Failure> {
        let (Some(policy), Some(path)) = (&self.audit_policy_file, &self.audit_log_path) else {
            return Ok(None);
        };
        let shown = policy.display();
        let text =
            std::fs::read_to_string(policy).map_err(|problem| Failure::of(format!("{shown}: {problem}")))?;
        let policy =
            AuditPolicy::parse(&text).map_err(|problem| Failure::of(format!("{shown}: {problem}")))?;
        let mut options = AuditLogOptions::new(path);
        options.max_size = self.audit_log_maxsize;
        options.max_backup = self.audit_log_maxbackup;
        options.max_age = self.audit_log_maxage;
        let log = AuditLog::open(options)
            .map_err(|problem| Failure::of(format!("--audit-log-path {}: {problem}", path.display())))?;
        Ok(Some((policy, log)))
    }
}
