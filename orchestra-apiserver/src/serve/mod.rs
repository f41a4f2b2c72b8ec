//! The server on a socket: connections, their bounds, and the end of it all in order.

mod connection;
pub(crate) mod ledger;
mod pace;
mod refusal;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{sleep, sleep_until, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::limits::Limits;
use crate::server::ApiServer;
use connection::Host;

pub(crate) use connection::Peer;

/// A pause after an accept that failed for want of something, so that it does not spin.
const BREATHER: Duration = Duration::from_millis(50);

impl ApiServer {
    /// Answers on `listener` until `shutdown`: over TLS, where client certificates tell who asks, or in the clear, where
    /// nobody is known.
    ///
    /// The end has an order. `/readyz` says at once that the server goes; for [`Limits::shutdown_delay`] requests are still
    /// taken, so that balancers can notice. Then nobody new is let in, watches and streams are ended, and requests that are under way
    /// get [`Limits::farewell`].
    ///
    /// # Errors
    /// When the socket does not know its own address. Failures of single connections are logged.
    pub async fn serve(
        &self,
        listener: TcpListener,
        tls: Option<Arc<ServerConfig>>,
        shutdown: CancellationToken,
    ) -> io::Result<()> {
        tracing::info!(address = %listener.local_addr()?, "the API server listens");
        let limits = &self.state.limits;
        let (connections, leave) = (TaskTracker::new(), CancellationToken::new());
        let places = Arc::new(Semaphore::new(most_connections(limits)));
        let host =
            Host { server: self.clone(), acceptor: tls.map(TlsAcceptor::from), shutdown: leave.clone() };
        let closing = async {
            shutdown.cancelled().await;
            self.announce_end();
            sleep(limits.shutdown_delay).await;
        };
        tokio::pin!(closing);
        loop {
            let accepted = tokio::select! {
                () = &mut closing => break,
                accepted = accept(&listener, &places) => accepted,
            };
            match accepted {
                Ok((stream, from, place)) => {
                    let host = host.clone();
                    connections.spawn(async move {
                        host.welcome(stream, from).await;
                        drop(place);
                    });
                }
                Err(problem) => {
                    tracing::warn!(%problem, "could not accept a connection");
                    tokio::select! {
                        () = &mut closing => break,
                        () = sleep(BREATHER) => {}
                    }
                }
            }
        }
        drop(listener);
        leave.cancel();
        self.stop_watches();
        connections.close();
        let end = tokio::time::Instant::now() + limits.farewell;
        if timeout_at(end, connections.wait()).await.is_err() {
            tracing::warn!(open = connections.len(), "some requests did not end in time");
        }
        tokio::select! {
            () = self.state.streams.ended() => {}
            () = sleep_until(end) => tracing::warn!("some streams did not end in time"),
        }
        self.flush_audit(end).await;
        Ok(())
    }

    /// What happened is on disk when the server has ended, if the disk does not take for ever.
    async fn flush_audit(&self, end: tokio::time::Instant) {
        let Some(audit) = &self.state.audit else { return };
        if timeout_at(end, audit.flush()).await.is_err() {
            tracing::warn!("the audit log was not written to its end");
        }
    }
}

type Accepted = (tokio::net::TcpStream, std::net::SocketAddr, tokio::sync::OwnedSemaphorePermit);

/// The next connection, once there is a place for it. Until then it waits in the kernel.
async fn accept(listener: &TcpListener, places: &Arc<Semaphore>) -> io::Result<Accepted> {
    let place = Arc::clone(places).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, from) = listener.accept().await?;
    Ok((stream, from, place))
}

/// As many as are allowed, but a quarter of the files that the process may open is left to others.
fn most_connections(limits: &Limits) -> usize {
    let text = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let files = text.lines().find_map(|line| {
        line.strip_prefix("Max open files")?.split_whitespace().next()?.parse::<usize>().ok()
    });
    let most = files.map_or(limits.connections, |files| limits.connections.min(files / 4 * 3));
    most.clamp(1, Semaphore::MAX_PERMITS)
}
