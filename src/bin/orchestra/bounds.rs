//! The flags of the API server's bounds, spelled as upstream's.

use std::time::Duration;

use clap::Args;
use jiff::SignedDuration;
use orchestra::apiserver::Limits;

#[derive(Args, Debug)]
pub(crate) struct Bounds {
    /// How long a request may take that is no watch and no stream.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = some_time)]
    request_timeout: Duration,
    /// How many seconds a watch lasts that names no time of its own; chance makes it up to twice that.
    #[arg(long, value_name = "SECONDS", default_value_t = 1800)]
    min_request_timeout: u32,
    /// How many requests that read are worked on at once; 0 for no bound.
    #[arg(long, value_name = "NUMBER", default_value_t = 400)]
    max_requests_inflight: u32,
    /// How many requests that write are worked on at once; 0 for no bound.
    #[arg(long, value_name = "NUMBER", default_value_t = 200)]
    max_mutating_requests_inflight: u32,
    /// How long requests are still taken after the end was asked for, while /readyz tells balancers to go elsewhere.
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = time)]
    shutdown_delay_duration: Duration,
}

fn time(text: &str) -> Result<Duration, String> {
    let time: SignedDuration = text.parse().map_err(|problem: jiff::Error| problem.to_string())?;
    Duration::try_from(time).map_err(|_| "is below zero".to_owned())
}

fn some_time(text: &str) -> Result<Duration, String> {
    let time = time(text)?;
    if time.is_zero() { Err("is zero".to_owned()) } else { Ok(time) }
}

impl Bounds {
    pub(crate) fn limits(&self) -> Limits {
        let mut limits = Limits::default();
        limits.request_timeout = self.request_timeout;
        limits.min_request_timeout = Duration::from_secs(self.min_request_timeout.into());
        limits.reads = usize::try_from(self.max_requests_inflight).unwrap_or(usize::MAX);
        limits.writes = usize::try_from(self.max_mutating_requests_inflight).unwrap_or(usize::MAX);
        limits.shutdown_delay = self.shutdown_delay_duration;
        limits
    }
}
