//! The physical limits: a disk that syncs, a memory that copies.

use std::fs::{File, OpenOptions};
use std::hint::black_box;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use crate::{Result, side};

/// Room made before the clock starts, for the disk at its best.
const READY: usize = 64 * 1024 * 1024;

/// Appends `bytes` and syncs, again and again for `time`: how often a second.
pub(crate) fn appends(bytes: usize, time: Duration) -> Result<f64> {
    let dir = side::folder()?;
    let mut file = File::create(dir.path().join("log"))?;
    let record = vec![7; bytes];
    rate(time, |_| {
        file.write_all(&record)?;
        file.sync_data()
    })
}

/// The same in a file whose blocks are there already, so that a sync has no metadata to write.
pub(crate) fn overwrites(bytes: usize, time: Duration) -> Result<f64> {
    let dir = side::folder()?;
    let file = OpenOptions::new().create(true).truncate(true).write(true).open(dir.path().join("log"))?;
    let record = vec![7; bytes];
    file.write_all_at(&vec![1; READY], 0)?;
    file.sync_all()?;
    let places = READY / bytes;
    rate(time, |n| {
        file.write_all_at(&record, ((n % places) * bytes) as u64)?;
        file.sync_data()
    })
}

fn rate(time: Duration, mut sync: impl FnMut(usize) -> std::io::Result<()>) -> Result<f64> {
    let begin = Instant::now();
    let mut count = 0;
    while begin.elapsed() < time {
        sync(count)?;
        count += 1;
    }
    Ok(count as f64 / begin.elapsed().as_secs_f64())
}

/// Copies `bytes` from one place to another: milliseconds.
pub(crate) fn copy(bytes: usize) -> f64 {
    let from = vec![7_u8; bytes];
    let mut to = vec![0_u8; bytes];
    let begin = Instant::now();
    to.copy_from_slice(black_box(&from));
    black_box(&to);
    begin.elapsed().as_secs_f64() * 1e3
}

/// Lets the disk write back what is left over, and the processors come to rest.
pub(crate) fn settle(rest: Duration) -> Result<()> {
    let dir = side::folder()?;
    File::create(dir.path().join("settled"))?.sync_all()?;
    std::thread::sleep(rest);
    Ok(())
}
