//! Frames: eight bytes of head, then the payload.

/// The bytes before every payload.
pub(super) const HEAD: usize = 8;
/// The largest payload of a control frame that is read; Go's clients send a few hundred bytes.
pub(super) const MAX_CONTROL: usize = 64 * 1024;
/// Set on the last frame of a direction.
pub(super) const FIN: u8 = 1;

const VERSION: u16 = 3;
const STREAM: u32 = 0x7fff_ffff;

/// What a frame's head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) kind: Kind,
    pub(super) flags: u8,
    /// Bytes that follow.
    pub(super) length: usize,
}

/// What sort of frame it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Bytes of a stream.
    Data(u32),
    /// One of the control frames, by its number.
    Control(u16),
}

/// The numbers of control frames that matter here; the others are passed over.
pub(super) mod control {
    pub(in super::super) const SYN_STREAM: u16 = 1;
    pub(in super::super) const SYN_REPLY: u16 = 2;
    pub(in super::super) const RST_STREAM: u16 = 3;
    pub(in super::super) const PING: u16 = 6;
    pub(in super::super) const GOAWAY: u16 = 7;
    pub(in super::super) const HEADERS: u16 = 8;
}

/// Why a stream is refused or given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reset {
    ProtocolError = 1,
    InvalidStream = 2,
    RefusedStream = 3,
}

/// A violation after which nothing on the connection can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FrameError {
    #[error("not a frame of SPDY/3")]
    Version,
    #[error("a control frame of {0} bytes")]
    TooLarge(usize),
    #[error("a frame that is too short")]
    TooShort,
    #[error("headers that cannot be decoded")]
    Headers,
    #[error("headers larger than allowed")]
    HeadersTooLarge,
}

impl Head {
    pub(super) fn decode(bytes: [u8; HEAD]) -> Result<Self, FrameError> {
        let [a, b, c, d, flags, x, y, z] = bytes;
        let length = u32::from_be_bytes([0, x, y, z]) as usize;
        let first = u32::from_be_bytes([a, b, c, d]);
        if first & !STREAM == 0 {
            return Ok(Self { kind: Kind::Data(first), flags, length });
        }
        if u16::from_be_bytes([a & 0x7f, b]) != VERSION {
            return Err(FrameError::Version);
        }
        if length > MAX_CONTROL {
            return Err(FrameError::TooLarge(length));
        }
        Ok(Self { kind: Kind::Control(u16::from_be_bytes([c, d])), flags, length })
    }
}

/// The head of a data frame. `length` is below 2²⁴, which the caller's buffers see to.
pub(super) fn data(stream: u32, flags: u8, length: usize) -> [u8; HEAD] {
    let [a, b, c, d] = (stream & STREAM).to_be_bytes();
    let [_, x, y, z] = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    [a, b, c, d, flags, x, y, z]
}

/// A whole control frame.
pub(super) fn encode(kind: u16, flags: u8, payload: &[u8]) -> Vec<u8> {
    let [_, x, y, z] = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    let [v, w] = VERSION.to_be_bytes();
    let [k, l] = kind.to_be_bytes();
    let mut frame = vec![v | 0x80, w, k, l, flags, x, y, z];
    frame.extend_from_slice(payload);
    frame
}

/// Gives a stream up.
pub(super) fn reset(stream: u32, why: Reset) -> Vec<u8> {
    let mut payload = stream.to_be_bytes().to_vec();
    payload.extend_from_slice(&(why as u32).to_be_bytes());
    encode(control::RST_STREAM, 0, &payload)
}

/// Ends the connection; `last` is the last stream that was taken.
pub(super) fn goaway(last: u32, clean: bool) -> Vec<u8> {
    let mut payload = last.to_be_bytes().to_vec();
    payload.extend_from_slice(&u32::from(!clean).to_be_bytes());
    encode(control::GOAWAY, 0, &payload)
}

/// The number at `at`, without the bit that is reserved.
pub(super) fn number(payload: &[u8], at: usize) -> Result<u32, FrameError> {
    let bytes = payload.get(at..at + 4).and_then(|four| <[u8; 4]>::try_from(four).ok());
    Ok(u32::from_be_bytes(bytes.ok_or(FrameError::TooShort)?) & STREAM)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn heads_are_read_as_they_are_written() {
        let head = Head::decode(data(7, FIN, 70_000)).unwrap();
        assert_eq!(head, Head { kind: Kind::Data(7), flags: FIN, length: 70_000 });
        let frame = encode(control::PING, 0, &[0, 0, 0, 9]);
        let head = Head::decode(frame[..HEAD].try_into().unwrap()).unwrap();
        assert_eq!(head, Head { kind: Kind::Control(control::PING), flags: 0, length: 4 });
        assert_eq!(number(&frame[HEAD..], 0), Ok(9));
        assert_eq!(number(&frame[HEAD..], 1), Err(FrameError::TooShort));
    }

    #[test]
    fn other_versions_and_large_control_frames_are_refused() {
        assert_eq!(Head::decode([0x80, 2, 0, 1, 0, 0, 0, 4]), Err(FrameError::Version));
        assert_eq!(Head::decode([0x80, 3, 0, 1, 0, 1, 0, 1]), Err(FrameError::TooLarge(65537)));
    }

    proptest! {
        #[test]
        fn any_eight_bytes_are_a_head_or_an_error(bytes: [u8; HEAD]) {
            if let Ok(head) = Head::decode(bytes) {
                prop_assert!(head.length < 1 << 24);
            }
        }
    }
}
