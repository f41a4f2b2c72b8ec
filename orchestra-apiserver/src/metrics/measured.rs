//! An answer that comes bit by bit, counted when it ends.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use tower::BoxError;

use super::requests::Counted;
use crate::body::Body;

/// The body of an answer. The request counts when this is dropped, be it read to its end or given up.
#[derive(Debug)]
pub(super) struct Measured {
    body: Body,
    code: u16,
    bytes: u64,
    counted: Counted,
}

impl Measured {
    pub(super) fn new(body: Body, code: u16, counted: Counted) -> Self {
        Self { body, code, bytes: 0, counted }
    }

    pub(super) fn boxed(self) -> Body {
        BodyExt::boxed_unsync(self)
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        self.counted.answered(self.code, self.bytes);
    }
}

impl http_body::Body for Measured {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            let length = frame.data_ref().map_or(0, Bytes::len);
            self.bytes += u64::try_from(length).unwrap_or_default();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
