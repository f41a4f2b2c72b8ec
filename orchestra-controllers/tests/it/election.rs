//! Candidates with clocks that disagree, on a network that fails them: one leads, never two.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use jiff::SignedDuration;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Event;
use kube::api::{DeleteParams, ListParams};
use kube::{Api, Client};
use orchestra_apiserver::{ApiServer, RuntimeClock};
use orchestra_controllers::Clock;
use orchestra_controllers::election::Election;
use orchestra_store::MemoryStore;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tower::BoxError;

use crate::cluster::until_within;

const START: &str = "2026-01-01T00:00:00Z";

async fn server() -> ApiServer {
    let clock = RuntimeClock::starting_at(START.parse().unwrap());
    ApiServer::builder(Arc::new(MemoryStore::new())).clock(clock).build().await.unwrap()
}

/// What a network does to one candidate.
#[derive(Debug, Default)]
struct Network {
    /// Nothing comes through, and nobody says so.
    is_silent: AtomicBool,
    /// Requests arrive, and their answers are lost.
    is_deaf: AtomicBool,
}

impl Network {
    fn client(self: &Arc<Self>, server: &ApiServer) -> Client {
        let (network, server) = (self.clone(), server.client("default"));
        let service = tower::service_fn(move |request| {
            let (network, server) = (network.clone(), server.clone());
            async move {
                if network.is_silent.load(Ordering::SeqCst) {
                    std::future::pending::<()>().await;
                }
                let answer = server.send(request).await?;
                if network.is_deaf.load(Ordering::SeqCst) {
                    return Err(BoxError::from("the connection was lost"));
                }
                Ok::<_, BoxError>(answer)
            }
        });
        Client::new(service, "default")
    }
}

/// Who leads, and whether ever two did.
#[derive(Debug, Default)]
struct Throne {
    leading: AtomicUsize,
    most: AtomicUsize,
    reigns: AtomicUsize,
}

struct Reign(Arc<Throne>);

impl Reign {
    fn begin(throne: &Arc<Throne>) -> Self {
        let leading = throne.leading.fetch_add(1, Ordering::SeqCst) + 1;
        throne.most.fetch_max(leading, Ordering::SeqCst);
        throne.reigns.fetch_add(1, Ordering::SeqCst);
        Self(throne.clone())
    }
}

impl Drop for Reign {
    fn drop(&mut self) {
        self.0.leading.fetch_sub(1, Ordering::SeqCst);
    }
}

struct Candidate {
    network: Arc<Network>,
    shutdown: CancellationToken,
    task: JoinHandle<Option<()>>,
}

fn stand(server: &ApiServer, identity: &str, throne: &Arc<Throne>, skew: SignedDuration) -> Candidate {
    let network = Arc::new(Network::default());
    let (client, shutdown) = (network.client(server), CancellationToken::new());
    let start = START.parse::<jiff::Timestamp>().unwrap() + skew;
    let election = Election::new("work", identity).namespace("default").clock(Clock::ticking_from(start));
    let (throne, stop) = (throne.clone(), shutdown.clone());
    let task = tokio::spawn(async move {
        let work = |told: CancellationToken| {
            let reign = Reign::begin(&throne);
            async move {
                told.cancelled().await;
                drop(reign);
            }
        };
        election.run(client, stop, work).await
    });
    Candidate { network, shutdown, task }
}

async fn lease(server: &ApiServer) -> Lease {
    Api::<Lease>::namespaced(server.client("default"), "default").get("work").await.unwrap()
}

async fn until(what: &str, limit: Duration, holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(timeout(limit, waiting).await.is_ok(), "never came to be: {what}");
}

#[tokio::test(start_paused = true)]
async fn the_first_leads_at_once_and_one_that_stops_hands_over() {
    let (server, throne) = (server().await, Arc::new(Throne::default()));
    let start = Instant::now();
    let one = stand(&server, "one", &throne, SignedDuration::ZERO);
    until("a leader", Duration::from_secs(1), || throne.leading.load(Ordering::SeqCst) == 1).await;
    assert!(start.elapsed() < Duration::from_secs(1));
    let two = stand(&server, "two", &throne, SignedDuration::ZERO);
    sleep(Duration::from_secs(120)).await;
    assert_eq!(throne.reigns.load(Ordering::SeqCst), 1, "the first still leads");
    one.shutdown.cancel();
    assert_eq!(one.task.await.unwrap(), Some(()));
    let given_up = lease(&server).await.spec.unwrap();
    assert_eq!((given_up.holder_identity.as_deref(), given_up.lease_duration_seconds), (Some(""), Some(1)));
    // The longest pause between two tries, and no lease to be waited for.
    until("a successor", Duration::from_millis(4_500), || throne.leading.load(Ordering::SeqCst) == 1).await;
    let taken = lease(&server).await.spec.unwrap();
    assert_eq!((taken.holder_identity.as_deref(), taken.lease_transitions), (Some("two"), Some(1)));
    let events: Api<Event> = Api::namespaced(server.client("default"), "default");
    let said = until_within(Duration::from_secs(9), &events, "two events", |all| all.len() == 2).await;
    let said: Vec<_> = said.iter().map(|event| (event.reason.as_deref(), event.message.as_deref())).collect();
    let reason = Some("LeaderElection");
    assert_eq!(said, [(reason, Some("one became leader")), (reason, Some("two became leader"))]);
    two.shutdown.cancel();
    two.task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn one_that_is_killed_is_succeeded_when_its_lease_has_run_out_whatever_the_clocks_say() {
    for hours in [-24, 0, 24] {
        let (server, throne) = (server().await, Arc::new(Throne::default()));
        let one = stand(&server, "one", &throne, SignedDuration::from_hours(hours));
        until("a leader", Duration::from_secs(1), || throne.leading.load(Ordering::SeqCst) == 1).await;
        let two = stand(&server, "two", &throne, SignedDuration::ZERO);
        sleep(Duration::from_secs(60)).await;
        one.task.abort();
        assert!(one.task.await.is_err());
        let killed = Instant::now();
        until("a successor", Duration::from_secs(24), || throne.leading.load(Ordering::SeqCst) == 1).await;
        // Seen last up to a retry period before the end.
        assert!(killed.elapsed() > Duration::from_secs(12), "{:?}", killed.elapsed());
        two.shutdown.cancel();
        two.task.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_comes_back_under_its_own_name_does_not_wait() {
    let (server, throne) = (server().await, Arc::new(Throne::default()));
    let one = stand(&server, "one", &throne, SignedDuration::ZERO);
    until("a leader", Duration::from_secs(1), || throne.leading.load(Ordering::SeqCst) == 1).await;
    one.task.abort();
    assert!(one.task.await.is_err());
    let again = stand(&server, "one", &throne, SignedDuration::ZERO);
    until("the leader again", Duration::from_secs(1), || throne.leading.load(Ordering::SeqCst) == 1).await;
    assert_eq!(lease(&server).await.spec.unwrap().lease_transitions, Some(0));
    again.shutdown.cancel();
    again.task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn one_that_is_cut_off_stops_before_another_begins() {
    let (server, throne) = (server().await, Arc::new(Throne::default()));
    let one = stand(&server, "one", &throne, SignedDuration::ZERO);
    until("a leader", Duration::from_secs(1), || throne.leading.load(Ordering::SeqCst) == 1).await;
    let two = stand(&server, "two", &throne, SignedDuration::ZERO);
    sleep(Duration::from_secs(30)).await;
    one.network.is_silent.store(true, Ordering::SeqCst);
    until("nobody leads", Duration::from_secs(11), || throne.leading.load(Ordering::SeqCst) == 0).await;
    until("a successor", Duration::from_secs(15), || throne.leading.load(Ordering::SeqCst) == 1).await;
    one.network.is_silent.store(false, Ordering::SeqCst);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(lease(&server).await.spec.unwrap().holder_identity.as_deref(), Some("two"));
    assert_eq!(throne.most.load(Ordering::SeqCst), 1);
    for candidate in [one, two] {
        candidate.shutdown.cancel();
        candidate.task.await.unwrap();
    }
}

/// Answers are lost and candidates are cut off, as the seed has it.
#[tokio::test(start_paused = true)]
async fn never_do_two_lead_on_a_network_that_fails() {
    for seed in 1..=20_u64 {
        let (server, throne) = (server().await, Arc::new(Throne::default()));
        let candidates: Vec<_> = ["one", "two", "three"]
            .into_iter()
            .zip([-7, 0, 9])
            .map(|(name, hours)| stand(&server, name, &throne, SignedDuration::from_hours(hours)))
            .collect();
        let mut state = seed;
        let mut draw = |below: u64| {
            // Numerical Recipes' generator; its high bits are even enough to choose by.
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        for _ in 0..60 {
            let network = &candidates[usize::try_from(draw(3)).unwrap()].network;
            network.is_silent.store(draw(2) == 0, Ordering::SeqCst);
            network.is_deaf.store(draw(3) == 0, Ordering::SeqCst);
            sleep(Duration::from_millis(100 + draw(12_000))).await;
        }
        for candidate in &candidates {
            candidate.network.is_silent.store(false, Ordering::SeqCst);
            candidate.network.is_deaf.store(false, Ordering::SeqCst);
        }
        until("a leader", Duration::from_secs(30), || throne.leading.load(Ordering::SeqCst) == 1).await;
        assert_eq!(throne.most.load(Ordering::SeqCst), 1, "seed {seed}");
        assert!(throne.reigns.load(Ordering::SeqCst) > 1, "seed {seed} tried nothing");
        for candidate in candidates {
            candidate.shutdown.cancel();
            candidate.task.await.unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_somebody_removes_is_made_again() {
    let (server, throne) = (server().await, Arc::new(Throne::default()));
    let one = stand(&server, "one", &throne, SignedDuration::ZERO);
    until("a leader", Duration::from_secs(1), || throne.leading.load(Ordering::SeqCst) == 1).await;
    let leases: Api<Lease> = Api::namespaced(server.client("default"), "default");
    leases.delete("work", &DeleteParams::default()).await.unwrap();
    sleep(Duration::from_secs(3)).await;
    assert_eq!(leases.list(&ListParams::default()).await.unwrap().items.len(), 1);
    assert_eq!(throne.reigns.load(Ordering::SeqCst), 1);
    one.shutdown.cancel();
    one.task.await.unwrap();
}
