//! Requests whose connection changes its protocol: exec, attach, port-forward, what a proxy passes on, and watches and logs
//! over a WebSocket.
//!
//! But for the last, the server speaks none of these protocols. It finds out who may do it and which node it concerns, passes the request
//! on, and once the node has agreed, copies bytes between the two connections. Three rules make that safe:
//!
//! - The connection becomes a tunnel only by an answer of 101 to a request that asked for it. Whatever else a node
//!   answers is an ordinary answer, after which the client still talks to this server (CVE-2018-1002105).
//! - What opens a stream to a node is `create`, also when it comes as a GET, as WebSockets do: who may only read runs no commands.
//! - Redirects are never followed (CVE-2020-8559), and of the client's headers only those of the handshake go on.

mod admit;
mod page;
mod pod;
mod proxy;
mod socket;
mod target;
mod tunnels;
mod upgrade;

use http::Response;
use http::request::Parts;

use crate::body::Body;
use crate::request::{RequestInfo, ResourceRequest, Verb};
use crate::server::ask;
use crate::state::{Call, State};
use crate::status::StatusError;
use crate::storage::resource::Resource;

pub(crate) use page::Place;
pub(crate) use proxy::{exchange, onward, returned};
pub(crate) use socket::{Answer, Socket};
pub(crate) use target::{allowed, ready_endpoints};
pub(crate) use tunnels::Tunnels;
pub(crate) use upgrade::{is_asked as is_upgrade, joined, offered};

/// A subresource that is a way to something else.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Connection {
    Pod(pod::Stream),
    Proxy,
}

impl Connection {
    /// What a request connects to, if it is one of these.
    pub(crate) fn find(resource: &Resource, request: &ResourceRequest) -> Option<Self> {
        let is = |plural: &&str| resource.is("", plural);
        match request.subresource.as_deref()? {
            "proxy" => ["pods", "services", "nodes"].iter().any(is).then_some(Self::Proxy),
            name if is(&"pods") => pod::Stream::named(name).map(Self::Pod),
            _ => None,
        }
    }

    /// Connects; the call has no body, for it goes on as it comes.
    pub(crate) async fn open(
        self,
        state: &State,
        call: &Call,
        parts: &mut Parts,
        body: Body,
    ) -> Result<Response<Body>, StatusError> {
        admit::admit(state, call).await?;
        match self {
            Self::Pod(stream) => pod::open(state, stream, call, parts).await,
            Self::Proxy => proxy::proxy(state, call, parts, body).await,
        }
    }
}

/// Asks whether whoever was let in to read may `create` as well.
async fn demand_create(state: &State, call: &Call, path: &str) -> Result<(), StatusError> {
    let create = RequestInfo::Resource(ResourceRequest { verb: Verb::Create, ..call.request.clone() });
    ask(state, &call.user, Verb::Create.as_str(), &create, path).await
}
