//! The flags of leader election, spelled as upstream's.

use std::time::Duration;

use clap::{ArgAction, Args};
use jiff::SignedDuration;
use orchestra::cluster::Leadership;
use orchestra::controllers::election::Timing;

use crate::failure::Failure;

#[derive(Args, Debug)]
pub(crate) struct LeaderElect {
    /// Let the controllers and the scheduler of several servers run once, in the server that holds their Lease.
    #[arg(long, value_name = "BOOL", default_value_t = true, num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true", action = ArgAction::Set)]
    leader_elect: bool,
    /// How long the others wait for a leader that is not heard of.
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = duration)]
    leader_elect_lease_duration: Duration,
    /// After how long without a renewal a leader stops working.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    leader_elect_renew_deadline: Duration,
    /// How long to pause between two tries to take or renew a Lease.
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = duration)]
    leader_elect_retry_period: Duration,
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration: SignedDuration = text.parse().map_err(|problem: jiff::Error| problem.to_string())?;
    Duration::try_from(duration).map_err(|_| "is below zero".to_owned())
}

impl LeaderElect {
    /// The times, unless there is to be no election.
    pub(crate) fn timing(&self) -> Result<Option<Timing>, Failure> {
        let timing = Timing::new(
            self.leader_elect_lease_duration,
            self.leader_elect_renew_deadline,
            self.leader_elect_retry_period,
        );
        let timing = timing.map_err(|problem| {
            Failure::usage(format!("--leader-elect-lease-duration and the like: {problem}"))
        })?;
        Ok(self.leader_elect.then_some(timing))
    }

    /// For parts beside an API server elsewhere.
    pub(crate) fn leadership(&self) -> Result<Leadership, Failure> {
        Ok(self.timing()?.map_or_else(Leadership::unopposed, Leadership::contested))
    }
}
