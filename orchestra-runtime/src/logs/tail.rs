//! Finds where the last lines of a log begin, reading from the end only as far as needed.

use std::io;

/// How much is read at a time.
const BLOCK: u64 = 64 * 1024;
/// Where the tag of a line ends at the latest: a time, a stream, a letter, and spaces.
const PREAMBLE: usize = 64;

/// Something that can be read anywhere.
pub(super) trait ReadAt {
    /// Fills `out` with the bytes from `offset` on.
    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<()>;
}

impl ReadAt for std::fs::File {
    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(self, out, offset)
    }
}

/// The offset at which the last `lines` lines of a log of `size` bytes begin. Parts of a line (tag `P`) belong to the
/// line they are parts of.
pub(super) fn start(log: &impl ReadAt, size: u64, lines: u64) -> io::Result<u64> {
    if lines == 0 {
        return Ok(size);
    }
    let mut seen = 0_u64;
    // The block, and after it the first bytes of the block behind it, which may hold the tag of a line that begins
    // at the block's end.
    let mut window: Vec<u8> = Vec::new();
    let mut from = size;
    // Where the line begins that the last look ended in: its end counts once the line before it is known.
    let mut begin = None;
    while from > 0 {
        let length = from.min(BLOCK);
        from -= length;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        window.truncate(PREAMBLE);
        window.splice(0..0, std::iter::repeat_n(0, length));
        log.read_at(window.get_mut(..length).unwrap_or_default(), from)?;
        for at in (0..length).rev() {
            if window.get(at) == Some(&b'\n') {
                let here = from + at as u64 + 1;
                // The end of the file is no beginning.
                if here < size {
                    let line = window.get(at + 1..).unwrap_or_default();
                    if step(line, here, &mut seen, &mut begin, lines) {
                        return Ok(begin.unwrap_or(size));
                    }
                }
            }
        }
    }
    let mut head = window;
    head.truncate(PREAMBLE);
    if step(&head, 0, &mut seen, &mut begin, lines) {
        return Ok(begin.unwrap_or(size));
    }
    Ok(0)
}

/// Looks at one more line of the file, the one that begins at `here`; tells whether enough were seen, `begin` being
/// where they begin.
fn step(line: &[u8], here: u64, seen: &mut u64, begin: &mut Option<u64>, lines: u64) -> bool {
    if is_part(line) && begin.is_some() {
        *begin = Some(here);
        return false;
    }
    if *seen == lines {
        return true;
    }
    *seen += 1;
    *begin = Some(here);
    false
}

fn is_part(line: &[u8]) -> bool {
    let line = line.get(..PREAMBLE).unwrap_or(line);
    line.split(|b| *b == b' ').nth(2).is_some_and(|tag| tag.first() == Some(&b'P'))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    struct Log {
        bytes: Vec<u8>,
        read: Cell<u64>,
    }

    impl ReadAt for Log {
        fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<()> {
            self.read.set(self.read.get() + out.len() as u64);
            let offset = usize::try_from(offset).unwrap();
            out.copy_from_slice(&self.bytes[offset..offset + out.len()]);
            Ok(())
        }
    }

    fn log(lines: impl IntoIterator<Item = String>) -> Log {
        let text: String =
            lines.into_iter().map(|line| format!("2026-01-01T00:00:01.000000000Z stdout {line}\n")).collect();
        Log { bytes: text.into_bytes(), read: Cell::new(0) }
    }

    fn tail(log: &Log, lines: u64) -> Vec<String> {
        let size = log.bytes.len() as u64;
        let start = usize::try_from(start(log, size, lines).unwrap()).unwrap();
        let text = std::str::from_utf8(&log.bytes[start..]).unwrap();
        text.lines().map(|line| line.split_once("stdout ").unwrap().1.to_owned()).collect()
    }

    #[test]
    fn the_last_lines_are_found() {
        let log = log(["F a", "F b", "F c"].map(str::to_owned));
        assert_eq!(tail(&log, 0), Vec::<String>::new());
        assert_eq!(tail(&log, 1), ["F c"]);
        assert_eq!(tail(&log, 2), ["F b", "F c"]);
        assert_eq!(tail(&log, 3), ["F a", "F b", "F c"]);
        assert_eq!(tail(&log, 9), ["F a", "F b", "F c"]);
    }

    #[test]
    fn parts_belong_to_their_line() {
        let log = log(["P a", "F b", "P c", "P d", "F e", "P f"].map(str::to_owned));
        assert_eq!(tail(&log, 1), ["P f"]);
        assert_eq!(tail(&log, 2), ["P c", "P d", "F e", "P f"]);
        assert_eq!(tail(&log, 3).len(), 6);
    }

    #[test]
    fn blocks_may_cut_lines_anywhere() {
        let log = log((0..9000).map(|n| format!("F {}", "x".repeat(n % 97))));
        for lines in [1, 500, 1400, 8999, 9000] {
            assert_eq!(tail(&log, lines).len() as u64, lines);
        }
    }

    #[test]
    fn a_huge_log_is_read_at_its_end_only() {
        let log = log((0..100_000).map(|n| format!("F line {n}")));
        assert_eq!(tail(&log, 2), ["F line 99998", "F line 99999"]);
        assert_eq!(log.read.get(), BLOCK);
    }
}
