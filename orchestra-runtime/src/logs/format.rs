//! Turns the bytes of a log file into what a reader asked for; pure, and fed piece by piece.

use jiff::Timestamp;

use super::{Line, MAX_LINE, Stream};

/// The longest line of a file that is kept while its end is not there yet. Ours are never longer than [`MAX_LINE`]
/// and its preamble; of a longer one the beginning is shown.
const MAX_HELD: usize = 4 * MAX_LINE;

/// Which part of a log is wanted, and in what form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogOptions {
    /// Go on as long as the container writes.
    pub follow: bool,
    /// Only that many lines at the end.
    pub tail_lines: Option<u64>,
    /// Only what was written at this moment or later.
    pub since: Option<Timestamp>,
    /// At most that many bytes, timestamps and line ends counted.
    pub limit_bytes: Option<u64>,
    /// Begin each line with the time it was written.
    pub timestamps: bool,
    /// Only what was written there.
    pub stream: Option<Stream>,
}

/// Reads log lines and writes what is to be shown.
#[derive(Debug)]
pub(super) struct Formatter {
    since: Option<Timestamp>,
    timestamps: bool,
    stream: Option<Stream>,
    /// What may still be shown.
    left: u64,
    /// The beginning of a line whose end was not read yet.
    held: Vec<u8>,
    /// In the rest of a line that was longer than can be held.
    skipping: bool,
    /// The program's line goes on in the next line of the file.
    within: bool,
}

impl Formatter {
    pub(super) fn new(options: &LogOptions) -> Self {
        Self {
            since: options.since,
            timestamps: options.timestamps,
            stream: options.stream,
            left: options.limit_bytes.unwrap_or(u64::MAX),
            held: Vec::new(),
            skipping: false,
            within: false,
        }
    }

    /// Everything that may be shown was shown.
    pub(super) fn is_full(&self) -> bool {
        self.left == 0
    }

    /// Takes the next bytes of the file and appends what is to be shown to `out`.
    pub(super) fn push(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) {
        while !bytes.is_empty() && !self.is_full() {
            let Some(end) = bytes.iter().position(|b| *b == b'\n') else {
                self.hold(bytes, out);
                return;
            };
            let (line, rest) = bytes.split_at(end);
            bytes = rest.get(1..).unwrap_or_default();
            if self.skipping {
                self.skipping = false;
            } else if self.held.is_empty() {
                self.show(line, out);
            } else {
                let mut whole = std::mem::take(&mut self.held);
                whole.extend_from_slice(line);
                self.show(&whole, out);
                whole.clear();
                self.held = whole;
            }
        }
    }

    /// The file ends here: a line without its end is a line too.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        let held = std::mem::take(&mut self.held);
        if !held.is_empty() {
            self.show(&held, out);
        }
    }

    fn hold(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        if self.skipping {
            return;
        }
        let room = MAX_HELD.saturating_sub(self.held.len());
        self.held.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        if bytes.len() > room {
            self.finish(out);
            self.held = Vec::new();
            self.skipping = true;
        }
    }

    fn show(&mut self, line: &[u8], out: &mut Vec<u8>) {
        let Some(line) = Line::parse(line) else {
            // Half a line is left behind by a machine that lost power.
            return;
        };
        let elsewhere = self.stream.is_some_and(|stream| stream.as_str().as_bytes() != line.stream);
        if elsewhere || self.since.is_some_and(|since| line.time < since) {
            return;
        }
        if self.timestamps && !self.within {
            self.put(line.stamp, out);
            self.put(b" ", out);
        }
        self.put(line.text, out);
        if line.full {
            self.put(b"\n", out);
        }
        self.within = !line.full;
    }

    fn put(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let room = usize::try_from(self.left).unwrap_or(usize::MAX);
        let bytes = bytes.get(..room).unwrap_or(bytes);
        out.extend_from_slice(bytes);
        self.left = self.left.saturating_sub(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &[u8] = b"2026-01-01T00:00:01.000000000Z stdout F one\n\
        2026-01-01T00:00:02.000000000Z stderr F two\n\
        rubbish\n\
        2026-01-01T00:00:03.000000000Z stdout P th\n\
        2026-01-01T00:00:04.000000000Z stdout F ree\n";

    fn show(options: &LogOptions, chunk: usize) -> String {
        let mut formatter = Formatter::new(options);
        let mut out = Vec::new();
        LOG.chunks(chunk).for_each(|bytes| formatter.push(bytes, &mut out));
        formatter.finish(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines_are_shown_whole_however_they_are_read() {
        for chunk in [1, 7, 44, LOG.len()] {
            assert_eq!(show(&LogOptions::default(), chunk), "one\ntwo\nthree\n");
        }
    }

    #[test]
    fn a_joined_line_has_one_timestamp() {
        let options = LogOptions { timestamps: true, ..Default::default() };
        assert!(show(&options, 5).ends_with("two\n2026-01-01T00:00:03.000000000Z three\n"));
    }

    #[test]
    fn older_lines_and_other_streams_are_left_out() {
        let since = Some("2026-01-01T00:00:02Z".parse().unwrap());
        assert_eq!(show(&LogOptions { since, ..Default::default() }, 9), "two\nthree\n");
        let stream = Some(Stream::Stdout);
        assert_eq!(show(&LogOptions { stream, ..Default::default() }, 9), "one\nthree\n");
    }

    #[test]
    fn the_limit_cuts_to_the_byte() {
        for limit in 0..=14 {
            let options = LogOptions { limit_bytes: Some(limit), ..Default::default() };
            let limit = usize::try_from(limit).unwrap();
            assert_eq!(show(&options, 11), "one\ntwo\nthree\n"[..limit]);
        }
    }

    #[test]
    fn an_endless_line_is_cut_and_the_next_is_whole() {
        let mut formatter = Formatter::new(&LogOptions::default());
        let mut out = Vec::new();
        formatter.push(b"2026-01-01T00:00:01.000000000Z stdout F ", &mut out);
        for _ in 0..10 {
            formatter.push(&[b'x'; MAX_LINE], &mut out);
            assert!(formatter.held.len() <= MAX_HELD);
        }
        formatter.push(b"\n2026-01-01T00:00:01.000000000Z stdout F next\n", &mut out);
        assert!(out.len() < MAX_HELD + 16 && out.ends_with(b"x\nnext\n"));
    }
}
