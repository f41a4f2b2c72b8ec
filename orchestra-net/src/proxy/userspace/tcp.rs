//! Connections: accept, choose, carry.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::balance::Balancer;

/// How long a backend may take to accept before the next one is tried.
const CONNECT: Duration = Duration::from_secs(5);
/// A pause after an accept that failed for want of something (file descriptors, memory), so that it does not spin.
const BREATHER: Duration = Duration::from_millis(50);

/// Listens on `address` until the returned task is aborted.
pub(super) async fn listen(address: SocketAddr, balancer: Arc<Balancer>) -> io::Result<JoinHandle<()>> {
    let listener = TcpListener::bind(address).await?;
    Ok(tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((client, from)) => {
                    tokio::spawn(carry(client, from, balancer.clone()));
                }
                Err(problem) => {
                    tracing::debug!(%address, %problem, "could not accept a connection");
                    sleep(BREATHER).await;
                }
            }
        }
    }))
}

async fn carry(mut client: TcpStream, from: SocketAddr, balancer: Arc<Balancer>) {
    let Some(mut backend) = connect(from, &balancer).await else {
        refuse(client);
        return;
    };
    for stream in [&client, &backend] {
        if let Err(problem) = stream.set_nodelay(true) {
            tracing::debug!(%problem, "could not turn off Nagle's algorithm");
        }
    }
    // Either side may break off; that is its right and nothing to report.
    if let Err(problem) = copy_bidirectional(&mut client, &mut backend).await {
        tracing::trace!(%from, %problem, "connection broken off");
    }
}

async fn connect(from: SocketAddr, balancer: &Balancer) -> Option<TcpStream> {
    for candidate in balancer.order(from.ip()) {
        match timeout(CONNECT, TcpStream::connect(candidate)).await {
            Ok(Ok(stream)) => {
                balancer.took(from.ip(), candidate);
                return Some(stream);
            }
            Ok(Err(problem)) => tracing::debug!(%candidate, %problem, "backend did not take the connection"),
            Err(_) => tracing::debug!(%candidate, "backend did not answer in time"),
        }
    }
    None
}

/// Ends a connection that nobody serves with a reset, as kube-proxy's reject rule does for a service without endpoints.
fn refuse(client: TcpStream) {
    if let Err(problem) = client.set_zero_linger() {
        tracing::debug!(%problem, "could not reset a connection");
    }
}
