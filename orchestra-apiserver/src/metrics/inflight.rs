//! The most requests that were under way at once, lately.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

/// How many requests of one sort are under way. Clones count the same.
#[derive(Clone, Debug)]
pub(super) struct Inflight(Arc<Mutex<Window>>);

#[derive(Debug)]
struct Window {
    begun: Instant,
    now: i64,
    /// The second since the begin that `most` is of.
    second: u64,
    most: i64,
    /// The most of the second before.
    before: i64,
}

impl Default for Inflight {
    fn default() -> Self {
        let window = Window { begun: Instant::now(), now: 0, second: 0, most: 0, before: 0 };
        Self(Arc::new(Mutex::new(window)))
    }
}

impl Inflight {
    /// One more, until what is given is dropped.
    pub(super) fn enter(&self) -> Underway {
        let mut window = self.window();
        window.now += 1;
        window.most = window.most.max(window.now);
        Underway(self.clone())
    }

    /// The most in this second and the last one.
    pub(super) fn most(&self) -> i64 {
        let window = self.window();
        window.most.max(window.before)
    }

    fn window(&self) -> MutexGuard<'_, Window> {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let second = window.begun.elapsed().as_secs();
        if second > window.second {
            window.before = if second == window.second + 1 { window.most } else { window.now };
            window.most = window.now;
            window.second = second;
        }
        window
    }
}

/// A request that is under way.
#[derive(Debug)]
pub(super) struct Underway(Inflight);

impl Drop for Underway {
    fn drop(&mut self) {
        self.0.window().now -= 1;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_most_is_remembered_for_a_second_and_then_forgotten() {
        let inflight = Inflight::default();
        let both = (inflight.enter(), inflight.enter());
        assert_eq!(inflight.most(), 2);
        drop(both);
        assert_eq!(inflight.most(), 2);
        advance(Duration::from_secs(1)).await;
        assert_eq!(inflight.most(), 2, "in the last second");
        advance(Duration::from_secs(1)).await;
        assert_eq!(inflight.most(), 0);
        let _stays = inflight.enter();
        advance(Duration::from_secs(60)).await;
        assert_eq!(inflight.most(), 1);
    }
}
