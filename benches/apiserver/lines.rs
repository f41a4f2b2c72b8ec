//! The lines of an answer that goes on and on, counted and not looked at.
//!
//! Read off the connection itself: what a client library does with a watch would cost more than serving it, on the same cores.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::wire::Secured;

/// An answer in chunks, behind its head.
pub(crate) struct Lines {
    stream: Secured,
    buffer: Vec<u8>,
    place: Place,
}

/// Where in the answer the next byte stands.
#[derive(Clone, Copy)]
enum Place {
    /// In the length of a chunk, read so far; behind it, in what ends that line.
    Length(usize, bool),
    /// In a chunk, of which so much is left.
    Chunk(usize),
    /// In the line's end behind a chunk.
    End,
}

impl Lines {
    /// Asks for `path`, and reads the head of the answer.
    pub(crate) async fn ask(mut stream: Secured, path: &str) -> Self {
        let request = format!("GET {path} HTTP/1.1\r\nhost: orchestra\r\naccept: application/json\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("the connection stands");
        // What was written may still lie in the TLS session, when many ask from one task.
        stream.flush().await.expect("the connection stands");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("an answer"));
        }
        let head = String::from_utf8(head).expect("text").to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 200 ") && head.contains("transfer-encoding: chunked"), "{head}");
        Self { stream, buffer: vec![0; 64 << 10], place: Place::Length(0, false) }
    }

    /// How many more lines have come.
    pub(crate) async fn more(&mut self) -> usize {
        let length = self.stream.read(&mut self.buffer).await.expect("the connection stands");
        assert!(length > 0, "the answer has ended");
        let (mut lines, mut at) = (0, 0);
        while at < length {
            self.place = match self.place {
                Place::Chunk(left) => {
                    let end = length.min(at + left);
                    // In a sum of its own, which the compiler does many bytes at a time.
                    lines += self.buffer[at..end].iter().filter(|byte| **byte == b'\n').count();
                    let left = left - (end - at);
                    at = end;
                    if left == 0 { Place::End } else { Place::Chunk(left) }
                }
                place => {
                    at += 1;
                    place.behind(self.buffer[at - 1])
                }
            }
        }
        lines
    }
}

impl Place {
    fn behind(self, byte: u8) -> Self {
        match (self, byte) {
            (Self::Length(0, true), b'\n') => panic!("the answer has ended"),
            (Self::Length(length, true), b'\n') => Self::Chunk(length),
            (Self::Length(length, false), b'\r') => Self::Length(length, true),
            (Self::Length(length, false), digit) => {
                let digit = char::from(digit).to_digit(16).expect("a digit");
                Self::Length(length * 16 + digit as usize, false)
            }
            (Self::End, b'\r') => Self::End,
            (Self::End, b'\n') => Self::Length(0, false),
            _ => panic!("no answer in chunks"),
        }
    }
}
