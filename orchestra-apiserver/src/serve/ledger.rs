//! What is open on one connection: how many requests, since when none, and by when each answer must have been taken.
//!
//! HTTP/2 lets a client ask for much and take nothing: the connection moves, and the answers stay in memory. So whoever does not
//! take an answer in its time loses the connection.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http::{Response, StatusCode};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::sync::Notify;
use tokio::time::{Duration, Instant, sleep_until};
use tower::BoxError;

use crate::body::Body;
use crate::limits::Limits;

/// Answers of a smaller size are not followed: the connection holds them in its own buffers.
const FOLLOWED: u64 = 4096;
/// How much of an answer is given to the connection at once, so that the rest tells whether it is taken.
const PIECE: usize = 64 * 1024;
/// How often an open connection is looked at when nothing is due.
const LOOK: Duration = Duration::from_secs(30);

/// When an answer must have been taken by its client; a response's extension.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TakenBy(pub(crate) Instant);

/// One connection's account. Clones are of the same connection.
#[derive(Clone, Debug)]
pub(crate) struct Ledger(Arc<Account>);

#[derive(Debug)]
struct Account {
    book: Mutex<Book>,
    /// Told when something is due that was not before.
    due: Notify,
}

#[derive(Debug)]
struct Book {
    opened: Instant,
    begun: u64,
    open: usize,
    idle_since: Instant,
    due: BTreeSet<(Instant, u64)>,
    /// Whether it speaks something else by now.
    upgraded: bool,
}

/// Why a connection is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing was asked for in time.
    Silent,
    /// Nothing is asked for any more.
    Idle,
    /// An answer is not taken.
    NotTaken,
}

impl Ledger {
    pub(super) fn open() -> Self {
        let now = Instant::now();
        let book =
            Book { opened: now, begun: 0, open: 0, idle_since: now, due: BTreeSet::new(), upgraded: false };
        Self(Arc::new(Account { book: Mutex::new(book), due: Notify::new() }))
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request begins.
    pub(crate) fn enter(&self) -> Visit {
        let mut book = self.book();
        book.begun += 1;
        book.open += 1;
        Visit { number: book.begun, due: None, ledger: self.clone() }
    }

    /// Whether the connection speaks HTTP, and no request is under way.
    pub(super) fn is_at_rest(&self) -> bool {
        let book = self.book();
        book.open == 0 && !book.upgraded
    }

    /// Waits until the connection should end.
    pub(super) async fn verdict(&self, limits: &Limits) -> Verdict {
        loop {
            let (at, verdict) = self.next(limits);
            let now = Instant::now();
            match verdict {
                Some(verdict) if at <= now => return verdict,
                _ => tokio::select! {
                    () = sleep_until(at.min(now + LOOK)) => {}
                    () = self.0.due.notified() => {}
                },
            }
        }
    }

    fn next(&self, limits: &Limits) -> (Instant, Option<Verdict>) {
        let book = self.book();
        if book.begun == 0 {
            return (book.opened + limits.first_request, Some(Verdict::Silent));
        }
        if let Some((due, _)) = book.due.first() {
            return (*due, Some(Verdict::NotTaken));
        }
        if book.open == 0 {
            return (book.idle_since + limits.idle, Some(Verdict::Idle));
        }
        (Instant::now() + LOOK, None)
    }
}

/// A request that is open on a connection, until this is dropped.
#[derive(Debug)]
pub(crate) struct Visit {
    ledger: Ledger,
    number: u64,
    due: Option<Instant>,
}

impl Visit {
    /// Follows an answer until its client has taken it, if that is worth it.
    pub(crate) fn follow(mut self, mut response: Response<Body>) -> Response<Body> {
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            self.ledger.book().upgraded = true;
            return response;
        }
        let due = response.extensions_mut().remove::<TakenBy>();
        if response.body().size_hint().exact().is_some_and(|size| size <= FOLLOWED) {
            return response;
        }
        if let Some(TakenBy(due)) = due {
            self.due = Some(due);
            self.ledger.book().due.insert((due, self.number));
            self.ledger.0.due.notify_one();
        }
        response.map(|body| Followed { body, rest: Bytes::new(), _visit: self }.boxed_unsync())
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let mut book = self.ledger.book();
        book.open -= 1;
        book.idle_since = Instant::now();
        if let Some(due) = self.due {
            book.due.remove(&(due, self.number));
        }
    }
}

/// A body in pieces, whose visit ends with it.
struct Followed {
    body: Body,
    rest: Bytes,
    _visit: Visit,
}

impl http_body::Body for Followed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.rest.has_remaining() {
            let length = self.rest.len().min(PIECE);
            return Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(length)))));
        }
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => Poll::Ready(Some(Ok(match frame.into_data() {
                Ok(mut data) => {
                    let length = data.len().min(PIECE);
                    let piece = data.split_to(length);
                    self.rest = data;
                    Frame::data(piece)
                }
                Err(other) => other,
            }))),
            other => other,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = u64::try_from(self.rest.len()).unwrap_or_default();
        let inner = self.body.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower().saturating_add(rest));
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body;

    #[tokio::test(start_paused = true)]
    async fn a_connection_ends_that_says_nothing_and_one_that_has_nothing_more_to_say() {
        let (limits, begun) = (Limits::default(), Instant::now());
        assert_eq!(Ledger::open().verdict(&limits).await, Verdict::Silent);
        assert_eq!(begun.elapsed(), limits.first_request);
        let ledger = Ledger::open();
        drop(ledger.enter());
        let begun = Instant::now();
        assert_eq!(ledger.verdict(&limits).await, Verdict::Idle);
        assert_eq!(begun.elapsed(), limits.idle);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_not_taken_ends_its_connection_and_one_that_is_does_not() {
        let limits = Limits::default();
        let ledger = Ledger::open();
        let due = Instant::now() + Duration::from_secs(60);
        let answer = || {
            let mut response = Response::new(body::whole(vec![7; 200_000]));
            response.extensions_mut().insert(TakenBy(due));
            ledger.enter().follow(response)
        };
        let taken = answer().into_body().collect().await.unwrap().to_bytes();
        assert_eq!(taken, vec![7; 200_000]);
        assert!(ledger.is_at_rest());
        let held = answer();
        assert_eq!(held.body().size_hint().exact(), Some(200_000));
        assert_eq!(ledger.verdict(&limits).await, Verdict::NotTaken);
        assert_eq!(Instant::now(), due);
    }
}
