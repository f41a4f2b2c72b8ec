//! What a candidate does about the Lease it sees: the pure part.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::LeaseSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use crate::error::{Error, Result};

/// By how much a candidate's pause may be longer than the retry period, as a share of it: so that many do not come at once.
pub(super) const JITTER: f64 = 1.2;

/// How long a Lease lasts, and how hard it is held on to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    lease_duration: Duration,
    renew_deadline: Duration,
    retry_period: Duration,
}

impl Default for Timing {
    /// Upstream's: 15, 10 and 2 seconds.
    fn default() -> Self {
        Self {
            lease_duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry_period: Duration::from_secs(2),
        }
    }
}

impl Timing {
    /// Times of one's own.
    ///
    /// # Errors
    /// [`Error::Malformed`] unless the lease lasts whole seconds, longer than the deadline, and the deadline is longer than
    /// the longest pause between two tries.
    pub fn new(lease_duration: Duration, renew_deadline: Duration, retry_period: Duration) -> Result<Self> {
        let wrong = |problem: &str| Err(Error::Malformed(problem.to_owned()));
        if lease_duration.subsec_nanos() != 0 || i32::try_from(lease_duration.as_secs()).is_err() {
            return wrong("the lease duration must be a number of whole seconds");
        }
        if lease_duration <= renew_deadline {
            return wrong("the lease duration must be greater than the renew deadline");
        }
        if renew_deadline <= retry_period.mul_f64(JITTER) {
            return wrong("the renew deadline must be greater than 1.2 times the retry period");
        }
        if retry_period.is_zero() {
            return wrong("the retry period must be greater than zero");
        }
        Ok(Self { lease_duration, renew_deadline, retry_period })
    }

    /// How long others leave a Lease alone that does not change.
    pub fn lease_duration(&self) -> Duration {
        self.lease_duration
    }

    /// After how long without a renewal a leader stops.
    pub fn renew_deadline(&self) -> Duration {
        self.renew_deadline
    }

    /// How long to pause between two tries.
    pub fn retry_period(&self) -> Duration {
        self.retry_period
    }

    pub(super) fn seconds(&self) -> i32 {
        i32::try_from(self.lease_duration.as_secs()).unwrap_or(i32::MAX)
    }
}

/// What a candidate knows when it decides.
#[derive(Debug)]
pub struct Observed<'a> {
    /// The candidate's own name.
    pub identity: &'a str,
    /// What the Lease says, if there is one.
    pub lease: Option<&'a LeaseSpec>,
    /// For how long the candidate, by its own clock, has seen the Lease say the same.
    pub unchanged_for: Duration,
    /// How long a Lease is to last that it takes.
    pub timing: Timing,
    /// The time of day, to be written down for people.
    pub now: Timestamp,
}

/// What a candidate does next.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Make the Lease.
    Create(LeaseSpec),
    /// Take it, or hold on to it; if it did not change meanwhile.
    Update(LeaseSpec),
    /// Another one holds it, for so long at least.
    Wait(Duration),
}

/// Whether to take or renew the Lease, and what to write into it.
pub fn plan(observed: &Observed<'_>) -> Step {
    let now = Some(MicroTime(observed.now));
    let claim = LeaseSpec {
        holder_identity: Some(observed.identity.to_owned()),
        lease_duration_seconds: Some(observed.timing.seconds()),
        acquire_time: now.clone(),
        renew_time: now,
        lease_transitions: Some(0),
        ..observed.lease.cloned().unwrap_or_default()
    };
    let Some(lease) = observed.lease else { return Step::Create(claim) };
    let holder = lease.holder_identity.as_deref().unwrap_or_default();
    let transitions = lease.lease_transitions.unwrap_or(0);
    if holder == observed.identity {
        let acquire_time = lease.acquire_time.clone().or(claim.acquire_time);
        return Step::Update(LeaseSpec { acquire_time, lease_transitions: Some(transitions), ..claim });
    }
    let lasts = u64::try_from(lease.lease_duration_seconds.unwrap_or(0)).unwrap_or(0);
    let left = Duration::from_secs(lasts).saturating_sub(observed.unchanged_for);
    if !holder.is_empty() && !left.is_zero() {
        return Step::Wait(left);
    }
    Step::Update(LeaseSpec { lease_transitions: Some(transitions.saturating_add(1)), ..claim })
}

/// What the Lease says when its holder has given it up: anybody may take it at once.
pub(super) fn given_up(lease: &LeaseSpec, now: Timestamp) -> LeaseSpec {
    LeaseSpec {
        holder_identity: Some(String::new()),
        lease_duration_seconds: Some(1),
        acquire_time: Some(MicroTime(now)),
        renew_time: Some(MicroTime(now)),
        ..lease.clone()
    }
}
