//! Datagrams: each client gets a socket towards its backend, through which the replies come back.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::balance::Balancer;

/// A client that sends and receives nothing for so long is forgotten.
const IDLE: Duration = Duration::from_secs(60);
/// Clients served at a time on one port; datagrams of further ones are dropped.
const MOST_CLIENTS: usize = 4_096;
const LARGEST_DATAGRAM: usize = 65_536;

struct Session {
    backend: Arc<UdpSocket>,
    replies: AbortOnDropHandle<()>,
}

/// Listens on `address` until the returned task is aborted.
pub(super) async fn listen(address: SocketAddr, balancer: Arc<Balancer>) -> io::Result<JoinHandle<()>> {
    let socket = Arc::new(UdpSocket::bind(address).await?);
    Ok(tokio::spawn(serve(socket, balancer)))
}

async fn serve(socket: Arc<UdpSocket>, balancer: Arc<Balancer>) {
    let mut sessions: HashMap<SocketAddr, Session> = HashMap::new();
    let mut datagram = vec![0; LARGEST_DATAGRAM];
    loop {
        let (length, from) = match socket.recv_from(&mut datagram).await {
            Ok(received) => received,
            Err(problem) => {
                // An ICMP answer to an earlier reply; the socket itself is fine.
                tracing::trace!(%problem, "datagram not received");
                continue;
            }
        };
        if sessions.get(&from).is_none_or(|session| session.replies.is_finished()) {
            sessions.retain(|_, session| !session.replies.is_finished());
            if sessions.len() >= MOST_CLIENTS {
                continue;
            }
            match open(&socket, from, &balancer).await {
                Ok(Some(session)) => {
                    sessions.insert(from, session);
                }
                Ok(None) => continue,
                Err(problem) => {
                    tracing::debug!(%from, %problem, "no way to a backend");
                    continue;
                }
            }
        }
        if let Some(session) = sessions.get(&from)
            && let Err(problem) = session.backend.send(&datagram[..length]).await
        {
            tracing::trace!(%from, %problem, "backend did not take a datagram");
            // The next datagram of this client chooses again.
            sessions.remove(&from);
        }
    }
}

async fn open(socket: &Arc<UdpSocket>, from: SocketAddr, balancer: &Balancer) -> io::Result<Option<Session>> {
    let Some(chosen) = balancer.order(from.ip()).first().copied() else { return Ok(None) };
    let any: IpAddr = if chosen.is_ipv4() { [0, 0, 0, 0].into() } else { [0u16; 8].into() };
    let backend = Arc::new(UdpSocket::bind((any, 0)).await?);
    backend.connect(chosen).await?;
    balancer.took(from.ip(), chosen);
    let replies = tokio::spawn(return_replies(backend.clone(), socket.clone(), from));
    Ok(Some(Session { backend, replies: AbortOnDropHandle::new(replies) }))
}

async fn return_replies(backend: Arc<UdpSocket>, socket: Arc<UdpSocket>, client: SocketAddr) {
    let mut datagram = vec![0; LARGEST_DATAGRAM];
    while let Ok(Ok(length)) = timeout(IDLE, backend.recv(&mut datagram)).await {
        if socket.send_to(&datagram[..length], client).await.is_err() {
            return;
        }
    }
}
