//! An answer that comes bit by bit, counted when it ends.

use bytes::Bytes;
use http_body::Frame;
use http_body_util::BodyExt;

use super::requests::Counted;
use crate::body::Body;

/// How much of an answer has gone out. The request counts when this is dropped together with the body.
#[derive(Debug)]
struct Tally {
    code: u16,
    bytes: u64,
    counted: Counted,
}

impl Tally {
    fn add(&mut self, frame: &Frame<Bytes>) {
        let length = frame.data_ref().map_or(0, Bytes::len);
        self.bytes += u64::try_from(length).unwrap_or_default();
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.counted.answered(self.code, self.bytes);
    }
}

/// The same body, whose request counts when it is gone, be it read to its end or given up.
pub(super) fn measured(body: Body, code: u16, counted: Counted) -> Body {
    let mut tally = Tally { code, bytes: 0, counted };
    body.inspect_frame(move |frame| tally.add(frame)).boxed_unsync()
}
