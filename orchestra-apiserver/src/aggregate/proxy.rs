//! Passes a request on to the server whose business it is.

use http::request::Parts;
use http::{Request, Response, StatusCode};

use super::identity::introduce;
use super::table::Remote;
use super::{availability, transport};
use crate::auth::User;
use crate::body::Body;
use crate::request::RequestInfo;
use crate::state::State;
use crate::status::StatusError;
use crate::stream;

/// Answers with what the other server answers. The caller has let the user in.
pub(crate) async fn pass_on(
    state: &State,
    remote: &Remote,
    info: &RequestInfo,
    parts: &mut Parts,
    body: Body,
    user: &User,
) -> Result<Response<Body>, StatusError> {
    let unavailable = || StatusError::unavailable("service unavailable");
    if !remote.is_available {
        return Err(unavailable());
    }
    let upgrade = stream::is_upgrade(&parts.headers);
    let place = upgrade.then(|| state.streams.place()).transpose()?;
    let target = availability::endpoint(state, &remote.spec).await.map_err(|_| unavailable())?;
    let path = parts.uri.path_and_query().map_or("/", |both| both.as_str());
    let mut headers = stream::onward(&parts.headers, upgrade, parts.uri.path());
    introduce(&mut headers, user)?;
    let mut request = Request::builder()
        .method(&parts.method)
        .uri(place_of(remote, info, path))
        .body(body)
        .map_err(|error| StatusError::bad_request(error.to_string()))?;
    *request.headers_mut() = headers;
    let unreachable = |error| StatusError::unavailable(format!("error trying to reach service: {error}"));
    let front = state.aggregated.front_proxy.as_ref();
    let mut answer = transport::send(&remote.spec, front, target, request).await.map_err(unreachable)?;
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        let Some(place) = place else {
            return Err(unreachable("the service changed to a protocol that nobody asked for".into()));
        };
        return Ok(stream::joined(state, place, parts.extensions.remove(), answer));
    }
    stream::returned(&mut answer, &stream::Place { prefix: String::new(), hosts: None });
    Ok(answer)
}

/// Where the other server has it: the same path, but for OpenAPI documents, which it may have anywhere.
fn place_of(remote: &Remote, info: &RequestInfo, path: &str) -> String {
    let is_openapi = matches!(info, RequestInfo::NonResource(path) if path.first().is_some_and(|first| first == "openapi"));
    match &remote.openapi {
        Some(place) if is_openapi => place.clone(),
        _ => path.to_owned(),
    }
}
