//! One line of a log file.

use jiff::Timestamp;

/// A parsed line. Text borrows from the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// When it was written.
    pub time: Timestamp,
    /// The time as it stands in the file.
    pub stamp: &'a [u8],
    /// Whether the text ends a line of the program.
    pub full: bool,
    /// `stdout` or `stderr`.
    pub stream: &'a [u8],
    /// What the program wrote.
    pub text: &'a [u8],
}

impl<'a> Line<'a> {
    /// Reads one line, without its line end; `None` when it is not one.
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        let mut parts = line.splitn(4, |b| *b == b' ');
        let (stamp, stream, tag) = (parts.next()?, parts.next()?, parts.next()?);
        let text = parts.next()?;
        let time = std::str::from_utf8(stamp).ok()?.parse().ok()?;
        let full = match tag.split(|b| *b == b':').next()? {
            b"F" => true,
            b"P" => false,
            _ => return None,
        };
        Some(Self { time, stamp, full, stream, text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_taken_apart() {
        let line = Line::parse(b"2026-01-02T03:04:05.000000006Z stderr P a  b ").unwrap();
        assert_eq!((line.stream, line.full, line.text), (&b"stderr"[..], false, &b"a  b "[..]));
        assert_eq!(line.time.subsec_nanosecond(), 6);
    }

    #[test]
    fn rubbish_is_not_a_line() {
        for rubbish in [&b""[..], b"x", b"now stdout F x", b"2026-01-02T03:04:05Z stdout X x"] {
            assert_eq!(Line::parse(rubbish), None);
        }
    }
}
