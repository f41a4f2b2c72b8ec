//! CronJobs that forbid it do not run beside themselves.

use super::super::log::{Object, WriteLog};
use super::super::{Happening, Invariant};
use super::{named, says};

/// A CronJob whose policy is `Forbid` never has two Jobs that run.
#[derive(Debug)]
pub struct Alone;

impl Invariant for Alone {
    fn name(&self) -> &'static str {
        "a CronJob that forbids it does not run beside itself"
    }

    fn look(&mut self, happening: &Happening, log: &WriteLog) -> Result<(), String> {
        let Happening::Changed(change) = happening else { return Ok(()) };
        let (None, Some(new), "jobs.batch") = (&change.old, &change.new, change.resource()) else {
            return Ok(());
        };
        let Some(owner) = new.controller() else { return Ok(()) };
        let cron_job = log.of("cronjobs.batch").find(|cron_job| cron_job.uid() == owner);
        if cron_job.is_none_or(|cron_job| cron_job.text("/spec/concurrencyPolicy") != "Forbid") {
            return Ok(());
        }
        let is_over = |job: &Object| says(job, "Complete") || says(job, "Failed");
        let siblings = log.of("jobs.batch").filter(|job| job.controller() == Some(owner));
        match siblings.filter(|job| job.uid() != new.uid()).find(|job| !is_over(job)) {
            None => Ok(()),
            Some(other) => Err(format!("{} began while {} runs", named(new), named(other))),
        }
    }
}
