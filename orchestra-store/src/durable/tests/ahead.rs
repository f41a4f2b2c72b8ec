//! Logs that are written where zeros were: what is torn, what is damage, and what the room ahead may cost.

use std::os::unix::fs::FileExt;

use super::segment::Segment;
use super::*;
use crate::durable::disk::tape::Recording;
use crate::durable::frame::{FRAME_HEAD, HEADER, Header, Kind, head};

/// What a disk writes as a whole.
const SECTOR: usize = 512;
const ROOM: u64 = 16 * 1024;

/// Gives a closed log zeros to be written over.
fn add_room(dir: &Path) {
    let log = fs::OpenOptions::new().write(true).open(last_log(dir)).unwrap();
    log.set_len(log.metadata().unwrap().len() + ROOM).unwrap();
}

/// Where the header and each frame of a log end.
fn ends(log: &[u8]) -> Vec<usize> {
    let mut ends = vec![HEADER];
    while let Some([a, b, c, d]) = log.get(ends[ends.len() - 1]..).and_then(<[u8]>::first_chunk) {
        match u32::from_le_bytes([*a, *b, *c, *d]) as usize {
            0 => break,
            length => ends.push(ends[ends.len() - 1] + FRAME_HEAD + length),
        }
    }
    ends
}

/// The log of a store that crashed after some writes over zeros, each of the last revisions alone in its frame, and where frames end.
async fn crashed(last_value: usize) -> (Vec<u8>, Vec<usize>) {
    let dir = tempfile::tempdir().unwrap();
    DurableStore::open(dir.path()).unwrap().commit(put("a", "first")).await.unwrap();
    add_room(dir.path());
    let before = fs::metadata(last_log(dir.path())).unwrap().len();
    let store = DurableStore::open(dir.path()).unwrap();
    for n in 0..5 {
        let value = vec![b'v'; if n == 4 { last_value } else { 40 + 100 * n }];
        store.commit(put("a", value).put(format!("b{n}").into(), "w")).await.unwrap();
    }
    let log = fs::read(last_log(dir.path())).unwrap();
    assert_eq!(log.len() as u64, before, "it is written over the zeros");
    assert_eq!((count(dir.path(), "log"), store.status().await.unwrap().revision), (1, Revision(7)));
    let ends = ends(&log);
    (log, ends)
}

fn lay_out(log: &[u8]) -> TempDir {
    let dir = place();
    fs::write(segment::path(dir.path(), 1), log).unwrap();
    dir
}

/// Opens it, and shows that it goes on.
async fn opens_at(log: &[u8], revision: u64, when: &str) {
    let dir = lay_out(log);
    let store = DurableStore::open(dir.path()).unwrap_or_else(|error| panic!("{when}: {error}"));
    assert_eq!(everything(&store).await.revision, Revision(revision), "{when}");
    let before = (everything(&store).await, history(&store, Revision(2)).await);
    drop(store);
    let store = DurableStore::open(dir.path()).unwrap();
    assert_eq!((everything(&store).await, history(&store, Revision(2)).await), before, "{when}");
    store.commit(put("after", "x")).await.unwrap();
    drop(store);
    let store = DurableStore::open(dir.path()).unwrap();
    assert_eq!(everything(&store).await.revision, Revision(revision + 1), "{when}");
}

/// How many writes are whole in a log that was written up to `end`.
fn revision_at(ends: &[usize], end: usize) -> u64 {
    // The first frames are the header's end, the first write and the mark that the first store left.
    let frames = ends.iter().filter(|&&at| at <= end).count() as u64 - 1;
    1 + frames - u64::from(frames >= 2)
}

#[tokio::test]
async fn zeros_from_any_byte_on_leave_exactly_the_whole_writes() {
    let (log, ends) = crashed(300).await;
    for at in ends[3]..=ends[ends.len() - 1] {
        let mut bytes = log.clone();
        bytes[at..].fill(0);
        let whole = if bytes == log { log.len() } else { at };
        opens_at(&bytes, revision_at(&ends, whole), &format!("zeros from byte {at}")).await;
    }
}

#[tokio::test]
async fn a_last_write_of_which_any_sectors_are_missing_is_there_wholly_or_not() {
    let (log, ends) = crashed(2400).await;
    let [.., begin, end] = ends[..] else { panic!("no frames") };
    let first = begin / SECTOR;
    let sectors = end.div_ceil(SECTOR) - first;
    assert!(sectors >= 5);
    for lost in 0..1_u32 << sectors {
        let mut bytes = log.clone();
        for sector in (0..sectors).filter(|sector| lost >> sector & 1 == 1) {
            let from = (first + sector) * SECTOR;
            // What stood in the same sector before was durable.
            bytes[from.max(begin)..end.min(from + SECTOR)].fill(0);
        }
        let revision = revision_at(&ends, if bytes == log { end } else { begin });
        opens_at(&bytes, revision, &format!("lost sectors {lost:b}")).await;
    }
}

#[tokio::test]
async fn an_acknowledged_write_that_became_zeros_is_refused_and_named() {
    let (log, ends) = crashed(300).await;
    for pair in ends[..ends.len() - 1].windows(2) {
        let mut bytes = log.clone();
        bytes[pair[0]..pair[1]].fill(0);
        let Err(Error::Corrupt(why)) = DurableStore::open(lay_out(&bytes).path()) else {
            panic!("the hole at byte {} was not missed", pair[0])
        };
        assert!(why.contains("0000000001.log") && why.contains(&format!("byte {}", pair[0])), "{why}");
    }
}

#[tokio::test]
async fn a_flipped_bit_before_the_last_write_is_refused_and_behind_it_is_cut() {
    let (log, ends) = crashed(300).await;
    let [.., begin, end] = ends[..] else { panic!("no frames") };
    for at in (HEADER..begin).step_by(3) {
        let mut bytes = log.clone();
        bytes[at] ^= 0x10;
        assert!(matches!(DurableStore::open(lay_out(&bytes).path()), Err(Error::Corrupt(_))), "byte {at}");
    }
    for at in [end, end + 1, end + 600, log.len() - 1] {
        let mut bytes = log.clone();
        bytes[at] ^= 0x10;
        opens_at(&bytes, 7, &format!("byte {at}")).await;
    }
}

#[tokio::test]
async fn only_the_last_log_may_end_in_zeros() {
    let dir = tempfile::tempdir().unwrap();
    DurableStore::open(dir.path()).unwrap().commit(put("a", "1")).await.unwrap();
    Segment::create(dir.path(), 2, Revision(2), Revision::NONE).unwrap();
    drop(DurableStore::open(dir.path()).unwrap());
    let first = fs::OpenOptions::new().write(true).open(segment::path(dir.path(), 1)).unwrap();
    first.set_len(first.metadata().unwrap().len() + 100).unwrap();
    let Err(Error::Corrupt(why)) = DurableStore::open(dir.path()) else { panic!("zeros were not missed") };
    assert!(why.contains("0000000001.log"), "{why}");
}

#[tokio::test]
async fn zeros_in_a_log_of_a_format_without_them_are_cut() {
    let dir = tempfile::tempdir().unwrap();
    let header = Header { format: 2, ..Header::new(Kind::Log, 1, Revision(1), Revision::NONE) };
    let mut payload = Vec::new();
    codec::put_compact(&mut payload, Revision(1));
    let good = [&header.encode()[..], &head(header.salt, &payload), &payload].concat();
    let path = segment::path(dir.path(), 1);
    fs::write(&path, [&good[..], &[0; 1000]].concat()).unwrap();
    let store = DurableStore::open(dir.path()).unwrap();
    store.commit(put("a", "1")).await.unwrap();
    assert_eq!((fs::read(&path).unwrap(), count(dir.path(), "log")), (good, 2));
}

fn sizes(dir: &Path) -> u64 {
    let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    files.filter(|file| file.file_name() != "LOCK").map(|file| file.metadata().unwrap().len()).sum()
}

#[tokio::test]
async fn room_ahead_is_counted_bounded_and_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = DurableStore::open(dir.path()).unwrap();
    for n in 0..50 {
        store.commit(put(&format!("k{n}"), vec![b'v'; 1000])).await.unwrap();
    }
    assert_eq!(
        store.status().await.unwrap().disk_bytes,
        sizes(dir.path()),
        "a small store has no room ahead"
    );
    let mut written = 50;
    while count(dir.path(), "log") < 3 {
        store.commit(put(&format!("k{written}"), vec![b'v'; 1000])).await.unwrap();
        written += 1;
    }
    let status = store.status().await.unwrap();
    assert!(status.disk_bytes >= sizes(dir.path()), "{status:?}");
    assert!(status.disk_bytes < 5 * 1100 * written, "{status:?} for {written} writes");
    drop(store);
    assert_eq!(count(dir.path(), "draft"), 0);
    let store = DurableStore::open(dir.path()).unwrap();
    let status = store.status().await.unwrap();
    assert_eq!((status.disk_bytes, status.keys), (sizes(dir.path()), written));
}

#[tokio::test]
async fn room_that_a_crash_left_unfinished_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("next.log.draft"), [0; 5000]).unwrap();
    fs::write(dir.path().join("next.log"), "mine").unwrap();
    drop(DurableStore::open(dir.path()).unwrap());
    assert!(!dir.path().join("next.log.draft").exists());
    assert!(dir.path().join("next.log").exists());
}

/// Whatever was made ready gives way, at whatever size the disk is full.
#[tokio::test]
async fn no_write_fails_that_would_have_found_room_without_it() {
    for room in [100_000, 200_000, 400_000, 620_000, 900_000, 1_300_000] {
        let place = place();
        let tape = Recording::with_room(place.path(), room);
        let store = DurableStore::open(place.path().join("state")).unwrap();
        let mut written = 0;
        let refused = loop {
            match store.commit(put(&format!("k{written}"), vec![b'v'; 1000])).await {
                Ok(_) => written += 1,
                Err(refused) => break refused,
            }
        };
        assert!(matches!(refused, Error::Unavailable(_)), "{refused}");
        drop((store, tape));
        let dir = place.path().join("state");
        let frame = 1100;
        assert!(sizes(&dir) + frame > room, "{written} writes in {room} bytes, {} are used", sizes(&dir));
        let store = DurableStore::open(&dir).unwrap();
        assert_eq!(store.status().await.unwrap().keys, written);
        assert!(written * frame + 2 * frame > room - 1000, "{written} writes in {room} bytes");
    }
}

#[tokio::test]
async fn a_torn_write_over_zeros_is_cut_even_with_garbage_behind_it() {
    let (log, ends) = crashed(300).await;
    let end = ends[ends.len() - 1];
    let dir = lay_out(&log);
    let file = fs::OpenOptions::new().write(true).open(segment::path(dir.path(), 1)).unwrap();
    file.write_all_at(&[0xff; 700], end as u64 + 50).unwrap();
    let store = DurableStore::open(dir.path()).unwrap();
    assert_eq!(everything(&store).await.revision, Revision(7));
    assert_eq!(fs::metadata(segment::path(dir.path(), 1)).unwrap().len(), end as u64);
}
