//! The whole state in one file, so that the log before it can go.
//!
//! It holds the keys as they were at the lower end of the window, then the window's changes in their order:
//! reading it back is the same work as replaying a log, and watches resume behind it as if nothing had been cut.

use std::io::{self, BufReader, BufWriter, Write as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::codec::{self, Item};
use super::disk::{DiskFile, Draft, at, corrupt};
use super::frame::{self, Header, Kind, LEASES_SINCE, Next};
use super::segment::read_header;
use crate::key::Key;
use crate::mvcc::{Latest, LeasesCopy, Mvcc, Write};
use crate::revision::Revision;
use crate::store::{Entry, Result};

/// Bytes gathered in one frame before it is written.
pub(crate) const FRAME_BYTES: usize = 256 * 1024;

/// The path of checkpoint `generation`.
pub(crate) fn path(dir: &Path, generation: u64) -> PathBuf {
    dir.join(format!("{generation:010}.checkpoint"))
}

/// A state that can be looked at piece by piece while it goes on changing behind `revision`.
pub(crate) trait Source {
    /// Keys behind `after` that were alive at the lower end of the window; none when there are no more.
    fn entries(&self, after: Option<&Key>) -> Result<Vec<Entry>>;
    /// Changes behind `after`; none when there are no more up to the checkpoint's revision.
    fn writes(&self, after: Revision) -> Result<Vec<Write>>;
    /// The leases at the checkpoint's revision.
    fn leases(&self) -> &LeasesCopy;
    /// Break when the store is closing and the checkpoint is not wanted any more.
    fn go_on(&self) -> ControlFlow<()>;
}

/// Writes a checkpoint; `None` when the source broke it off. Returns its size.
pub(crate) fn write(dir: &Path, header: Header, source: &impl Source) -> Result<Option<u64>> {
    let mut draft = Draft::create(path(dir, header.generation))?;
    match fill(&mut draft, header, source) {
        Ok(ControlFlow::Continue(bytes)) => {
            draft.publish()?;
            Ok(Some(bytes))
        }
        Ok(ControlFlow::Break(())) => {
            draft.discard();
            Ok(None)
        }
        Err(error) => {
            draft.discard();
            Err(error)
        }
    }
}

fn fill(draft: &mut Draft, header: Header, source: &impl Source) -> Result<ControlFlow<(), u64>> {
    let path = path(Path::new(""), header.generation);
    let mut out = Frames::begin(draft.file(), header).map_err(at("write", &path))?;
    let (mut entries, mut writes) = (0, 0);
    let mut last_key = None;
    loop {
        let Some(chunk) = next(source, source.entries(last_key.as_ref())?) else {
            return Ok(ControlFlow::Break(()));
        };
        let Some(last) = chunk.last() else { break };
        last_key = Some(last.key.clone());
        entries += chunk.len() as u64;
        for entry in &chunk {
            codec::put_entry(&mut out.payload, entry);
            out.flush_if_full().map_err(at("write", &path))?;
        }
    }
    let mut last_revision = header.compacted;
    loop {
        let Some(chunk) = next(source, source.writes(last_revision)?) else {
            return Ok(ControlFlow::Break(()));
        };
        let Some(last) = chunk.last() else { break };
        last_revision = last.revision;
        writes += chunk.len() as u64;
        for write in &chunk {
            codec::put_write(&mut out.payload, write);
            out.flush_if_full().map_err(at("write", &path))?;
        }
    }
    for lease in source.leases().iter() {
        codec::put_lease(&mut out.payload, &lease);
        out.flush_if_full().map_err(at("write", &path))?;
    }
    codec::put_leases(&mut out.payload, source.leases().len() as u64, source.leases().last);
    codec::put_end(&mut out.payload, entries, writes);
    Ok(ControlFlow::Continue(out.finish().map_err(at("write", &path))?))
}

fn next<T>(source: &impl Source, chunk: T) -> Option<T> {
    source.go_on().is_continue().then_some(chunk)
}

/// Frames on their way into a file.
pub(super) struct Frames<'a> {
    file: BufWriter<&'a mut DiskFile>,
    salt: u32,
    pub(super) payload: Vec<u8>,
    bytes: u64,
}

impl<'a> Frames<'a> {
    pub(super) fn begin(file: &'a mut DiskFile, header: Header) -> io::Result<Self> {
        let mut file = BufWriter::with_capacity(FRAME_BYTES, file);
        let encoded = header.encode();
        file.write_all(&encoded)?;
        Ok(Self { file, salt: header.salt, payload: Vec::new(), bytes: encoded.len() as u64 })
    }

    pub(super) fn flush_if_full(&mut self) -> io::Result<()> {
        if self.payload.len() < FRAME_BYTES { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> io::Result<()> {
        let head = frame::checked_head(self.salt, &self.payload)?;
        self.file.write_all(&head)?;
        self.file.write_all(&self.payload)?;
        self.bytes += (head.len() + self.payload.len()) as u64;
        self.payload.clear();
        Ok(())
    }

    pub(super) fn finish(mut self) -> io::Result<u64> {
        self.flush()?;
        self.file.flush()?;
        Ok(self.bytes)
    }
}

/// Reads a checkpoint back. It got its name only when it was whole, so anything amiss is damage.
pub(crate) fn read(path: &Path, generation: u64) -> Result<Mvcc> {
    let file = DiskFile::open(path)?;
    let mut reader = BufReader::with_capacity(FRAME_BYTES, file);
    let header = read_header(&mut reader, path, Kind::Checkpoint)?;
    if header.generation != generation {
        return Err(corrupt(path, format!("holds checkpoint {}", header.generation)));
    }
    let mut load = Load::new(header);
    while let Some(payload) = next_payload(&mut reader, header.salt, path)? {
        for item in codec::items(&payload) {
            item.and_then(|item| load.take(item)).map_err(|what| corrupt(path, what))?;
        }
    }
    if load.end != Some((load.entries, load.writes)) {
        return Err(corrupt(path, "its end is missing"));
    }
    load.arrive();
    if load.state.revision() != header.revision {
        return Err(corrupt(
            path,
            format!("ends at revision {}, not {}", load.state.revision(), header.revision),
        ));
    }
    Ok(load.state)
}

fn next_payload(reader: &mut impl io::Read, salt: u32, path: &Path) -> Result<Option<Vec<u8>>> {
    match frame::read(reader, salt).map_err(at("read", path))? {
        Next::Payload(payload) => Ok(Some(payload)),
        Next::End => Ok(None),
        Next::Bad => Err(corrupt(path, "bad frame")),
    }
}

struct Load {
    state: Mvcc,
    header: Header,
    entries: u64,
    writes: u64,
    leases: u64,
    /// All leases were there.
    has_leases: bool,
    end: Option<(u64, u64)>,
}

impl Load {
    fn new(header: Header) -> Self {
        let has_leases = header.format < LEASES_SINCE;
        let state = Mvcc::at(header.compacted);
        Self { state, header, entries: 0, writes: 0, leases: 0, has_leases, end: None }
    }

    /// All writes were there. In a restored store the last revision is one that nothing wrote.
    fn arrive(&mut self) {
        if self.writes == 0 && self.header.revision == self.header.compacted.next() {
            self.state.move_on(self.header.revision);
        }
    }

    fn take(&mut self, item: Item) -> Result<(), &'static str> {
        if self.end.is_some() {
            return Err("something follows its end");
        }
        match item {
            Item::Entry(entry)
                if self.is_before_leases()
                    && self.writes == 0
                    && entry.mod_revision <= self.state.revision() =>
            {
                self.entries += 1;
                self.state.load(entry);
            }
            Item::Write(write) if self.is_before_leases() && self.is_next(write.revision) => {
                self.state.move_on(Revision(write.revision.0.saturating_sub(1)));
                self.writes += 1;
                self.state.apply(&write);
            }
            Item::Lease(lease) if !self.has_leases => {
                self.arrive();
                self.leases += 1;
                self.state.load_lease(lease)?;
            }
            Item::Leases { leases, last } if !self.has_leases && leases == self.leases => {
                self.state.leases_mut().move_on(last);
                self.has_leases = true;
            }
            Item::End { entries, writes } if self.has_leases => self.end = Some((entries, writes)),
            _ => return Err("an item is out of order"),
        }
        Ok(())
    }

    fn is_before_leases(&self) -> bool {
        self.leases == 0 && (!self.has_leases || self.header.format < LEASES_SINCE)
    }

    /// Every revision is the one before it plus one, but for the first of a restored store: that one nothing wrote.
    fn is_next(&self, revision: Revision) -> bool {
        let next = self.state.revision().next();
        revision == next || self.writes == 0 && revision == next.next()
    }
}
