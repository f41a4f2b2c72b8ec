//! A collection, page by page.

use std::sync::Arc;

use http::Response;
use orchestra_store::{Key, KeyRange, RangeOptions, ReadAt, Revision};

use crate::body::Body;
use crate::cache::collection::{Matches, Snapshot, suffix_of};
use crate::cache::object::Object;
use crate::filter::Filter;
use crate::negotiate::render::ListMeta;
use crate::query::{ListOptions, VersionMatch};
use crate::state::{Call, State};
use crate::status::StatusError;
use crate::verbs::token::Token;

/// A page of objects.
pub(crate) struct Page {
    pub(crate) objects: Vec<Arc<Object>>,
    pub(crate) meta: ListMeta,
}

/// GET of a collection.
pub(crate) async fn list(state: &State, call: &Call) -> Result<Response<Body>, StatusError> {
    let options = ListOptions::parse(&call.query, false)?;
    let page = page(state, call, &options).await?;
    call.renderer(state).list(page.objects, &page.meta)
}

/// The objects a list asks for.
pub(crate) async fn page(state: &State, call: &Call, options: &ListOptions) -> Result<Page, StatusError> {
    let filter = Filter::parse(&call.resource, options, None)?;
    let prefix = call.namespace().map(|ns| format!("{ns}/")).unwrap_or_default();
    if let Some(token) = &options.continue_token {
        let token = read_token(token, options)?;
        return match u64::try_from(token.rv) {
            Ok(rv) => from_store(state, call, options, &filter, &prefix, &token.start, Revision(rv)).await,
            // The client chose to go on without consistency.
            Err(_) => from_cache(state, call, options, &filter, &prefix, &token.start, None).await,
        };
    }
    match (options.resource_version, options.version_match) {
        // A page at a version is exactly at that version, also when the client does not say so.
        (Some(rv), matching)
            if matching == Some(VersionMatch::Exact)
                || (matching.is_none() && rv > 0 && options.limit.is_some()) =>
        {
            state.feed.wait_for(Revision(rv)).await?;
            from_store(state, call, options, &filter, &prefix, "", Revision(rv)).await
        }
        (at_least, _) => from_cache(state, call, options, &filter, &prefix, "", at_least).await,
    }
}

fn read_token(text: &str, options: &ListOptions) -> Result<Token, StatusError> {
    let refuse = |why: &str| StatusError::bad_request(format!("invalid continue token: {why}"));
    let token = Token::read(text).map_err(|why| refuse(&why))?;
    if options.resource_version.is_some_and(|rv| rv != 0) {
        return Err(StatusError::bad_request(
            "specifying resource version is not allowed when using continue",
        ));
    }
    Ok(token)
}

async fn from_cache(
    state: &State,
    call: &Call,
    options: &ListOptions,
    filter: &Filter,
    prefix: &str,
    start: &str,
    at_least: Option<u64>,
) -> Result<Page, StatusError> {
    let (collection, applied) = match at_least {
        None => state.feed.fresh(&call.resource).await?,
        Some(rv) => state.feed.at_least(&call.resource, Revision(rv)).await?,
    };
    // From the cache at any age, upstream ignores the limit; so a page is never older than its continuation.
    let limit = options.limit.filter(|_| at_least != Some(0)).unwrap_or(usize::MAX);
    let matches = |object: &Object| filter.matches(&call.resource, object);
    let matches = (!filter.is_everything()).then_some(&matches as Matches<'_>);
    let snapshot = collection.snapshot(prefix, start, limit, matches);
    let revision = applied.max(snapshot.last);
    Ok(page_of(snapshot, revision, filter))
}

fn page_of(snapshot: Snapshot, revision: Revision, filter: &Filter) -> Page {
    let mut meta = ListMeta { revision: revision.0, ..ListMeta::default() };
    if snapshot.remaining > 0
        && let Some(last) = snapshot.objects.last()
    {
        let rv = i64::try_from(revision.0).unwrap_or(i64::MAX);
        meta.continue_token = Some(Token::behind(rv, &last.key()).write());
        meta.remaining = filter.is_everything().then_some(snapshot.remaining as u64);
    }
    Page { objects: snapshot.objects, meta }
}

/// A page at a revision since which nothing of the resource has changed: the cache shows what the store would.
async fn from_unchanged(
    state: &State,
    call: &Call,
    options: &ListOptions,
    filter: &Filter,
    prefix: &str,
    start: &str,
    revision: Revision,
) -> Option<Page> {
    let collection = state.feed.known(&call.resource)?;
    if state.feed.applied_to(&collection) < revision || collection.last() > revision {
        return None;
    }
    // What is compacted is refused, whether something has changed since or not.
    state.store.get(&"/".into(), ReadAt::Exactly(revision)).await.ok()?;
    let matches = |object: &Object| filter.matches(&call.resource, object);
    let matches = (!filter.is_everything()).then_some(&matches as Matches<'_>);
    let snapshot = collection.snapshot(prefix, start, options.limit.unwrap_or(usize::MAX), matches);
    // One that has died meanwhile may not have been told of everything that the feed has seen.
    (snapshot.last <= revision && !collection.is_dead()).then(|| page_of(snapshot, revision, filter))
}

async fn from_store(
    state: &State,
    call: &Call,
    options: &ListOptions,
    filter: &Filter,
    prefix: &str,
    start: &str,
    revision: Revision,
) -> Result<Page, StatusError> {
    if let Some(page) = from_unchanged(state, call, options, filter, prefix, start, revision).await {
        return Ok(page);
    }
    let resource = &call.resource;
    let whole = resource.range((!prefix.is_empty()).then(|| prefix.trim_end_matches('/')));
    let limit = options.limit.unwrap_or(usize::MAX);
    let mut from = Key::from(format!("{}{start}", resource.prefix())).max(whole.start.clone());
    let mut objects = Vec::new();
    let mut meta = ListMeta { revision: revision.0, ..ListMeta::default() };
    loop {
        let mut read = RangeOptions::new().at(ReadAt::Exactly(revision));
        if limit != usize::MAX {
            read = read.limit(limit - objects.len());
        }
        let range = KeyRange { start: from.clone(), end: whole.end.clone() };
        let page = match state.store.range(range, read).await {
            Ok(page) => page.value,
            Err(orchestra_store::Error::Compacted(_)) if !start.is_empty() => {
                return Err(StatusError::expired_continue(
                    Token::behind(-1, start.trim_end_matches('\0')).write(),
                ));
            }
            Err(orchestra_store::Error::FutureRevision(current)) => {
                return Err(StatusError::too_large_resource_version(revision.0, current.0));
            }
            Err(error) => return Err(error.into()),
        };
        let last = page.entries.last().map(|entry| entry.key.clone());
        for entry in &resource.convert(page.entries).await? {
            let object = Object::of(resource, entry)?;
            if filter.matches(resource, &object) {
                objects.push(Arc::new(object));
            }
        }
        let Some(last) = last.filter(|_| page.remaining > 0) else {
            return Ok(Page { objects, meta });
        };
        if objects.len() >= limit {
            let suffix = suffix_of(resource, last.as_bytes()).unwrap_or_default();
            meta.continue_token =
                Some(Token::behind(i64::try_from(revision.0).unwrap_or(i64::MAX), suffix).write());
            meta.remaining = filter.is_everything().then_some(page.remaining);
            return Ok(Page { objects, meta });
        }
        from = Key::new([last.as_bytes(), b"\0"].concat());
    }
}
