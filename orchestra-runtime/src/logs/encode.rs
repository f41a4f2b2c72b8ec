//! Turns what a program writes into log lines.

use std::io::Write;

use jiff::Timestamp;

/// The longest text on one log line; longer lines are cut in parts, as containerd does.
pub const MAX_LINE: usize = 16 * 1024;

/// Where a program wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// Its name in a log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// Cuts the bytes of one stream into log lines.
#[derive(Debug)]
pub struct Encoder {
    stream: Stream,
    rest: Vec<u8>,
}

impl Encoder {
    /// An encoder for a stream that begins.
    pub fn new(stream: Stream) -> Self {
        Self { stream, rest: Vec::new() }
    }

    /// Takes bytes that arrived `now` and appends the log lines they complete to `out`.
    pub fn push(&mut self, now: Timestamp, mut bytes: &[u8], out: &mut Vec<u8>) {
        while !bytes.is_empty() {
            let room = MAX_LINE - self.rest.len();
            let window = &bytes[..bytes.len().min(room)];
            match window.iter().position(|b| *b == b'\n') {
                Some(end) => {
                    let (text, after) = bytes.split_at(end);
                    self.line(now, 'F', text, out);
                    bytes = &after[1..];
                }
                None if window.len() == room => {
                    let (text, after) = bytes.split_at(room);
                    self.line(now, 'P', text, out);
                    bytes = after;
                }
                None => {
                    self.rest.extend_from_slice(bytes);
                    return;
                }
            }
        }
    }

    /// What has no line end yet becomes a partial line: the stream ended, or somebody waits for what was written.
    pub fn finish(&mut self, now: Timestamp, out: &mut Vec<u8>) {
        if !self.rest.is_empty() {
            self.line(now, 'P', &[], out);
        }
    }

    fn line(&mut self, now: Timestamp, tag: char, text: &[u8], out: &mut Vec<u8>) {
        // Writing to a Vec cannot fail.
        let _ = write!(out, "{now:.9} {} {tag} ", self.stream.as_str());
        out.append(&mut self.rest);
        out.extend_from_slice(text);
        out.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(chunks: &[&[u8]]) -> Vec<String> {
        let mut encoder = Encoder::new(Stream::Stdout);
        let mut out = Vec::new();
        for chunk in chunks {
            encoder.push(Timestamp::UNIX_EPOCH, chunk, &mut out);
        }
        encoder.finish(Timestamp::UNIX_EPOCH, &mut out);
        String::from_utf8(out).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn lines_are_whole_however_they_arrive() {
        let want =
            ["1970-01-01T00:00:00.000000000Z stdout F one", "1970-01-01T00:00:00.000000000Z stdout F two"];
        assert_eq!(encode(&[b"one\ntwo\n"]), want);
        assert_eq!(encode(&[b"o", b"ne", b"\nt", b"wo", b"\n"]), want);
    }

    #[test]
    fn long_and_unfinished_lines_are_partial() {
        let long = vec![b'x'; MAX_LINE + 3];
        let lines = encode(&[&long, b"\nend"]);
        assert_eq!(lines.len(), 3);
        assert!(lines[0].contains(" P xxx") && lines[0].len() > MAX_LINE);
        assert!(lines[1].ends_with(" F xxx") && lines[2].ends_with(" P end"));
    }
}
