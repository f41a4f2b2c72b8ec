//! Header blocks: names and values, compressed by zlib with a dictionary that both sides know.

use std::sync::LazyLock;

use flate2::{Decompress, FlushDecompress, Status};

use super::frame::FrameError;

/// The most that a header block may be, decompressed.
const MAX_BLOCK: usize = 64 * 1024;
/// The most headers a stream may have; Kubernetes uses three.
const MAX_HEADERS: u32 = 100;

const WORDS: &str = "options head post put delete trace accept accept-charset accept-encoding accept-language \
     accept-ranges age allow authorization cache-control connection content-base content-encoding content-language \
     content-length content-location content-md5 content-range content-type date etag expect expires from host \
     if-match if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma \
     proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade \
     user-agent vary via warning www-authenticate method get status 200_OK version HTTP/1.1 url public set-cookie \
     keep-alive origin";

const TAIL: &str = "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203 \
     Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden404 \
     Not Found500 Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept \
     Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,\
     application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,\
     sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";

/// The dictionary of SPDY/3: common words, each after its length, and a run of common values.
static DICTIONARY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut all = Vec::new();
    for word in WORDS.split_ascii_whitespace() {
        all.extend_from_slice(&u32::try_from(word.len()).unwrap_or_default().to_be_bytes());
        all.extend(word.bytes().map(|b| if b == b'_' { b' ' } else { b }));
    }
    all.extend_from_slice(TAIL.as_bytes());
    all
});

/// Headers in the order they came, names in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Headers(Vec<(String, String)>);

impl Headers {
    /// The first value of a header; `name` is lower case.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Decodes the header blocks of one direction, which are compressed as one stream.
pub(super) struct Decoder {
    inflate: Decompress,
}

impl Decoder {
    pub(super) fn new() -> Self {
        Self { inflate: Decompress::new(true) }
    }

    pub(super) fn decode(&mut self, compressed: &[u8]) -> Result<Headers, FrameError> {
        parse(&self.inflate(compressed)?)
    }

    fn inflate(&mut self, mut compressed: &[u8]) -> Result<Vec<u8>, FrameError> {
        let mut block = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let (read, wrote) = (self.inflate.total_in(), self.inflate.total_out());
            let done = self.inflate.decompress(compressed, &mut buffer, FlushDecompress::Sync);
            let consumed = usize::try_from(self.inflate.total_in() - read).unwrap_or_default();
            let produced = usize::try_from(self.inflate.total_out() - wrote).unwrap_or_default();
            compressed = compressed.get(consumed..).unwrap_or_default();
            match done {
                Ok(status) => {
                    block.extend_from_slice(buffer.get(..produced).unwrap_or_default());
                    if block.len() > MAX_BLOCK {
                        return Err(FrameError::HeadersTooLarge);
                    }
                    let idle = consumed == 0 && produced == 0;
                    if idle || (compressed.is_empty() && produced < buffer.len()) {
                        return if compressed.is_empty() { Ok(block) } else { Err(FrameError::Headers) };
                    }
                    if status == Status::StreamEnd {
                        return Err(FrameError::Headers);
                    }
                }
                Err(error) if error.needs_dictionary().is_some() => {
                    self.inflate.set_dictionary(&DICTIONARY).map_err(|_| FrameError::Headers)?;
                }
                Err(_) => return Err(FrameError::Headers),
            }
        }
    }
}

fn parse(mut block: &[u8]) -> Result<Headers, FrameError> {
    let count = take_number(&mut block)?;
    if count > MAX_HEADERS {
        return Err(FrameError::HeadersTooLarge);
    }
    let mut headers = Vec::new();
    for _ in 0..count {
        let name = take_text(&mut block)?.to_ascii_lowercase();
        headers.push((name, take_text(&mut block)?));
    }
    Ok(Headers(headers))
}

fn take_number(block: &mut &[u8]) -> Result<u32, FrameError> {
    let (four, rest) = block.split_first_chunk::<4>().ok_or(FrameError::TooShort)?;
    *block = rest;
    Ok(u32::from_be_bytes(*four))
}

fn take_text(block: &mut &[u8]) -> Result<String, FrameError> {
    let length = take_number(block)? as usize;
    if length > block.len() {
        return Err(FrameError::TooShort);
    }
    let (text, rest) = block.split_at(length);
    *block = rest;
    String::from_utf8(text.to_vec()).map_err(|_| FrameError::Headers)
}

/// Encodes the header blocks we send, which have no headers: zlib's stored blocks need no compressor.
#[derive(Default)]
pub(super) struct Encoder {
    begun: bool,
}

impl Encoder {
    /// A block of no headers.
    pub(super) fn empty(&mut self) -> Vec<u8> {
        let mut out = if self.begun { Vec::new() } else { vec![0x78, 0x01] };
        self.begun = true;
        // Not the last block, stored, four bytes, their complement; the number of headers.
        out.extend_from_slice(&[0, 4, 0, 0xfb, 0xff, 0, 0, 0, 0]);
        // An empty block, without which a decompressor may hold the bytes back.
        out.extend_from_slice(&[0, 0, 0, 0xff, 0xff]);
        out
    }
}

#[cfg(test)]
mod tests {
    use flate2::{Compress, Compression, FlushCompress};
    use proptest::prelude::*;

    use super::*;

    /// Compresses as Go's clients do.
    struct Client(Compress);

    impl Client {
        fn new() -> Self {
            let mut compress = Compress::new(Compression::best(), true);
            compress.set_dictionary(&DICTIONARY).unwrap();
            Self(compress)
        }

        fn encode(&mut self, headers: &[(&str, &str)]) -> Vec<u8> {
            let mut block = u32::try_from(headers.len()).unwrap().to_be_bytes().to_vec();
            for text in headers.iter().flat_map(|(name, value)| [name, value]) {
                block.extend_from_slice(&u32::try_from(text.len()).unwrap().to_be_bytes());
                block.extend_from_slice(text.as_bytes());
            }
            self.squeeze(&block)
        }

        fn squeeze(&mut self, block: &[u8]) -> Vec<u8> {
            let mut out = Vec::with_capacity(block.len() + 1024);
            self.0.compress_vec(block, &mut out, FlushCompress::Sync).unwrap();
            out
        }
    }

    #[test]
    fn the_dictionary_is_the_one_of_the_protocol() {
        let (mut a, mut b) = (1u32, 0u32);
        for byte in DICTIONARY.iter() {
            a = (a + u32::from(*byte)) % 65521;
            b = (b + a) % 65521;
        }
        assert_eq!((DICTIONARY.len(), b << 16 | a), (1423, 0xe3c6_a7c2));
    }

    #[test]
    fn blocks_of_one_connection_are_one_compressed_stream() {
        let (mut client, mut server) = (Client::new(), Decoder::new());
        for id in ["0", "1", "2"] {
            let block = client.encode(&[("streamtype", "data"), ("Port", "80"), ("requestid", id)]);
            let headers = server.decode(&block).unwrap();
            assert_eq!(headers.get("requestid"), Some(id));
            assert_eq!((headers.get("port"), headers.get("x")), (Some("80"), None));
        }
    }

    #[test]
    fn our_own_blocks_are_valid_zlib() {
        let (mut ours, mut theirs) = (Encoder::default(), Decoder::new());
        for _ in 0..3 {
            assert_eq!(theirs.decode(&ours.empty()), Ok(Headers::default()));
        }
    }

    #[test]
    fn a_bomb_of_headers_is_refused() {
        let mut client = Client::new();
        let bomb = client.squeeze(&vec![0; 10 << 20]);
        assert_eq!(Decoder::new().decode(&bomb), Err(FrameError::HeadersTooLarge));
        assert_eq!(parse(&[0xff; 4]), Err(FrameError::HeadersTooLarge));
    }

    proptest! {
        #[test]
        fn no_bytes_break_the_decoder(bytes: Vec<u8>) {
            let mut decoder = Decoder::new();
            let _ = decoder.decode(&bytes);
            let _ = parse(&bytes);
        }
    }
}
