//! One file of the log.

use std::io::{self, BufReader, Read, Seek, SeekFrom, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::codec::{self, Item};
use super::disk::{DiskFile, Draft, at, corrupt};
use super::frame::{self, FRAME_HEAD, HEADER, Header, Kind, Next, ROOM_SINCE};
use crate::lease::Lease;
use crate::mvcc::{Latest, Mvcc, Share};
use crate::revision::Revision;
use crate::store::Result;

/// The segment that is being written.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) generation: u64,
    pub(crate) format: u32,
    pub(crate) path: PathBuf,
    /// Bytes of the header and the frames.
    pub(crate) length: u64,
    /// Bytes of the file when it was begun or read. Behind `length` they are zeros, to be overwritten.
    prepared: u64,
    salt: u32,
    file: DiskFile,
}

/// The path of log `generation`.
pub(crate) fn path(dir: &Path, generation: u64) -> PathBuf {
    dir.join(format!("{generation:010}.log"))
}

impl Segment {
    /// A new, empty segment, durably in its directory.
    pub(crate) fn create(
        dir: &Path,
        generation: u64,
        revision: Revision,
        compacted: Revision,
    ) -> Result<Self> {
        let draft = Draft::create(path(dir, generation))?;
        Self::begin(draft, HEADER as u64, generation, revision, compacted)
    }

    /// A new segment in a file of `prepared` zeros, durably in its directory.
    pub(crate) fn begin_in(
        draft: Draft,
        prepared: u64,
        dir: &Path,
        generation: u64,
        revision: Revision,
        compacted: Revision,
    ) -> Result<Self> {
        Self::begin(draft.named(path(dir, generation)), prepared, generation, revision, compacted)
    }

    fn begin(
        mut draft: Draft,
        prepared: u64,
        generation: u64,
        revision: Revision,
        compacted: Revision,
    ) -> Result<Self> {
        let header = Header::new(Kind::Log, generation, revision, compacted);
        let file = draft.file();
        let written = file.seek(SeekFrom::Start(0)).and_then(|_| file.write_all(&header.encode()));
        if let Err(error) = written {
            let error = at("write", draft.place())(error);
            draft.discard();
            return Err(error.into());
        }
        let (file, path) = draft.publish()?;
        let (format, salt, length) = (header.format, header.salt, HEADER as u64);
        Ok(Self { generation, format, path, length, prepared, salt, file })
    }

    /// Bytes that can be written where zeros are now.
    pub(crate) fn room(&self) -> u64 {
        self.prepared.saturating_sub(self.length)
    }

    /// Whether it has held frames or is as it was begun.
    pub(crate) fn is_empty(&self) -> bool {
        self.length <= HEADER as u64
    }

    /// Takes the zeros away, for only the last log may end in any. Durable with [`Segment::sync`].
    pub(crate) fn cut_room(&mut self) -> io::Result<()> {
        self.file.cut(self.length)?;
        self.prepared = self.length;
        Ok(())
    }

    /// Makes durable whatever was done to it.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    /// Room at the front of a buffer for the head of the frame that the rest will be.
    pub(crate) const ROOM: usize = FRAME_HEAD;

    /// Appends `buffer`, which begins with [`Segment::ROOM`], as one frame and makes it durable. Tells how long that took the disk.
    /// When the disk is full, `make_room` may give back some of it, and the frame is written once more.
    pub(crate) fn append(
        &mut self,
        buffer: &mut [u8],
        make_room: impl FnOnce() -> bool,
    ) -> io::Result<Duration> {
        let Some((room, payload)) = buffer.split_at_mut_checked(Self::ROOM) else {
            return Ok(Duration::ZERO);
        };
        room.copy_from_slice(&frame::checked_head(self.salt, payload)?);
        match self.file.write_all(buffer) {
            // Nothing was promised yet, unlike behind a sync that failed.
            Err(error) if error.kind() == io::ErrorKind::StorageFull && make_room() => {
                self.file.seek(SeekFrom::Start(self.length))?;
                self.file.write_all(buffer)?;
            }
            written => written?,
        }
        let begun = Instant::now();
        self.file.sync_data()?;
        let took = begun.elapsed();
        self.length += buffer.len() as u64;
        Ok(took)
    }
}

/// Whether a segment may end in a torn frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// More segments follow: this one was whole when the next was begun.
    Inner,
    /// The one that was being written.
    Last,
}

/// Applies the segment's frames to `state`, cuts a torn tail, and returns it ready for appending, where zeros follow if there are any.
pub(crate) fn replay(path: &Path, generation: u64, place: Place, state: &mut Mvcc) -> Result<Segment> {
    let mut file = DiskFile::reopen(path)?;
    let mut reader = BufReader::with_capacity(256 * 1024, &mut file);
    let header = read_header(&mut reader, path, Kind::Log)?;
    if header.generation != generation {
        return Err(corrupt(path, format!("holds log {}", header.generation)));
    }
    if header.revision != state.revision() {
        let (then, now) = (header.revision, state.revision());
        return Err(corrupt(path, format!("begins at revision {then}, but what is before it ends at {now}")));
    }
    let (mut good, mut last, mut room) = (HEADER as u64, None, 0);
    loop {
        match frame::read(&mut reader, header.salt).map_err(at("read", path))? {
            Next::End => break,
            Next::Payload(payload) => {
                apply(&payload, state).map_err(|what| corrupt(path, format!("at byte {good}: {what}")))?;
                last = Some(good);
                good += (FRAME_HEAD + payload.len()) as u64;
            }
            Next::Bad if place == Place::Inner => {
                return Err(corrupt(path, format!("bad frame at byte {good}")));
            }
            Next::Bad => {
                drop(reader);
                // No frame begins with as many zeros as its length has bytes. So a frame that was to stand here left nothing at all.
                room = zeros_to_end(&mut file, good).map_err(at("read", path))?;
                if room > 0 && header.format >= ROOM_SINCE {
                    break;
                }
                room = 0;
                cut(&mut file, path, header.salt, good)?;
                break;
            }
        }
    }
    // A killed process may have left a whole frame that only the page cache holds. It is about to become visible, so it must stay. It is
    // written again first: after a sync that failed, the system takes it for written, and another sync would do nothing.
    if let Some(last) = last.filter(|_| place == Place::Last) {
        write_again(&mut file, last..good).map_err(at("write again in", path))?;
    }
    file.sync_all().map_err(at("sync", path))?;
    file.seek(SeekFrom::Start(good)).map_err(at("seek in", path))?;
    let (path, format, salt) = (path.to_owned(), header.format, header.salt);
    Ok(Segment { generation, format, path, length: good, prepared: good + room, salt, file })
}

/// How many zeros there are from `begin` to the end of the file; 0 when there is anything else.
fn zeros_to_end(file: &mut DiskFile, begin: u64) -> io::Result<u64> {
    file.seek(SeekFrom::Start(begin))?;
    let (mut zeros, mut piece) = (0, vec![0; 64 * 1024]);
    loop {
        let count = frame::fill(file, &mut piece)?;
        let Some(read) = piece.get(..count).filter(|read| read.iter().all(|&byte| byte == 0)) else {
            return Ok(0);
        };
        if read.is_empty() {
            return Ok(zeros);
        }
        zeros += count as u64;
    }
}

fn write_again(file: &mut DiskFile, range: Range<u64>) -> std::io::Result<()> {
    let mut bytes = vec![0; usize::try_from(range.end - range.start).map_err(std::io::Error::other)?];
    file.seek(SeekFrom::Start(range.start))?;
    file.read_exact(&mut bytes)?;
    file.seek(SeekFrom::Start(range.start))?;
    file.write_all(&bytes)
}

fn cut(file: &mut DiskFile, path: &Path, salt: u32, good: u64) -> Result<()> {
    let mut rest = Vec::new();
    file.seek(SeekFrom::Start(good)).and_then(|_| file.read_to_end(&mut rest)).map_err(at("read", path))?;
    if let Some(offset) = frame::find_log_frame(&rest, salt) {
        let next = good + offset as u64;
        return Err(corrupt(path, format!("bad frame at byte {good}, before a good one at byte {next}")));
    }
    tracing::warn!(path = %path.display(), at = good, bytes = rest.len(), "cutting a write that a crash left unfinished");
    Ok(file.cut(good).map_err(at("cut", path))?)
}

fn apply(payload: &[u8], state: &mut Mvcc) -> Result<(), String> {
    for item in codec::items(payload) {
        match item? {
            Item::Write(write) if write.revision == state.revision().next() => {
                let leases = write.changes.iter().filter_map(|change| change.lease);
                if let Some(id) = leases.into_iter().find(|&id| state.lease(id).is_none()) {
                    return Err(format!("a key has lease {id}, which is not there"));
                }
                state.apply(&write);
            }
            Item::Write(write) => {
                return Err(format!("revision {} follows {}", write.revision, state.revision()));
            }
            Item::Compact(to) => {
                state.compact(to).map_err(|_| format!("compaction to {to} in the future"))?
            }
            Item::Grant(lease) if lease.id.get() > state.leases().last() => state.leases_mut().grant(lease),
            Item::Revoke(id) if state.leases_mut().end(id) => {}
            Item::Grant(Lease { id, .. }) | Item::Revoke(id) => {
                return Err(format!("lease {id} is granted twice, or ends with keys or without having been"));
            }
            _ => return Err("an item in a log that does not belong there".to_owned()),
        }
    }
    // What is compacted is dropped as it goes, so that opening needs no more memory than running did.
    while state.trim(&mut Share::ALL.clone()).has_more {}
    Ok(())
}

/// Reads and checks a file's header.
pub(crate) fn read_header(reader: &mut impl Read, path: &Path, kind: Kind) -> Result<Header> {
    let mut bytes = [0; HEADER];
    if frame::fill(reader, &mut bytes).map_err(at("read", path))? != HEADER {
        return Err(corrupt(path, "is shorter than its header"));
    }
    let header = Header::decode(kind, &bytes).map_err(|what| corrupt(path, what))?;
    // A counter that high was never reached by counting, and would overflow.
    if header.revision.0 >= u64::MAX / 2 || header.compacted > header.revision {
        return Err(corrupt(path, "its header makes no sense"));
    }
    Ok(header)
}
