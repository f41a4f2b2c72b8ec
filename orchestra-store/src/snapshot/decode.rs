//! A file's bytes as a snapshot. Anything that is not as it was written is an error.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::durable::codec::{self, Item};
use crate::durable::disk::at;
use crate::durable::frame::{self, HEADER, Header, Kind, LEASES_SINCE, Next};
use crate::lease::LeasedKeys;
use crate::revision::Revision;
use crate::store::{Entry, Error, Result};

/// A file that is read from its beginning to its end.
#[derive(Debug)]
pub(super) struct Reader {
    file: Hashed<BufReader<File>>,
    /// The name for messages.
    name: PathBuf,
    salt: u32,
    is_over: bool,
    pub(super) revision: Revision,
    pub(super) keys: u64,
    pub(super) leases: Vec<LeasedKeys>,
    pub(super) last_lease: u64,
    /// Milliseconds since 1970.
    pub(super) taken: u64,
    /// What was read so far.
    pub(super) bytes: u64,
    /// What the last frame says, once it was read.
    pub(super) digest: [u8; 32],
}

impl Reader {
    pub(super) fn open(path: &Path) -> Result<Self> {
        Self::open_as(path, path)
    }

    /// Opens a file that will have another name.
    pub(super) fn open_as(path: &Path, name: &Path) -> Result<Self> {
        let file = BufReader::new(File::open(path).map_err(at("open", name))?);
        let mut file = Hashed { inner: file, digest: Sha256::new(), bytes: 0 };
        let mut header = [0; HEADER];
        if frame::fill(&mut file, &mut header).map_err(at("read", name))? != HEADER {
            return Err(bad(name, "is not a snapshot"));
        }
        let header = Header::decode(Kind::Snapshot, &header).map_err(|what| bad(name, &what))?;
        if header.revision.0 >= u64::MAX / 2 {
            return Err(bad(name, "its header makes no sense"));
        }
        let mut reader = Self {
            file,
            name: name.to_owned(),
            salt: header.salt,
            is_over: false,
            revision: header.revision,
            keys: 0,
            leases: Vec::new(),
            last_lease: 0,
            taken: 0,
            bytes: HEADER as u64,
            digest: [0; 32],
        };
        let begin = reader.frame()?.unwrap_or_default();
        let [Item::About { entries, taken }] = begin[..] else {
            return Err(reader.bad("its beginning is missing"));
        };
        (reader.keys, reader.taken) = (entries, taken);
        if header.format >= LEASES_SINCE {
            reader.read_leases()?;
        }
        Ok(reader)
    }

    fn read_leases(&mut self) -> Result<()> {
        loop {
            let items = self.frame()?.ok_or_else(|| self.bad("its end is missing"))?;
            let mut items = items.into_iter().peekable();
            while let Some(Item::Lease(leased)) = items.next_if(|item| matches!(item, Item::Lease(_))) {
                self.leases.push(leased);
            }
            match (items.next(), items.next()) {
                (None, _) => {}
                (Some(Item::Leases { leases, last }), None) if leases == self.leases.len() as u64 => {
                    self.last_lease = last;
                    return Ok(());
                }
                _ => return Err(self.bad("an item is out of order")),
            }
        }
    }

    /// The next entries; `None` when the end was there and everything before it was right.
    pub(super) fn next(&mut self) -> Result<Option<Vec<Entry>>> {
        if self.is_over {
            return Ok(None);
        }
        let digest = self.file.digest.clone();
        let items = self.frame()?.ok_or_else(|| self.bad("its end is missing"))?;
        if let [Item::End { writes: 0, .. }, Item::Digest(said)] = items[..] {
            if <[u8; 32]>::from(digest.finalize()) != said {
                return Err(self.bad("its checksum is wrong"));
            }
            if self.frame()?.is_some() {
                return Err(self.bad("something follows its end"));
            }
            (self.is_over, self.digest) = (true, said);
            return Ok(None);
        }
        let entries = items.into_iter().map(|item| match item {
            Item::Entry(entry) => Ok(entry),
            _ => Err(self.bad("an item is out of order")),
        });
        entries.collect::<Result<_>>().map(Some)
    }

    /// The items of the next frame; `None` at the end of the file.
    fn frame(&mut self) -> Result<Option<Vec<Item>>> {
        match frame::read(&mut self.file, self.salt).map_err(at("read", &self.name))? {
            Next::End => Ok(None),
            Next::Bad => Err(self.bad(&format!("damaged or cut short at byte {}", self.bytes))),
            Next::Payload(payload) => {
                self.bytes = self.file.bytes;
                codec::items(&payload).collect::<Result<_, _>>().map(Some).map_err(|what| self.bad(what))
            }
        }
    }

    fn bad(&self, what: &str) -> Error {
        bad(&self.name, what)
    }
}

fn bad(name: &Path, what: &str) -> Error {
    Error::BadSnapshot(format!("{}: {what}", name.display()))
}

/// A reader that hashes and counts what passes.
#[derive(Debug)]
struct Hashed<R> {
    inner: R,
    digest: Sha256,
    bytes: u64,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.digest.update(&buffer[..count]);
        self.bytes += count as u64;
        Ok(count)
    }
}
