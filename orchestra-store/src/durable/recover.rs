//! From a directory to a state: the newest checkpoint, then every log from it on.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::ahead;
use super::disk::{DRAFT_SUFFIX, at, corrupt, remove_file, sync_dir};
use super::frame::Kind;
use super::segment::{Place, Segment};
use super::{checkpoint, segment};
use crate::mvcc::{Latest, Mvcc};
use crate::store::Result;

/// What a directory held.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) state: Mvcc,
    /// Where writing goes on.
    pub(crate) segment: Segment,
    /// Bytes of the checkpoint it began with.
    pub(crate) checkpoint_bytes: u64,
    /// Bytes of the logs that were read.
    pub(crate) log_bytes: u64,
}

/// The store's files in a directory.
#[derive(Debug, Default)]
struct Files {
    logs: BTreeSet<u64>,
    checkpoints: BTreeSet<u64>,
    drafts: Vec<PathBuf>,
}

/// Reads everything in `dir`, and makes an empty store where nothing is.
pub(crate) fn recover(dir: &Path) -> Result<Recovered> {
    let files = list(dir)?;
    for draft in &files.drafts {
        remove_file(draft)?;
    }
    let newest = files.checkpoints.last().copied();
    let (mut state, checkpoint_bytes) = match newest {
        None => (Mvcc::default(), 0),
        Some(generation) => {
            let path = checkpoint::path(dir, generation);
            let bytes = std::fs::metadata(&path).map_err(at("look at", &path))?.len();
            (checkpoint::read(&path, generation)?, bytes)
        }
    };
    if newest.is_none() && files.logs.is_empty() {
        let segment = Segment::create(dir, 1, state.revision(), state.compacted())?;
        return Ok(Recovered { state, log_bytes: segment.length, segment, checkpoint_bytes });
    }
    let first = newest.unwrap_or(1);
    let last = files.logs.last().copied().unwrap_or(first).max(first);
    let mut log_bytes = 0;
    for generation in first..last {
        let path = present(dir, &files, generation)?;
        log_bytes += segment::replay(&path, generation, Place::Inner, &mut state)?.length;
    }
    let path = present(dir, &files, last)?;
    let mut segment = segment::replay(&path, last, Place::Last, &mut state)?;
    log_bytes += segment.length;
    if segment.format < Kind::Log.format() {
        // A program that knows only the old format must not find anything else in a file of it.
        segment = Segment::create(dir, last + 1, state.revision(), state.compacted())?;
        log_bytes += segment.length;
    }
    remove_before(dir, first)?;
    Ok(Recovered { state, segment, checkpoint_bytes, log_bytes })
}

fn present(dir: &Path, files: &Files, generation: u64) -> Result<PathBuf> {
    let path = segment::path(dir, generation);
    if files.logs.contains(&generation) { Ok(path) } else { Err(corrupt(&path, "is missing")) }
}

/// Removes what checkpoint `generation` has made superfluous.
pub(crate) fn remove_before(dir: &Path, generation: u64) -> Result<()> {
    let files = list(dir)?;
    let logs = files.logs.range(..generation).map(|&old| segment::path(dir, old));
    let checkpoints = files.checkpoints.range(..generation).map(|&old| checkpoint::path(dir, old));
    let old: Vec<PathBuf> = logs.chain(checkpoints).collect();
    for path in &old {
        remove_file(path)?;
    }
    if !old.is_empty() {
        sync_dir(dir)?;
    }
    Ok(())
}

fn list(dir: &Path) -> Result<Files> {
    let mut files = Files::default();
    for entry in std::fs::read_dir(dir).map_err(at("read the directory", dir))? {
        let path = entry.map_err(at("read the directory", dir))?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if let Some(generation) = generation(name, ".log") {
            files.logs.insert(generation);
        } else if let Some(generation) = generation(name, ".checkpoint") {
            files.checkpoints.insert(generation);
        } else if is_draft(name) {
            files.drafts.push(path);
        }
    }
    Ok(files)
}

fn is_draft(name: &str) -> bool {
    name.strip_suffix(DRAFT_SUFFIX).is_some_and(|name| {
        name == ahead::NAME || generation(name, ".log").or_else(|| generation(name, ".checkpoint")).is_some()
    })
}

/// The number in a name as this store writes it; anything else in the directory is not ours.
fn generation(name: &str, suffix: &str) -> Option<u64> {
    let digits = name.strip_suffix(suffix)?;
    let is_number = digits.len() >= 10 && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().ok()).flatten().filter(|&generation| generation > 0)
}
