//! A candidate: reads the Lease, asks the plan, writes, and lets the work run while it leads.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::plan::{JITTER, Observed, Step, Timing, given_up, plan};
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::events::{Mood, Recorder};

/// A candidate for the lead that a Lease stands for. Nothing happens before [`Election::run`].
#[derive(Clone, Debug)]
pub struct Election {
    namespace: String,
    name: String,
    identity: String,
    timing: Timing,
    clock: Clock,
}

/// A candidate that stands.
struct Candidate<'a> {
    election: &'a Election,
    api: Api<Lease>,
    recorder: Recorder,
    /// The Lease as last seen, and since when it says what it says.
    seen: Option<(Lease, Instant)>,
    /// When the last request was sent that made or kept this candidate the leader.
    renewed: Option<Instant>,
    tries: u64,
}

impl Election {
    /// A candidate called `identity`, which must be its alone, for the Lease `name` in the namespace `kube-system`.
    pub fn new(name: impl Into<String>, identity: impl Into<String>) -> Self {
        Self {
            namespace: "kube-system".into(),
            name: name.into(),
            identity: identity.into(),
            timing: Timing::default(),
            clock: Clock::system(),
        }
    }

    /// Where the Lease is.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// How long the Lease lasts, and how hard it is held on to.
    #[must_use]
    pub fn timing(mut self, timing: Timing) -> Self {
        self.timing = timing;
        self
    }

    /// The clock that the times in the Lease and in events are read from. No decision depends on it.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Stands until `shutdown` is cancelled or the work ends by itself, and returns what the work returned.
    ///
    /// Each time the candidate is elected, `lead` begins the work with a token that is cancelled with `shutdown`. When the lead
    /// is lost the work is dropped where it stands, and the candidate stands again. When `shutdown` is cancelled the work
    /// is waited for, and the Lease given up after it. `None` says that there was no work then.
    ///
    /// # Cancellation
    /// Dropping the future drops the work and leaves the Lease to run out.
    pub async fn run<W, F>(
        &self,
        client: Client,
        shutdown: CancellationToken,
        mut lead: W,
    ) -> Option<F::Output>
    where
        W: FnMut(CancellationToken) -> F,
        F: Future,
    {
        let (recorder, writer) = Recorder::new(self.clock.clone());
        let mut background = JoinSet::new();
        background.spawn(writer.run(client.clone(), CancellationToken::new()));
        let mut candidate = Candidate {
            election: self,
            api: Api::namespaced(client, &self.namespace),
            recorder,
            seen: None,
            renewed: None,
            tries: 0,
        };
        loop {
            if !candidate.acquire(&shutdown).await {
                return None;
            }
            candidate.tell("became leader");
            let mut work = std::pin::pin!(lead(shutdown.child_token()));
            // Losing the lead is looked at first: after a standstill no work is done that is not covered any more.
            let done = tokio::select! {
                biased;
                () = candidate.keep() => None,
                done = &mut work => Some(done),
            };
            if let Some(done) = done {
                candidate.give_up().await;
                return Some(done);
            }
            warn!(lease = self.name, identity = self.identity, "the lead is lost");
            candidate.tell("stopped leading");
            candidate.renewed = None;
        }
    }
}

impl Candidate<'_> {
    /// Tries until it leads; false if told to stop before. A try under way is finished, so that no Lease is left behind.
    async fn acquire(&mut self, shutdown: &CancellationToken) -> bool {
        while !shutdown.is_cancelled() {
            match timeout(self.patience(), self.attempt()).await {
                Ok(Ok(true)) => return true,
                Ok(Ok(false)) => {}
                Ok(Err(error)) => debug!(lease = self.election.name, problem = error.said(), "cannot take"),
                Err(_) => debug!(lease = self.election.name, "no answer to taking"),
            }
            let pause = self.pause();
            tokio::select! {
                biased;
                () = shutdown.cancelled() => {}
                () = sleep(pause) => {}
            }
        }
        false
    }

    /// Renews until that fails for too long, or another one leads.
    async fn keep(&mut self) {
        let timing = self.election.timing;
        while let Some(renewed) = self.renewed {
            sleep(timing.retry_period()).await;
            let deadline = renewed + timing.renew_deadline();
            loop {
                let limit = deadline.min(Instant::now() + self.patience());
                match timeout_at(limit, self.attempt()).await {
                    Ok(Ok(true)) => break,
                    Ok(Ok(false)) => return,
                    Ok(Err(error)) => {
                        debug!(lease = self.election.name, problem = error.said(), "cannot renew")
                    }
                    Err(_) => debug!(lease = self.election.name, "no answer to renewing"),
                }
                tokio::select! {
                    biased;
                    () = sleep_until(deadline) => return,
                    () = sleep(timing.retry_period()) => {}
                }
            }
        }
    }

    /// Tries once to take or renew the Lease; whether this candidate leads now.
    async fn attempt(&mut self) -> Result<bool> {
        self.tries = self.tries.wrapping_add(1);
        if self.renewed.is_some()
            && let Some((held, _)) = self.seen.clone()
            && let Step::Update(spec) = self.next(held.spec.as_ref())
        {
            // A leader's own last word is most likely still what stands there.
            match self.write(&held, spec).await {
                Ok(()) => return Ok(true),
                Err(error) => debug!(lease = self.election.name, problem = error.said(), "reading again"),
            }
        }
        let Some(found) = self.api.get_opt(&self.election.name).await? else {
            self.seen = None;
            let Step::Create(spec) = self.next(None) else { return Ok(false) };
            return self.create(spec).await.map(|()| true);
        };
        self.see(found.clone());
        match self.next(found.spec.as_ref()) {
            Step::Update(spec) => self.write(&found, spec).await.map(|()| true),
            Step::Create(_) | Step::Wait(_) => Ok(false),
        }
    }

    fn next(&self, lease: Option<&LeaseSpec>) -> Step {
        let unchanged_for = self.seen.as_ref().map_or(Duration::ZERO, |(_, since)| since.elapsed());
        plan(&Observed {
            identity: &self.election.identity,
            lease,
            unchanged_for,
            timing: self.election.timing,
            now: self.election.clock.now(),
        })
    }

    fn see(&mut self, found: Lease) {
        let before = self.seen.take();
        let since = match &before {
            Some((held, since)) if held.spec == found.spec => *since,
            _ => Instant::now(),
        };
        let holder = |lease: &Lease| lease.spec.as_ref().and_then(|spec| spec.holder_identity.clone());
        if before.is_none_or(|(held, _)| holder(&held) != holder(&found)) {
            info!(lease = self.election.name, leader = holder(&found), "there is a new leader");
        }
        self.seen = Some((found, since));
    }

    async fn create(&mut self, spec: LeaseSpec) -> Result<()> {
        let name = Some(self.election.name.clone());
        let lease = Lease { metadata: ObjectMeta { name, ..ObjectMeta::default() }, spec: Some(spec) };
        let sent = Instant::now();
        let made = self.api.create(&self.params(), &lease).await?;
        self.leads_since(sent, made);
        Ok(())
    }

    /// Writes `spec` into the Lease if it is still as `held`.
    async fn write(&mut self, held: &Lease, spec: LeaseSpec) -> Result<()> {
        let lease = Lease { spec: Some(spec), ..held.clone() };
        let sent = Instant::now();
        let written = self.api.replace(&self.election.name, &self.params(), &lease).await?;
        self.leads_since(sent, written);
        Ok(())
    }

    fn leads_since(&mut self, sent: Instant, lease: Lease) {
        self.see(lease);
        self.renewed = Some(sent);
    }

    /// Lets the next one begin at once. If that fails, it begins when the Lease has run out.
    async fn give_up(&mut self) {
        let given = async {
            loop {
                let Some(found) = self.api.get_opt(&self.election.name).await? else { return Ok(()) };
                let spec = found.spec.clone().unwrap_or_default();
                if spec.holder_identity.as_deref() != Some(&self.election.identity) {
                    return Ok(());
                }
                let lease = Lease { spec: Some(given_up(&spec, self.election.clock.now())), ..found };
                let params = self.params();
                match self.api.replace(&self.election.name, &params, &lease).await.map_err(Error::from) {
                    // The last renewal was still on its way.
                    Err(Error::Conflict(_)) => {}
                    outcome => return outcome.map(drop),
                }
            }
        };
        match timeout(self.patience(), given).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                debug!(lease = self.election.name, problem = error.said(), "cannot give up")
            }
            Err(_) => debug!(lease = self.election.name, "no answer to giving up"),
        }
    }

    fn params(&self) -> PostParams {
        PostParams { field_manager: Some(self.election.name.clone()), ..PostParams::default() }
    }

    fn tell(&self, what: &str) {
        info!(lease = self.election.name, identity = self.election.identity, what);
        if let Some((lease, _)) = &self.seen {
            let message = format!("{} {what}", self.election.identity);
            let component = self.election.name.clone();
            self.recorder.record(component, lease, Mood::Normal, "LeaderElection", message);
        }
    }

    /// How long one try may take; a second one fits into the deadline.
    fn patience(&self) -> Duration {
        self.election.timing.renew_deadline() / 2
    }

    /// How long to pause before the next try. What is added follows from who tries and how often it did, which
    /// separates candidates as well as chance would.
    fn pause(&self) -> Duration {
        let mut hasher = DefaultHasher::new();
        (&self.election.identity, self.tries).hash(&mut hasher);
        let share = f64::from(u32::try_from(hasher.finish() >> 32).unwrap_or(0)) / f64::from(u32::MAX);
        self.election.timing.retry_period().mul_f64(1.0 + JITTER * share)
    }
}
