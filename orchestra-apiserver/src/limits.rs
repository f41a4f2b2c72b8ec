//! How long a request may take, and how many there may be at once.

use std::time::Duration;

/// The bounds that a server keeps its clients in. The defaults are those of `kube-apiserver`, where it has the bound.
///
/// ```
/// use orchestra_apiserver::Limits;
///
/// let mut limits = Limits::default();
/// limits.request_timeout = std::time::Duration::from_secs(30);
/// limits.writes = 50;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// How long a request may take that is no watch and no stream; a client may ask for less with `?timeout=`. As
    /// `--request-timeout`.
    pub request_timeout: Duration,
    /// Watches that name no time of their own last this long, and up to as long again. As `--min-request-timeout`.
    pub min_request_timeout: Duration,
    /// Requests that read, at once; 0 is without bound. As `--max-requests-inflight`.
    pub reads: usize,
    /// Requests that write, at once; 0 is without bound. As `--max-mutating-requests-inflight`.
    pub writes: usize,
    /// Requests that wait until another one has been answered, of those that read and of those that write; more are refused. With
    /// upstream's priority and fairness 64 queues of each level hold 50 each.
    pub waiting: usize,
    /// Streams that are open at once: exec, attach, port-forward and upgraded proxies.
    pub streams: usize,
    /// Connections at once; who comes when there are as many waits. Never more than three quarters of the files that the process
    /// may open.
    pub connections: usize,
    /// How long a client may take to send the first request of a connection.
    pub first_request: Duration,
    /// How long a connection may be without a request.
    pub idle: Duration,
    /// How long a client may leave what it is sent, before the connection is given up.
    pub stalled: Duration,
    /// Watchers of a resource are told of a change at once, and then not again for this long: what changes meanwhile they get
    /// together, so that under load one record and one system call carry several events. The more there are, the longer they rest: 50 µs
    /// for each, up to 10 ms, where that is more. Zero tells of each change as it comes.
    pub watch_pace: Duration,
    /// How long requests are still taken after the server was told to end, while `/readyz` says so. As
    /// `--shutdown-delay-duration`.
    pub shutdown_delay: Duration,
    /// How long requests that are under way may then still take.
    pub farewell: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_timeout: Duration::from_secs(60),
            min_request_timeout: Duration::from_secs(1800),
            reads: 400,
            writes: 200,
            waiting: 3200,
            streams: 4096,
            connections: 10_000,
            first_request: Duration::from_secs(32),
            idle: Duration::from_secs(90),
            stalled: Duration::from_secs(30),
            watch_pace: Duration::from_millis(2),
            shutdown_delay: Duration::ZERO,
            farewell: Duration::from_secs(10),
        }
    }
}
