//! Certificates and keys on disk.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use crate::error::{Error, Result};

/// A certificate and its key, PEM.
pub(super) struct Kept {
    pub(super) certificate: String,
    pub(super) key: String,
}

pub(super) fn make_dir(dir: &Path) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|problem| Error::pki(format!("{}", dir.display()), problem))
}

/// Reads `NAME.crt` and `NAME.key`; `None` when neither is there. One without the other is an error: making a new pair
/// would lock out everybody who holds the old one.
pub(super) fn load(dir: &Path, name: &str) -> Result<Option<Kept>> {
    let certificate = read(&dir.join(format!("{name}.crt")))?;
    let key = read(&dir.join(format!("{name}.key")))?;
    match (certificate, key) {
        (Some(certificate), Some(key)) => Ok(Some(Kept { certificate, key })),
        (None, None) => Ok(None),
        (Some(_), None) => Err(missing(dir, name, "key", "crt")),
        (None, Some(_)) => Err(missing(dir, name, "crt", "key")),
    }
}

/// Writes both files, the key first: a certificate without its key would be of no use.
pub(super) fn save(dir: &Path, name: &str, kept: Kept) -> Result<Kept> {
    write(&dir.join(format!("{name}.key")), &kept.key, 0o600)?;
    write(&dir.join(format!("{name}.crt")), &kept.certificate, 0o644)?;
    Ok(kept)
}

/// Reads `NAME.key`; `None` when it is not there.
pub(super) fn load_key(dir: &Path, name: &str) -> Result<Option<String>> {
    read(&dir.join(format!("{name}.key")))
}

/// Writes `NAME.key`.
pub(super) fn save_key(dir: &Path, name: &str, key: &str) -> Result<()> {
    write(&dir.join(format!("{name}.key")), key, 0o600)
}

fn missing(dir: &Path, name: &str, gone: &str, there: &str) -> Error {
    let (gone, there) = (dir.join(format!("{name}.{gone}")), dir.join(format!("{name}.{there}")));
    let problem = io::Error::from(io::ErrorKind::NotFound);
    Error::pki(format!("{} is there but {} is not", there.display(), gone.display()), problem)
}

fn read(path: &Path) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(problem) if problem.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(problem) => Err(Error::pki(path.display().to_string(), problem)),
    }
}

/// Replaces a file as a whole, so that a crash leaves the old one or the new one.
fn write(path: &Path, text: &str, mode: u32) -> Result<()> {
    let beside = path.with_extension("new");
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&beside)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&beside, path));
    written.map_err(|problem| Error::pki(path.display().to_string(), problem))
}
