//! The members of an etcd cluster, and calls to them: which member is asked, when another one is, and what is never asked twice.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures::channel::mpsc;
use http::uri::PathAndQuery;
use prost::Message;
use tokio::time::{Instant, sleep, timeout};
use tonic::client::Grpc;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Status, Streaming};
use tonic_prost::ProstCodec;

use super::counters::Counters;
use super::failure::{Failure, judge};
use super::options::{EtcdOptions, Login};
use super::proto::{
    AuthenticateRequest, AuthenticateResponse, CompactionResponse, LeaseGrantResponse,
    LeaseKeepAliveResponse, LeaseLeasesResponse, LeaseRevokeResponse, LeaseTimeToLiveResponse, RangeResponse,
    StatusResponse, TxnResponse, WatchRequest, WatchResponse,
};
use crate::store::{Error, Result};

/// How long one member may take to answer a read before another one is asked.
const READ_TRY: Duration = Duration::from_secs(3);
/// How long a member may take to answer a write. etcd itself gives up after some seven seconds.
const WRITE_TRY: Duration = Duration::from_secs(10);
/// How long members are asked in turn until one answers.
const PATIENCE: Duration = Duration::from_secs(10);
const CONNECT: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// How often a silent connection is tried. etcd takes more than one ping in five seconds for an attack.
const PING: Duration = Duration::from_secs(10);
/// A member that answers no ping for this long is given up.
const PONG: Duration = Duration::from_secs(5);
/// So large that streams which nobody reads for a while do not hold up the others on their connection.
const CONNECTION_WINDOW: u32 = 1 << 30;
const STREAM_WINDOW: u32 = 1 << 20;

/// A call of etcd's API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Method(&'static str);

pub(super) const RANGE: Method = Method("/etcdserverpb.KV/Range");
pub(super) const TXN: Method = Method("/etcdserverpb.KV/Txn");
pub(super) const COMPACT: Method = Method("/etcdserverpb.KV/Compact");
pub(super) const STATUS: Method = Method("/etcdserverpb.Maintenance/Status");
pub(super) const GRANT: Method = Method("/etcdserverpb.Lease/LeaseGrant");
pub(super) const REVOKE: Method = Method("/etcdserverpb.Lease/LeaseRevoke");
/// A stream of which one question and one answer are used.
pub(super) const KEEP_ALIVE: Method = Method("/etcdserverpb.Lease/LeaseKeepAlive");
pub(super) const TIME_TO_LIVE: Method = Method("/etcdserverpb.Lease/LeaseTimeToLive");
pub(super) const LEASES: Method = Method("/etcdserverpb.Lease/LeaseLeases");
const WATCH: Method = Method("/etcdserverpb.Watch/Watch");
const AUTHENTICATE: Method = Method("/etcdserverpb.Auth/Authenticate");

/// An answer that may say at which revision etcd was.
pub(super) trait Answer: Message + Default + 'static {
    /// The revision of a linearizable answer.
    fn revision(&self) -> Option<i64>;
}

macro_rules! answers {
    ($($linearizable:ty),*; $($other:ty),*) => {
        $(impl Answer for $linearizable {
            fn revision(&self) -> Option<i64> {
                self.header.as_ref().map(|header| header.revision)
            }
        })*
        // What they say is what the member that was asked knows, which may be old.
        $(impl Answer for $other {
            fn revision(&self) -> Option<i64> {
                None
            }
        })*
    };
}

answers! {
    RangeResponse, TxnResponse, LeaseRevokeResponse;
    CompactionResponse, StatusResponse, LeaseGrantResponse, LeaseKeepAliveResponse, LeaseTimeToLiveResponse, LeaseLeasesResponse
}

/// What each try of a call may take.
#[derive(Clone, Copy, Debug)]
struct Each {
    time: Duration,
    /// Bytes of the answer.
    answer: usize,
}

/// All members of one etcd cluster.
#[derive(Debug)]
pub(super) struct Connection {
    members: Vec<Channel>,
    /// The member that is asked first.
    current: AtomicUsize,
    login: Option<Login>,
    token: RwLock<Option<MetadataValue<Ascii>>>,
    /// The highest revision that any answer had.
    seen: AtomicI64,
    /// It was set back to an old copy, or replaced, and is not spoken to any more.
    went_back: AtomicBool,
    counters: Arc<Counters>,
}

impl Connection {
    /// Connects when first used.
    pub(super) fn new(options: &EtcdOptions) -> Result<Self> {
        let members =
            options.endpoints.iter().map(|endpoint| channel(endpoint, options)).collect::<Result<_>>()?;
        Ok(Self {
            members,
            current: AtomicUsize::new(0),
            login: options.login.clone(),
            token: RwLock::default(),
            seen: AtomicI64::new(0),
            went_back: AtomicBool::new(false),
            counters: Arc::default(),
        })
    }

    /// Asks until a member answers: for what changes nothing, or does no more when done twice.
    pub(super) async fn ask<Q, A>(&self, method: Method, question: Q) -> Result<A, Status>
    where
        Q: Message + Clone + 'static,
        A: Answer,
    {
        self.ask_for_at_most(usize::MAX, method, question).await
    }

    /// [`ask`](Self::ask), for an answer of at most so many bytes: [`Failure::LongAnswer`] when it is longer, which is found out
    /// before it is received.
    pub(super) async fn ask_for_at_most<Q, A>(
        &self,
        bytes: usize,
        method: Method,
        question: Q,
    ) -> Result<A, Status>
    where
        Q: Message + Clone + 'static,
        A: Answer,
    {
        let each = Each { time: READ_TRY, answer: bytes };
        self.attempt(method, question, each, |failure| matches!(failure, Failure::NotDone | Failure::Unknown))
            .await
    }

    /// Sends what must not be done twice: again only when it is certain that nothing was done.
    pub(super) async fn send<Q, A>(&self, method: Method, order: Q) -> Result<A, Status>
    where
        Q: Message + Clone + 'static,
        A: Answer,
    {
        let each = Each { time: WRITE_TRY, answer: usize::MAX };
        self.attempt(method, order, each, |failure| failure == Failure::NotDone).await
    }

    async fn attempt<Q, A>(
        &self,
        method: Method,
        request: Q,
        each: Each,
        again: impl Fn(Failure) -> bool,
    ) -> Result<A, Status>
    where
        Q: Message + Clone + 'static,
        A: Answer,
    {
        self.check_place()?;
        let deadline = Instant::now() + PATIENCE;
        let (mut pause, mut logged_in_anew) = (PAUSE, false);
        loop {
            let member = self.current.load(Ordering::Relaxed);
            let before = self.seen.load(Ordering::Relaxed);
            let status = match self.call(member, method, request.clone(), each).await {
                Ok(answer) => return self.not_before(before, answer),
                Err(status) => status,
            };
            let failure = judge(&status);
            if failure == Failure::Login && self.login.is_some() && !logged_in_anew {
                logged_in_anew = true;
                self.forget_token();
                continue;
            }
            if matches!(failure, Failure::NotDone | Failure::Unknown) {
                self.turn_from(member);
            }
            if !again(failure) || Instant::now() + pause > deadline {
                return Err(status);
            }
            tracing::debug!(method = method.0, %status, "etcd did not answer; asking again");
            self.counters.retried();
            sleep(pause).await;
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
    }

    async fn call<Q, A>(&self, member: usize, method: Method, request: Q, each: Each) -> Result<A, Status>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let _in_flight = self.counters.request();
        let call = async {
            let mut request = Request::new(request);
            self.prepare(member, &mut request).await?;
            self.unary(member, method, request, each.answer).await
        };
        timeout(each.time, call).await.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer in time")))
    }

    async fn unary<Q, A>(
        &self,
        member: usize,
        method: Method,
        request: Request<Q>,
        longest: usize,
    ) -> Result<A, Status>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let mut client = self.client(member)?.max_decoding_message_size(longest);
        client.ready().await.map_err(|error| Status::from_error(error.into()))?;
        let path = PathAndQuery::from_static(method.0);
        Ok(client.unary(request, path, ProstCodec::default()).await?.into_inner())
    }

    /// Opens a stream of watches on the member that is asked first. It lives as long as the sender of its orders.
    pub(super) async fn watch(
        &self,
        first: WatchRequest,
    ) -> Result<(mpsc::UnboundedSender<WatchRequest>, Streaming<WatchResponse>), Status> {
        self.check_place()?;
        let member = self.current.load(Ordering::Relaxed);
        let opened = async {
            let (orders, requests) = mpsc::unbounded();
            // The receiver is at hand, so this cannot fail.
            let _sent = orders.unbounded_send(first);
            let mut request = Request::new(requests);
            self.prepare(member, &mut request).await?;
            let mut client = self.client(member)?;
            client.ready().await.map_err(|error| Status::from_error(error.into()))?;
            let path = PathAndQuery::from_static(WATCH.0);
            let answers = client.streaming(request, path, ProstCodec::default()).await?;
            Ok((orders, answers.into_inner()))
        };
        let opened = timeout(READ_TRY, opened).await;
        let opened = opened.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer in time")));
        opened.inspect_err(|status| self.turn_from_after(member, status))
    }

    /// What a broken stream tells about its member.
    pub(super) fn turn_from_after(&self, member: usize, status: &Status) {
        match judge(status) {
            Failure::Login => self.forget_token(),
            _ => self.turn_from(member),
        }
    }

    /// What is counted here.
    pub(super) fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// The member that is asked first.
    pub(super) fn current(&self) -> usize {
        self.current.load(Ordering::Relaxed)
    }

    fn client(&self, member: usize) -> Result<Grpc<Channel>, Status> {
        let channel = self.members.get(member).ok_or_else(|| Status::internal("no such member"))?;
        Ok(Grpc::new(channel.clone())
            .max_decoding_message_size(usize::MAX)
            .max_encoding_message_size(usize::MAX))
    }

    /// Asks another member first from now on, unless that happened already.
    fn turn_from(&self, member: usize) {
        let next = (member + 1) % self.members.len();
        if self.current.compare_exchange(member, next, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.counters.reconnected();
        }
    }

    /// Revisions never fall. If they do, etcd is not the one it was: it was set back to an old copy, or replaced.
    fn not_before<A: Answer>(&self, before: i64, answer: A) -> Result<A, Status> {
        let Some(revision) = answer.revision() else { return Ok(answer) };
        self.seen.fetch_max(revision, Ordering::Relaxed);
        if revision < before {
            self.went_back.store(true, Ordering::Relaxed);
            return Err(Status::data_loss(format!("it went back from revision {before} to {revision}")));
        }
        Ok(answer)
    }

    /// Nothing is asked of an etcd that went back: its revisions would rise beyond those seen, and mean something else.
    fn check_place(&self) -> Result<(), Status> {
        match self.went_back.load(Ordering::Relaxed) {
            true => Err(Status::data_loss("it went back to an earlier revision; start anew")),
            false => Ok(()),
        }
    }

    /// The highest revision that any answer had.
    pub(super) fn seen(&self) -> i64 {
        self.seen.load(Ordering::Relaxed)
    }

    async fn prepare<T>(&self, member: usize, request: &mut Request<T>) -> Result<(), Status> {
        let metadata = request.metadata_mut();
        // A member that is cut off from the others says so at once instead of letting us wait.
        metadata.insert("hasleader", MetadataValue::from_static("true"));
        if let Some(login) = &self.login {
            metadata.insert("token", self.token(member, login).await?);
        }
        Ok(())
    }

    async fn token(&self, member: usize, login: &Login) -> Result<MetadataValue<Ascii>, Status> {
        if let Some(token) = &*self.token.read().unwrap_or_else(PoisonError::into_inner) {
            return Ok(token.clone());
        }
        // Callers that find no token at the same time each get their own; any of them will do.
        let question = AuthenticateRequest { name: login.user.clone(), password: login.password.clone() };
        let mut request = Request::new(question);
        request.metadata_mut().insert("hasleader", MetadataValue::from_static("true"));
        let answer: AuthenticateResponse = self.unary(member, AUTHENTICATE, request, usize::MAX).await?;
        let token: MetadataValue<Ascii> =
            answer.token.parse().map_err(|_| Status::internal("etcd's token cannot be sent"))?;
        *self.token.write().unwrap_or_else(PoisonError::into_inner) = Some(token.clone());
        Ok(token)
    }

    fn forget_token(&self) {
        *self.token.write().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

fn channel(endpoint: &str, options: &EtcdOptions) -> Result<Channel> {
    let failed = |error: tonic::transport::Error| Error::Backend { backend: "etcd", source: Box::new(error) };
    let mut built = Endpoint::from_shared(endpoint.to_owned())
        .map_err(failed)?
        .connect_timeout(CONNECT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(PING)
        .keep_alive_timeout(PONG)
        .keep_alive_while_idle(true)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .initial_stream_window_size(STREAM_WINDOW);
    if endpoint.starts_with("https://") {
        let Some(authority) = &options.authority else {
            return Err(Error::Invalid("TLS to etcd needs the authority that signed its certificate"));
        };
        let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authority));
        if let Some(identity) = &options.identity {
            tls = tls.identity(Identity::from_pem(&identity.certificate, &identity.key));
        }
        built = built.tls_config(tls).map_err(failed)?;
    }
    Ok(built.connect_lazy())
}
