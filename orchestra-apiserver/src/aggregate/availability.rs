//! Whether the server behind an `APIService` is there, told as upstream tells it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, header};
use orchestra_core::gvk::GroupVersion;
use orchestra_core::openapi::Part;
use serde_json::Value;
use tokio::time::timeout;

use super::identity::introduce;
use super::table::{RemoteSpec, Swagger};
use super::transport;
use crate::auth::{MASTERS, User};
use crate::body;
use crate::state::State;
use crate::status::StatusError;
use crate::stream;

/// How long a server may take to say what it serves, as upstream's check.
const PATIENCE: Duration = Duration::from_secs(5);
/// The most that is read of what it says.
const MOST_BYTES: usize = 3 << 20;

/// The condition `Available`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Available {
    pub(super) is_true: bool,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

impl Available {
    fn no(reason: &'static str, message: String) -> Self {
        Self { is_true: false, reason, message }
    }
}

/// What a server that is there serves.
#[derive(Debug, Default)]
pub(super) struct Served {
    /// The list of resources of its group and version.
    pub(super) resources: Option<Value>,
    /// Where its OpenAPI document is.
    pub(super) openapi: Option<String>,
    /// Its document of OpenAPI 2.0.
    pub(super) swagger: Option<Swagger>,
}

/// Asks. `known` is its document of OpenAPI 2.0 as it was last seen.
pub(super) async fn check(state: &State, spec: &RemoteSpec, known: Option<&Swagger>) -> (Available, Served) {
    let target = match find(state, spec).await {
        Ok(target) => target,
        Err(problem) => return (problem, Served::default()),
    };
    let url = format!("https://{}:{}{}", target.0, target.1, spec.path());
    match ask(state, spec, target, &spec.path()).await {
        Ok(resources) => {
            // A server may have no OpenAPI documents.
            let index = ask(state, spec, target, "/openapi/v3").await.unwrap_or_default();
            let at = format!("apis/{}/{}", spec.group, spec.version);
            let openapi =
                index.get("paths").and_then(|paths| paths.get(at)?.get("serverRelativeURL")?.as_str());
            let available =
                Available { is_true: true, reason: "Passed", message: "all checks passed".to_owned() };
            let openapi = openapi.map(str::to_owned);
            let swagger = swagger(state, spec, target, known).await;
            (available, Served { resources: Some(resources), openapi, swagger })
        }
        Err(problem) => {
            let message = format!("failing or missing response from {url}: {problem}");
            (Available::no("FailedDiscoveryCheck", message), Served::default())
        }
    }
}

/// The document of OpenAPI 2.0, where there is one; read only when it is another than what is known.
async fn swagger(
    state: &State,
    spec: &RemoteSpec,
    target: (IpAddr, u16),
    known: Option<&Swagger>,
) -> Option<Swagger> {
    let tag = known.and_then(|known| known.tag.as_ref());
    match fetch(state, spec, target, "/openapi/v2", tag).await.ok()? {
        Said::Same => known.cloned(),
        Said::New { tag, text } => {
            let document: Value = serde_json::from_slice(&text).ok()?;
            let gv = GroupVersion { group: spec.group.clone().into(), version: spec.version.clone().into() };
            Some(Swagger { tag, part: Arc::new(Part::of(&document, &gv)) })
        }
    }
}

async fn ask(state: &State, spec: &RemoteSpec, target: (IpAddr, u16), path: &str) -> Result<Value, String> {
    match fetch(state, spec, target, path, None).await? {
        Said::New { text, .. } => serde_json::from_slice(&text).map_err(|problem| problem.to_string()),
        Said::Same => Err("nothing was known that could be unchanged".to_owned()),
    }
}

/// What a server says to whoever may know it already.
enum Said {
    /// What is known holds.
    Same,
    /// This.
    New { tag: Option<HeaderValue>, text: Bytes },
}

async fn fetch(
    state: &State,
    spec: &RemoteSpec,
    target: (IpAddr, u16),
    path: &str,
    known: Option<&HeaderValue>,
) -> Result<Said, String> {
    let asking = async {
        let mut request = Request::get(path)
            .header(header::ACCEPT, "application/json")
            .body(body::whole(""))
            .map_err(|problem| problem.to_string())?;
        if let Some(tag) = known {
            request.headers_mut().insert(header::IF_NONE_MATCH, tag.clone());
        }
        let user = User::new("system:kube-aggregator", [MASTERS.to_owned()]);
        introduce(request.headers_mut(), &user).map_err(|problem| problem.to_string())?;
        let front = state.aggregated.front_proxy.as_ref();
        let answer =
            transport::send(spec, front, target, request).await.map_err(|problem| problem.to_string())?;
        let code = answer.status();
        if code == StatusCode::NOT_MODIFIED && known.is_some() {
            return Ok(Said::Same);
        }
        if !code.is_success() {
            let (ip, port) = target;
            return Err(format!("bad status from https://{ip}:{port}{path}: {}", code.as_u16()));
        }
        let tag = answer.headers().get(header::ETAG).cloned();
        let text = body::read_at_most(answer.into_body(), MOST_BYTES).await;
        let text = text.map_err(|problem| problem.to_string())?;
        Ok(Said::New { tag, text })
    };
    timeout(PATIENCE, asking).await.unwrap_or_else(|_| Err("context deadline exceeded".to_owned()))
}

/// An address of the service.
pub(super) async fn endpoint(state: &State, spec: &RemoteSpec) -> Result<(IpAddr, u16), StatusError> {
    find(state, spec).await.map_err(|problem| StatusError::unavailable(problem.message))
}

async fn find(state: &State, spec: &RemoteSpec) -> Result<(IpAddr, u16), Available> {
    let RemoteSpec { namespace, service: name, port, .. } = spec;
    let access = |problem: StatusError| {
        let message = format!("service/{name} in {namespace:?} cannot be checked due to: {problem}");
        Available::no("ServiceAccessError", message)
    };
    let core = GroupVersion::new("", "v1");
    let found = state.reader.get(&core, "services", namespace, name).await.map_err(access)?;
    let Some(service) = found else {
        let message = format!("service/{name} in {namespace:?} is not present");
        return Err(Available::no("ServiceNotFound", message));
    };
    let ports = service.pointer("/spec/ports").and_then(Value::as_array).into_iter().flatten();
    let mut wanted = ports.filter(|entry| entry.get("port").and_then(Value::as_u64) == Some((*port).into()));
    let Some(entry) = wanted.next() else {
        let message = format!("service/{name} in {namespace:?} is not listening on port {port}");
        return Err(Available::no("ServicePortError", message));
    };
    let port_name = entry.get("name").and_then(Value::as_str).unwrap_or_default();
    let ready = stream::ready_endpoints(state, namespace, name, port_name).await.map_err(access)?;
    let drawn = usize::try_from(state.chance.below(ready.len().max(1) as u64)).unwrap_or_default();
    let Some((address, port)) = ready.get(drawn) else {
        let message = format!(
            "endpoints for service/{name} in {namespace:?} have no addresses with port name {port_name:?}"
        );
        return Err(Available::no("MissingEndpoints", message));
    };
    let address = stream::allowed(address, state.loopback_endpoints).map_err(access)?;
    Ok((address, *port))
}
