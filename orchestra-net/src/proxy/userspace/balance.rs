//! Which backend the next client gets.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::time::Instant;

/// Clients remembered for affinity; beyond that the forgotten are those that may be forgotten anyway, then all.
const MOST_CLIENTS: usize = 65_536;

/// The backends of one port, replaced as a whole when they change.
#[derive(Debug)]
pub(super) struct Balancer {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    backends: Arc<[SocketAddr]>,
    affinity: Option<Duration>,
    clients: HashMap<IpAddr, (SocketAddr, Instant)>,
    chance: SmallRng,
}

impl Balancer {
    pub(super) fn new(backends: Arc<[SocketAddr]>, affinity: Option<Duration>, seed: u64) -> Self {
        let chance = SmallRng::seed_from_u64(seed);
        Self { state: Mutex::new(State { backends, affinity, clients: HashMap::new(), chance }) }
    }

    pub(super) fn update(&self, backends: Arc<[SocketAddr]>, affinity: Option<Duration>) {
        let mut state = self.state();
        state.clients.retain(|_, (backend, _)| affinity.is_some() && backends.contains(backend));
        state.backends = backends;
        state.affinity = affinity;
    }

    /// The backends in the order `client` shall try them.
    pub(super) fn order(&self, client: IpAddr) -> Vec<SocketAddr> {
        let mut state = self.state();
        let count = state.backends.len();
        if count == 0 {
            return Vec::new();
        }
        let preferred = state.remembered(client);
        let start = preferred.unwrap_or_else(|| state.chance.random_range(0..count));
        (0..count).map(|step| state.backends[(start + step) % count]).collect()
    }

    /// Notes that `backend` took `client`.
    pub(super) fn took(&self, client: IpAddr, backend: SocketAddr) {
        let mut state = self.state();
        let Some(affinity) = state.affinity else { return };
        let now = Instant::now();
        if state.clients.len() >= MOST_CLIENTS {
            state.clients.retain(|_, (_, last)| now.duration_since(*last) < affinity);
            if state.clients.len() >= MOST_CLIENTS {
                state.clients.clear();
            }
        }
        state.clients.insert(client, (backend, now));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each critical section leaves the state whole at every step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn remembered(&mut self, client: IpAddr) -> Option<usize> {
        let affinity = self.affinity?;
        let (backend, last) = *self.clients.get(&client)?;
        if last.elapsed() >= affinity {
            self.clients.remove(&client);
            return None;
        }
        self.backends.iter().position(|candidate| *candidate == backend)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backends(count: u8) -> Arc<[SocketAddr]> {
        (1..=count).map(|n| SocketAddr::from(([127, 0, 0, n], 80))).collect()
    }

    #[test]
    fn every_backend_is_tried_once_and_each_comes_first_at_times() {
        let balancer = Balancer::new(backends(3), None, 1);
        let mut firsts = std::collections::HashSet::new();
        for _ in 0..200 {
            let mut order = balancer.order(IpAddr::from([127, 0, 0, 1]));
            firsts.insert(order[0]);
            order.sort();
            assert_eq!(order, *backends(3));
        }
        assert_eq!(firsts.len(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_stays_with_its_backend_until_the_time_is_over_or_the_backend_goes() {
        let client = IpAddr::from([127, 0, 0, 1]);
        let balancer = Balancer::new(backends(8), Some(Duration::from_secs(60)), 1);
        let chosen = balancer.order(client)[0];
        balancer.took(client, chosen);
        assert!((0..50).all(|_| balancer.order(client)[0] == chosen));
        let others: Arc<[SocketAddr]> = backends(8).iter().copied().filter(|b| *b != chosen).collect();
        balancer.update(others, Some(Duration::from_secs(60)));
        assert_ne!(balancer.order(client)[0], chosen);
    }
}
