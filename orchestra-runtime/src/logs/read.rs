//! Reads a log as `kubectl logs` shows it.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use jiff::Timestamp;

use super::line::Line;

/// What of a log is wanted, in the words of the API's `PodLogOptions`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogOptions {
    /// Only so many lines from the end.
    pub tail_lines: Option<usize>,
    /// Only lines written then or later.
    pub since: Option<Timestamp>,
    /// Not more than so many bytes.
    pub limit_bytes: Option<usize>,
    /// The time in front of each line.
    pub timestamps: bool,
}

/// How much of a file is read at a time.
pub(super) const BLOCK: usize = 64 * 1024;

/// The whole log as it is now.
pub fn read(path: &Path, options: &LogOptions) -> io::Result<Vec<u8>> {
    let mut reader = Reader::open(path, options)?;
    let mut out = Vec::new();
    while reader.more(&mut out)? == Progress::Read {}
    Ok(out)
}

/// How a step of reading went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// There was something.
    Read,
    /// The file has no more, now.
    AtEnd,
    /// Nothing more is wanted.
    Done,
}

/// Reads a log step by step.
#[derive(Debug)]
pub(super) struct Reader {
    file: File,
    rest: Vec<u8>,
    since: Option<Timestamp>,
    left: Option<usize>,
    timestamps: bool,
}

impl Reader {
    pub(super) fn open(path: &Path, options: &LogOptions) -> io::Result<Self> {
        let mut file = File::open(path)?;
        if let Some(lines) = options.tail_lines {
            let start = tail(&mut file, lines)?;
            file.seek(SeekFrom::Start(start))?;
        }
        Ok(Self {
            file,
            rest: Vec::new(),
            since: options.since,
            left: options.limit_bytes,
            timestamps: options.timestamps,
        })
    }

    /// Appends what comes next to `out`.
    pub(super) fn more(&mut self, out: &mut Vec<u8>) -> io::Result<Progress> {
        if self.left == Some(0) {
            return Ok(Progress::Done);
        }
        let mut block = vec![0; BLOCK];
        let read = self.file.read(&mut block)?;
        if read == 0 {
            return Ok(Progress::AtEnd);
        }
        self.rest.extend_from_slice(&block[..read]);
        let Some(end) = self.rest.iter().rposition(|b| *b == b'\n') else {
            // No writer of ours makes lines this long.
            if self.rest.len() > 16 * BLOCK {
                self.rest.clear();
            }
            return Ok(Progress::Read);
        };
        let after = self.rest.split_off(end + 1);
        let lines = std::mem::replace(&mut self.rest, after);
        let begin = out.len();
        for line in lines.split(|b| *b == b'\n').filter_map(Line::parse) {
            if self.since.is_some_and(|since| line.time < since) {
                continue;
            }
            if self.timestamps {
                out.extend_from_slice(line.stamp);
                out.push(b' ');
            }
            out.extend_from_slice(line.text);
            if line.full {
                out.push(b'\n');
            }
        }
        if let Some(left) = &mut self.left {
            out.truncate(begin + (out.len() - begin).min(*left));
            *left -= out.len() - begin;
        }
        Ok(Progress::Read)
    }
}

/// Where the last `lines` lines begin.
fn tail(file: &mut File, lines: usize) -> io::Result<u64> {
    let end = file.seek(SeekFrom::End(0))?;
    if lines == 0 {
        return Ok(end);
    }
    let mut at = end;
    let mut seen = 0;
    let mut block = vec![0; BLOCK];
    while at > 0 {
        let size = at.min(BLOCK as u64);
        at -= size;
        file.seek(SeekFrom::Start(at))?;
        let size = usize::try_from(size).unwrap_or(BLOCK);
        let part = &mut block[..size];
        file.read_exact(part)?;
        for (index, _) in part.iter().enumerate().rev().filter(|(_, b)| **b == b'\n') {
            // The line end at the very end of the file ends the last line and begins none.
            let place = at + index as u64 + 1;
            if place == end {
                continue;
            }
            seen += 1;
            if seen == lines {
                return Ok(place);
            }
        }
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(lines: usize) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        let line = |n| format!("2026-01-01T00:00:{n:02}Z stdout F line {n}\n");
        std::fs::write(file.path(), (0..lines).map(line).collect::<String>()).unwrap();
        file
    }

    fn shown(file: &tempfile::NamedTempFile, options: LogOptions) -> String {
        String::from_utf8(read(file.path(), &options).unwrap()).unwrap()
    }

    #[test]
    fn options_choose_what_is_shown() {
        let file = log(4);
        let all = LogOptions::default();
        assert_eq!(shown(&file, all.clone()), "line 0\nline 1\nline 2\nline 3\n");
        assert_eq!(shown(&file, LogOptions { tail_lines: Some(2), ..all.clone() }), "line 2\nline 3\n");
        assert_eq!(shown(&file, LogOptions { tail_lines: Some(0), ..all.clone() }), "");
        assert_eq!(shown(&file, LogOptions { tail_lines: Some(9), ..all.clone() }).lines().count(), 4);
        assert_eq!(shown(&file, LogOptions { limit_bytes: Some(9), ..all.clone() }), "line 0\nli");
        let since = Some("2026-01-01T00:00:03Z".parse().unwrap());
        assert_eq!(shown(&file, LogOptions { since, ..all.clone() }), "line 3\n");
        let stamped = LogOptions { timestamps: true, tail_lines: Some(1), ..all };
        assert_eq!(shown(&file, stamped), "2026-01-01T00:00:03Z line 3\n");
    }

    #[test]
    fn tails_reach_over_blocks() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = format!("2026-01-01T00:00:00Z stdout F {}\n", "x".repeat(1000)).repeat(200);
        std::fs::write(file.path(), text).unwrap();
        let options = LogOptions { tail_lines: Some(150), ..LogOptions::default() };
        assert_eq!(shown(&file, options).lines().count(), 150);
    }
}
