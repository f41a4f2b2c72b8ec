//! The tunnels that are open: how many there may be, and their end.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::status::StatusError;

/// All tunnels of a server.
#[derive(Debug)]
pub(crate) struct Tunnels {
    places: Arc<Semaphore>,
    open: TaskTracker,
    shutdown: CancellationToken,
}

/// A place for one tunnel.
#[derive(Debug)]
pub(crate) struct Place(OwnedSemaphorePermit);

impl Tunnels {
    pub(crate) fn new(most: usize, shutdown: CancellationToken) -> Self {
        let places = Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)));
        Self { places, open: TaskTracker::new(), shutdown }
    }

    /// A place, taken before a node is asked for anything.
    pub(crate) fn place(&self) -> Result<Place, StatusError> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        place
            .map(Place)
            .map_err(|_| StatusError::too_many_requests("Too many open streams, please try again later.", 1))
    }

    /// Runs a tunnel, which is given what tells it to end.
    pub(super) fn run<F>(&self, place: Place, tunnel: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let tunnel = tunnel(self.shutdown.clone());
        self.open.spawn(async move {
            tunnel.await;
            drop(place.0);
        });
    }

    /// Waits until all have ended.
    pub(crate) async fn ended(&self) {
        self.open.close();
        self.open.wait().await;
    }
}
