//! Many alike requests, started slowly: one, then two, then four at a time, stopping at the first batch that fails.
//!
//! If the server refuses (a quota, a failing webhook), it is asked a few times and not a few hundred.

use std::future::Future;

use futures::future::join_all;

use crate::error::{Error, Result};

/// What became of a slow start.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Requests that were never made because an earlier one failed.
    pub(crate) skipped: usize,
    /// The first failure.
    pub(crate) failure: Option<Error>,
}

/// Makes the requests 0 to `count - 1` in doubling batches, beginning with `first`.
pub(crate) async fn slow_start<F>(count: usize, first: usize, request: impl Fn(usize) -> F) -> Outcome
where
    F: Future<Output = Result<()>>,
{
    let (mut started, mut size) = (0, first.max(1));
    while started < count {
        let batch = size.min(count - started);
        let results = join_all((started..started + batch).map(&request)).await;
        started += batch;
        let failure = results.into_iter().find_map(Result::err);
        if failure.is_some() {
            return Outcome { skipped: count - started, failure };
        }
        size = size.saturating_mul(2);
    }
    Outcome { skipped: 0, failure: None }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[tokio::test]
    async fn makes_every_request_once() {
        let seen = RefCell::new(Vec::new());
        let outcome = slow_start(10, 1, |i| {
            seen.borrow_mut().push(i);
            async { Ok(()) }
        })
        .await;
        assert_eq!(outcome.skipped, 0);
        assert_eq!(*seen.borrow(), (0..10).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn stops_after_the_batch_that_fails() {
        let outcome = slow_start(100, 1, |i| async move {
            if i == 2 { Err(Error::Malformed("no".into())) } else { Ok(()) }
        })
        .await;
        assert_eq!(outcome.skipped, 97);
        assert!(outcome.failure.is_some());
    }
}
