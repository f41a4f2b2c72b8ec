//! What is no HTTP is answered by a `Status`, too.
//!
//! hyper answers a head that it cannot read itself, with a bare status line, and closes. Whoever wrote it should learn what
//! was wrong in the one form that all answers of this server have, so those few bytes are replaced on their way out.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::ledger::Ledger;
use crate::status::StatusError;

/// A connection on which bare refusals become whole ones.
#[derive(Debug)]
pub(super) struct Worded<S> {
    inner: S,
    ledger: Ledger,
    /// What is written instead of what hyper wrote.
    instead: Bytes,
}

impl<S> Worded<S> {
    pub(super) fn new(inner: S, ledger: Ledger) -> Self {
        Self { inner, ledger, instead: Bytes::new() }
    }
}

impl<S: AsyncWrite + Unpin> Worded<S> {
    fn poll_instead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.instead.has_remaining() {
            let count = ready!(Pin::new(&mut self.inner).poll_write(cx, &self.instead))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.instead.advance(count);
        }
        Poll::Ready(Ok(()))
    }
}

/// The code of a head that is a bare refusal of hyper's. Answers of this server have bodies.
fn bare(bytes: &[u8]) -> Option<StatusCode> {
    let head = bytes.strip_suffix(b"\r\n\r\n")?;
    let head = std::str::from_utf8(head).ok()?;
    let mut lines = head.split("\r\n");
    let code = lines.next()?.strip_prefix("HTTP/1.")?.get(2..5)?.parse::<StatusCode>().ok()?;
    let mut empty = false;
    for line in lines {
        let (name, value) = line.split_once(": ")?;
        match name {
            "content-length" if value == "0" => empty = true,
            "connection" | "date" => {}
            _ => return None,
        }
    }
    (empty && code.is_client_error()).then_some(code)
}

/// A whole refusal with that code.
fn worded(code: StatusCode) -> Bytes {
    let status = match code {
        StatusCode::URI_TOO_LONG => StatusError::unreadable(code, "the URI of the request is too long"),
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
            StatusError::unreadable(code, "the headers of the request are too large")
        }
        StatusCode::BAD_REQUEST => StatusError::bad_request("the request is not valid HTTP"),
        _ => StatusError::unreadable(code, "the request cannot be read"),
    };
    let body = status.to_json().to_string();
    let reason = code.canonical_reason().unwrap_or_default();
    let head = format!(
        "HTTP/1.1 {} {reason}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        code.as_u16(),
        body.len()
    );
    Bytes::from(head + &body)
}

impl<S: AsyncRead + Unpin> AsyncRead for Worded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Worded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_instead(cx))?;
        if bytes.starts_with(b"HTTP/1.")
            && self.ledger.is_at_rest()
            && let Some(code) = bare(bytes)
        {
            self.instead = worded(code);
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_instead(cx))?;
        let mut filled = pieces.iter().filter(|piece| !piece.is_empty());
        if let (Some(only), None) = (filled.next(), filled.next()) {
            return self.poll_write(cx, only);
        }
        Pin::new(&mut self.inner).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_instead(cx))?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_instead(cx))?;
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_hyper_writes_itself_is_replaced() {
        let bare_400 =
            "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\ndate: now\r\n\r\n";
        assert_eq!(bare(bare_400.as_bytes()), Some(StatusCode::BAD_REQUEST));
        for other in [
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\naudit-id: x\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\nmore",
            "HTTP/1.1",
            "HTTP/1.1 4",
            "",
        ] {
            assert_eq!(bare(other.as_bytes()), None, "{other:?}");
        }
    }
}
