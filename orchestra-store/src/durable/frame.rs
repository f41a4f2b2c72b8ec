//! Files as a header and checksummed frames.
//!
//! A frame is the unit of truth: it is wholly there or not there. Its checksum begins with a number drawn for
//! each file, so that neither another file's blocks nor a value that looks like a frame can pass for one.

use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read};

use crate::revision::Revision;

/// Newest version of the format that this program writes. It reads all from 1 on.
const FORMAT: u32 = 3;
/// The first version with leases.
pub(crate) const LEASES_SINCE: u32 = 2;
/// The first version in which zeros may follow the last frame of a log.
pub(crate) const ROOM_SINCE: u32 = 3;
/// Largest payload of a frame.
pub(crate) const MAX_PAYLOAD: usize = 16 * 1024 * 1024;
/// Bytes of a header.
pub(crate) const HEADER: usize = 44;
/// Bytes of a frame before its payload.
pub(crate) const FRAME_HEAD: usize = 8;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Changes as they came.
    Log,
    /// A state and the changes of its window.
    Checkpoint,
    /// A state to be carried elsewhere.
    Snapshot,
}

impl Kind {
    fn magic(self) -> &'static [u8; 8] {
        match self {
            Self::Log => b"orch-log",
            Self::Checkpoint => b"orch-chk",
            Self::Snapshot => b"orch-snp",
        }
    }

    /// The version in which such a file is written. What has not changed keeps its version, so that older programs go on reading it.
    pub(crate) fn format(self) -> u32 {
        match self {
            Self::Log => FORMAT,
            Self::Checkpoint | Self::Snapshot => LEASES_SINCE,
        }
    }
}

/// How a file begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    pub(crate) format: u32,
    pub(crate) salt: u32,
    /// Checkpoint n holds everything that came before log n.
    pub(crate) generation: u64,
    /// A log: the store's revision when it was begun. A checkpoint: the revision it holds.
    pub(crate) revision: Revision,
    /// The lower end of the window at that time.
    pub(crate) compacted: Revision,
}

impl Header {
    pub(crate) fn new(kind: Kind, generation: u64, revision: Revision, compacted: Revision) -> Self {
        // A randomly keyed hasher is randomness enough: it has to differ, not to be secret.
        let salt = RandomState::new().hash_one(generation) as u32;
        Self { kind, format: kind.format(), salt, generation, revision, compacted }
    }

    pub(crate) fn encode(&self) -> [u8; HEADER] {
        let mut out = Vec::with_capacity(HEADER);
        out.extend_from_slice(self.kind.magic());
        out.extend_from_slice(&self.format.to_le_bytes());
        out.extend_from_slice(&self.salt.to_le_bytes());
        out.extend_from_slice(&self.generation.to_le_bytes());
        out.extend_from_slice(&self.revision.0.to_le_bytes());
        out.extend_from_slice(&self.compacted.0.to_le_bytes());
        out.extend_from_slice(&crc32fast::hash(&out).to_le_bytes());
        out.try_into().expect("the parts add up to the header's size")
    }

    pub(crate) fn decode(kind: Kind, bytes: &[u8; HEADER]) -> Result<Self, String> {
        let u32_at = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        let u64_at = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        if !bytes.starts_with(kind.magic()) {
            return Err(match kind {
                Kind::Snapshot => "is not a snapshot".to_owned(),
                _ => "not a file of this store".to_owned(),
            });
        }
        let format = u32_at(8);
        if !(1..=kind.format()).contains(&format) {
            return Err(format!("has format {format}, this program knows 1 to {}", kind.format()));
        }
        if u32_at(40) != crc32fast::hash(&bytes[..40]) {
            return Err("its header is damaged".to_owned());
        }
        Ok(Self {
            kind,
            format,
            salt: u32_at(12),
            generation: u64_at(16),
            revision: Revision(u64_at(24)),
            compacted: Revision(u64_at(32)),
        })
    }
}

/// [`head`], for a frame that is to be read again: refused when no reader takes it, before any of it is written.
pub(crate) fn checked_head(salt: u32, payload: &[u8]) -> io::Result<[u8; FRAME_HEAD]> {
    if payload.is_empty() || payload.len() > MAX_PAYLOAD {
        let what = format!("a frame of {} bytes, which nobody could read", payload.len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    }
    Ok(head(salt, payload))
}

/// The first bytes of a frame whose payload is `payload`.
pub(crate) fn head(salt: u32, payload: &[u8]) -> [u8; FRAME_HEAD] {
    let length =
        u32::try_from(payload.len()).expect("payloads are limited before they are framed").to_le_bytes();
    let [a, b, c, d] = length;
    let [e, f, g, h] = checksum(salt, length, payload).to_le_bytes();
    [a, b, c, d, e, f, g, h]
}

fn checksum(salt: u32, length: [u8; 4], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(salt);
    hasher.update(&length);
    hasher.update(payload);
    hasher.finalize()
}

/// The next thing in a file.
#[derive(Debug)]
pub(crate) enum Next {
    /// A whole frame's payload.
    Payload(Vec<u8>),
    /// The file ends here.
    End,
    /// Bytes that are no frame.
    Bad,
}

/// Reads the frame at the reader's place. What was consumed of a bad one is of no use.
pub(crate) fn read(reader: &mut impl Read, salt: u32) -> io::Result<Next> {
    let mut head = [0; FRAME_HEAD];
    match fill(reader, &mut head)? {
        0 => return Ok(Next::End),
        FRAME_HEAD => {}
        _ => return Ok(Next::Bad),
    }
    let [a, b, c, d, crc @ ..] = head;
    let length = u32::from_le_bytes([a, b, c, d]) as usize;
    if length == 0 || length > MAX_PAYLOAD {
        return Ok(Next::Bad);
    }
    let mut payload = vec![0; length];
    if fill(reader, &mut payload)? != length {
        return Ok(Next::Bad);
    }
    let good = checksum(salt, [a, b, c, d], &payload) == u32::from_le_bytes(crc);
    Ok(if good { Next::Payload(payload) } else { Next::Bad })
}

/// Reads until the buffer is full or the file ends.
pub(crate) fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Where in `bytes`, behind its first byte, a whole frame of a log begins.
///
/// The last frame of a log may be torn, and nothing whole can follow it, for it was still being
/// written. So a whole frame behind a bad one means that bytes were lost which had been acknowledged.
///
/// Values may be made to look like many frames, one in the other. So no payload is looked at whole: the checksum of each is
/// worked out of those of everything up to its begin and up to its end.
pub(crate) fn find_log_frame(bytes: &[u8], salt: u32) -> Option<usize> {
    let sums = Sums::of(bytes);
    (1..bytes.len().saturating_sub(FRAME_HEAD)).find(|&begin| is_log_frame(bytes, begin, salt, &sums))
}

fn is_log_frame(bytes: &[u8], begin: usize, salt: u32, sums: &Sums<'_>) -> bool {
    let head = bytes.get(begin..).and_then(<[u8]>::split_first_chunk::<FRAME_HEAD>);
    let Some((&[a, b, c, d, crc @ ..], rest)) = head else { return false };
    let length = u32::from_le_bytes([a, b, c, d]) as usize;
    let starts_well = rest.first().copied().is_some_and(super::codec::is_log_tag);
    if !starts_well || length == 0 || length > MAX_PAYLOAD.min(rest.len()) {
        return false;
    }
    let payload = begin + FRAME_HEAD;
    // A checksum is linear: that of what follows is what two that differ only before it differ in.
    let before = checksum(salt, [a, b, c, d], &[]) ^ sums.up_to(payload);
    behind(before, length) ^ sums.up_to(payload + length) == u32::from_le_bytes(crc)
}

/// What a checksum becomes when so many bytes follow whose own checksum is none.
fn behind(sum: u32, length: usize) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial_len(sum, 0);
    hasher.combine(&crc32fast::Hasher::new_with_initial_len(0, length as u64));
    hasher.finalize()
}

/// Checksums of the beginnings of some bytes.
struct Sums<'a> {
    bytes: &'a [u8],
    /// Up to every so many bytes.
    sums: Vec<u32>,
}

impl<'a> Sums<'a> {
    const STEP: usize = 64;

    fn of(bytes: &'a [u8]) -> Self {
        let mut sums = Vec::with_capacity(bytes.len() / Self::STEP + 1);
        let mut sum = 0;
        sums.push(sum);
        for step in bytes.chunks_exact(Self::STEP) {
            sum = go_on(sum, step);
            sums.push(sum);
        }
        Self { bytes, sums }
    }

    fn up_to(&self, end: usize) -> u32 {
        let step = end / Self::STEP;
        go_on(self.sums[step], &self.bytes[step * Self::STEP..end])
    }
}

fn go_on(sum: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(sum);
    hasher.update(bytes);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(salt: u32, payload: &[u8]) -> Vec<u8> {
        [&head(salt, payload)[..], payload].concat()
    }

    #[test]
    fn a_flipped_bit_anywhere_in_a_frame_is_found() {
        let good = framed(7, b"\x01payload");
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(read(&mut &bad[..], 7).unwrap(), Next::Bad), "bit {bit}");
        }
        assert!(matches!(read(&mut &good[..], 8).unwrap(), Next::Bad), "another file's salt");
        assert!(matches!(read(&mut &good[..], 7).unwrap(), Next::Payload(_)));
    }

    #[test]
    fn a_flipped_bit_anywhere_in_a_header_is_found() {
        let header = Header::new(Kind::Log, 3, Revision(9), Revision(4));
        let good = header.encode();
        assert_eq!(Header::decode(Kind::Log, &good).unwrap(), header);
        for bit in 0..HEADER * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Header::decode(Kind::Log, &bad).is_err(), "bit {bit}");
        }
        assert!(Header::decode(Kind::Checkpoint, &good).is_err());
    }

    #[test]
    fn a_whole_frame_behind_damage_is_found_and_nothing_else_is() {
        let bytes = [&[9; 13][..], &framed(7, b"\x01x")].concat();
        assert_eq!(find_log_frame(&bytes, 7), Some(13));
        assert_eq!(find_log_frame(&bytes[..bytes.len() - 1], 7), None);
        assert_eq!(find_log_frame(&bytes, 8), None);
    }

    #[test]
    fn whole_frames_are_found_at_any_place_and_of_any_length() {
        for before in (1..200).step_by(7) {
            for length in (1..2_000).step_by(83) {
                let payload: Vec<u8> = std::iter::once(1).chain((1..length).map(|n| n as u8)).collect();
                let bytes = [&vec![0xa5; before][..], &framed(0xdead_beef, &payload), &[3; 30]].concat();
                assert_eq!(find_log_frame(&bytes, 0xdead_beef), Some(before), "{length} bytes");
                assert_eq!(find_log_frame(&bytes, 0xdead_beee), None);
            }
        }
    }

    #[test]
    fn bytes_that_look_like_many_large_frames_are_looked_through_in_no_time() {
        // The head of a frame of 4 MiB, again and again.
        let head = [0, 0, 0x40, 0, 1, 2, 3, 4, 1];
        let bytes: Vec<u8> = head.into_iter().cycle().take(9 << 20).collect();
        // Looked at one by one, this would be half a million times 4 MiB.
        assert_eq!(find_log_frame(&bytes, 7), None);
    }
}
