//! Service ports as sockets of this process: connections are accepted here and carried to a pod.

mod balance;
mod tcp;
mod udp;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Mutex;
use tokio_util::task::AbortOnDropHandle;

use super::{Frontend, Problem, Protocol, ServiceProxy, VirtualPort};
use balance::Balancer;

/// Carries service traffic in user space.
///
/// A connection goes to a random backend of its port; when that one does not take it, the others are tried, so a pod that
/// has just gone costs its clients nothing. Connections outlive the removal of their port or backend.
#[derive(Debug)]
pub struct UserspaceProxy {
    seed: u64,
    open: Mutex<HashMap<Frontend, OpenPort>>,
}

/// A port that answers. Dropping it closes the listening socket and leaves its connections alone.
#[derive(Debug)]
struct OpenPort {
    balancer: Arc<Balancer>,
    _listener: AbortOnDropHandle<()>,
}

impl UserspaceProxy {
    /// A proxy without ports. `seed` decides which backends clients get.
    pub fn new(seed: u64) -> Self {
        Self { seed, open: Mutex::default() }
    }
}

#[async_trait]
impl ServiceProxy for UserspaceProxy {
    async fn sync(&self, ports: Vec<VirtualPort>) -> Vec<Problem> {
        let mut open = self.open.lock().await;
        let mut kept = HashMap::with_capacity(ports.len());
        let mut problems = Vec::new();
        for port in ports {
            match open.remove(&port.frontend) {
                Some(running) => {
                    running.balancer.update(port.backends, port.affinity);
                    kept.insert(port.frontend, running);
                }
                None => match start(&port, self.seed).await {
                    Ok(started) => {
                        kept.insert(port.frontend, started);
                    }
                    Err(problem) => problems.push(Problem {
                        service: port.service,
                        frontend: port.frontend,
                        message: explain(port.frontend, &problem),
                    }),
                },
            }
        }
        *open = kept;
        problems
    }
}

async fn start(port: &VirtualPort, seed: u64) -> io::Result<OpenPort> {
    let address = SocketAddr::new(port.frontend.address, port.frontend.port);
    let balancer =
        Arc::new(Balancer::new(port.backends.clone(), port.affinity, seed ^ u64::from(port.frontend.port)));
    let listener = match port.frontend.protocol {
        Protocol::Tcp => tcp::listen(address, balancer.clone()).await?,
        Protocol::Udp => udp::listen(address, balancer.clone()).await?,
    };
    Ok(OpenPort { balancer, _listener: AbortOnDropHandle::new(listener) })
}

fn explain(frontend: Frontend, problem: &io::Error) -> String {
    let place = SocketAddr::new(frontend.address, frontend.port);
    match problem.kind() {
        io::ErrorKind::PermissionDenied => {
            format!(
                "cannot listen on {place}: ports below 1024 need root or the sysctl net.ipv4.ip_unprivileged_port_start"
            )
        }
        io::ErrorKind::AddrInUse => format!("cannot listen on {place}: another program listens there"),
        _ => format!("cannot listen on {place}: {problem}"),
    }
}

#[cfg(test)]
mod tests;
