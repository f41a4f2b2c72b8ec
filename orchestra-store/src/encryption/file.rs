//! The file that keys are kept in.
//!
//! ```text
//! orchestra encryption keys 1
//! # Without these keys what they seal is lost. Keep a copy with every snapshot.
//! key 1c5a…
//! key 09ff…
//! sealed /registry/core/secrets/
//! mixed /registry/core/configmaps/
//! end 5f2e…
//! ```
//!
//! A `key` line has 64 hexadecimal digits; the first key is the newest. A `sealed` line names a prefix under which there are
//! only sealed values, so that a plain one is refused, and a `mixed` line one under which there may be both. That is kept
//! here because whoever can change the store must not be able to change it. The last line has a checksum over all before it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::key::{Keyring, SealingKey, unhex};
use crate::durable::disk::{Draft, at};
use crate::store::{Error, Result};

const FIRST_LINE: &str = "orchestra encryption keys 1";
const COMMENT: &str = "# Without these keys what they seal is lost. Keep a copy with every snapshot.";
/// No file that this program writes comes near.
const MAX_BYTES: u64 = 1024 * 1024;

/// What is known of the values under prefixes of the key space.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// Every value under these is sealed.
    pub sealed: BTreeSet<String>,
    /// Under these some may be, and some not.
    pub mixed: BTreeSet<String>,
}

/// Keys on disk.
#[derive(Clone, Debug)]
pub struct KeyFile {
    path: PathBuf,
    keyring: Keyring,
    extent: Extent,
}

impl KeyFile {
    /// Reads a file; `None` when there is none.
    ///
    /// # Errors
    /// [`Error::KeyFile`] when others than its owner may read it, when it is damaged, and when it cannot be read.
    pub fn load(path: impl AsRef<Path>) -> Result<Option<Self>> {
        let path = path.as_ref();
        let bad = |problem: String| Error::KeyFile { path: path.to_owned(), problem };
        // Looked at before it is opened: opening a pipe would wait for its writer.
        let about = match fs::metadata(path) {
            Ok(about) => about,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(bad(error.to_string())),
        };
        if !about.is_file() {
            return Err(bad("is not a file".to_owned()));
        }
        let mode = about.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(bad(format!("has mode {mode:04o}, so that others can read the keys: chmod 600 it")));
        }
        if about.len() > MAX_BYTES {
            return Err(bad("is too long".to_owned()));
        }
        let mut text = Zeroizing::new(String::with_capacity(usize::try_from(about.len()).unwrap_or(0) + 1));
        fs::File::open(path)
            .and_then(|file| file.take(MAX_BYTES).read_to_string(&mut text))
            .map_err(|error| bad(error.to_string()))?;
        let (keyring, extent) = parse(&text).map_err(bad)?;
        // Where a link leads: what is written later belongs there, and not in the link's place.
        let path = fs::canonicalize(path).map_err(|error| bad(error.to_string()))?;
        Ok(Some(Self { path, keyring, extent }))
    }

    /// Makes a file with one new key, on disk before this returns. Blocks.
    ///
    /// # Errors
    /// [`Error::HoldsData`] when there is a file already, and [`Error::KeyFile`] when it cannot be written.
    pub fn create(path: impl AsRef<Path>, extent: Extent) -> Result<Self> {
        let path = path.as_ref().to_owned();
        let file = Self { path: path.clone(), keyring: Keyring::new(SealingKey::generate()?), extent };
        file.copy_to(path)
    }

    /// Puts another content in place of the one in the file, all at once and on disk before this returns. Blocks.
    ///
    /// # Errors
    /// [`Error::KeyFile`] when it cannot be written; it is as it was then.
    pub fn replace(&mut self, keyring: Keyring, extent: Extent) -> Result<()> {
        let next = Self { path: self.path.clone(), keyring, extent };
        next.save()?;
        *self = next;
        Ok(())
    }

    /// Makes another file with the same content, for its owner alone. Blocks.
    ///
    /// # Errors
    /// As [`KeyFile::create`].
    pub fn copy_to(&self, path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        if path.exists() {
            return Err(Error::HoldsData(path.display().to_string()));
        }
        let copy = Self { path: path.to_owned(), ..self.clone() };
        copy.save()?;
        Ok(copy)
    }

    /// The keys.
    pub fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// What is known of the store's values.
    pub fn extent(&self) -> &Extent {
        &self.extent
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn save(&self) -> Result<()> {
        let text = self.text();
        let bad = |error: Error| Error::KeyFile { path: self.path.clone(), problem: chain(&error) };
        let mut draft = Draft::create(self.path.clone()).map_err(|error| bad(error.into()))?;
        match draft.file().write_all(text.as_bytes()).map_err(at("write", &self.path)) {
            Ok(()) => draft.publish().map(drop).map_err(|error| bad(error.into())),
            Err(error) => {
                draft.discard();
                Err(bad(error.into()))
            }
        }
    }

    fn text(&self) -> Zeroizing<String> {
        // Long enough from the start, so that no copy of a key stays behind when it grows.
        let Extent { sealed, mixed } = &self.extent;
        let prefixes: usize = sealed.iter().chain(mixed).map(|prefix| prefix.len() + 8).sum();
        let room = 512 + self.keyring.keys().count() * 80 + prefixes;
        let mut text = Zeroizing::new(String::with_capacity(room));
        text.push_str(FIRST_LINE);
        text.push('\n');
        text.push_str(COMMENT);
        text.push('\n');
        for key in self.keyring.keys() {
            text.push_str("key ");
            push_hex(&mut text, key.bytes());
            text.push('\n');
        }
        for (word, prefixes) in [("sealed ", sealed), ("mixed ", mixed)] {
            for prefix in prefixes {
                text.push_str(word);
                text.push_str(prefix);
                text.push('\n');
            }
        }
        let digest = Sha256::digest(text.as_bytes());
        text.push_str("end ");
        push_hex(&mut text, &digest[..8]);
        text.push('\n');
        text
    }
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // Writing into a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
}

fn parse(text: &str) -> Result<(Keyring, Extent), String> {
    if !text.starts_with("orchestra encryption keys ") {
        return Err("is not a file of encryption keys".to_owned());
    }
    if text.lines().next() != Some(FIRST_LINE) {
        return Err("has a format that this version does not know".to_owned());
    }
    let damaged = || "is damaged, or was changed by hand: take the copy that was kept of it".to_owned();
    let (body, end) =
        text.strip_suffix('\n').and_then(|text| text.rsplit_once("\nend ")).ok_or_else(damaged)?;
    let digest = Sha256::new().chain_update(body).chain_update("\n").finalize();
    if unhex::<8>(end).is_none_or(|said| said[..] != digest[..8]) {
        return Err(damaged());
    }
    let (mut keyring, mut extent): (Option<Keyring>, _) = (None, Extent::default());
    for line in body.lines().skip(1).filter(|line| !line.starts_with('#')) {
        match line.split_once(' ') {
            Some(("key", digits)) => {
                let bytes = Zeroizing::new(unhex::<32>(digits).ok_or_else(damaged)?);
                let key = SealingKey::from_bytes(&*bytes).map_err(|error| error.to_string())?;
                keyring = Some(match keyring {
                    None => Keyring::new(key),
                    Some(keyring) => keyring.with_older(key),
                });
            }
            Some(("sealed", prefix)) => drop(extent.sealed.insert(prefix.to_owned())),
            Some(("mixed", prefix)) => drop(extent.mixed.insert(prefix.to_owned())),
            _ => return Err(damaged()),
        }
    }
    Ok((keyring.ok_or_else(damaged)?, extent))
}

fn chain(error: &Error) -> String {
    match error {
        Error::Backend { source, .. } => {
            let cause = source.source().map(|cause| format!(": {cause}")).unwrap_or_default();
            format!("{source}{cause}")
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("encryption.keys");
        (dir, path)
    }

    fn ids(file: &KeyFile) -> Vec<String> {
        file.keyring().keys().map(|key| key.id().to_string()).collect()
    }

    #[track_caller]
    fn refused(path: &Path, what: &str) {
        let error = KeyFile::load(path).unwrap_err().to_string();
        assert!(error.contains(what) && error.contains(&path.display().to_string()), "{error}");
    }

    #[test]
    fn it_is_the_owners_alone_and_reads_back() {
        let (_dir, path) = place();
        assert!(KeyFile::load(&path).unwrap().is_none());
        let extent = Extent { sealed: ["/a b/".to_owned()].into(), mixed: ["/c".to_owned()].into() };
        let mut made = KeyFile::create(&path, extent.clone()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let read = KeyFile::load(&path).unwrap().unwrap();
        assert_eq!((ids(&read), read.extent()), (ids(&made), &extent));
        assert!(matches!(KeyFile::create(&path, Extent::default()), Err(Error::HoldsData(_))));
        let rotated = made.keyring().rotated(SealingKey::generate().unwrap());
        made.replace(rotated, Extent::default()).unwrap();
        let read = KeyFile::load(&path).unwrap().unwrap();
        assert_eq!((ids(&read), read.extent()), (ids(&made), &Extent::default()));
        assert_eq!(ids(&read).len(), 2);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn one_that_others_can_read_is_refused() {
        let (_dir, path) = place();
        KeyFile::create(&path, Extent::default()).unwrap();
        for mode in [0o640, 0o604, 0o644, 0o620, 0o601] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            refused(&path, &format!("mode {mode:04o}"));
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
        assert!(KeyFile::load(&path).unwrap().is_some());
    }

    #[test]
    fn every_flipped_byte_and_every_cut_is_found() {
        let (_dir, path) = place();
        KeyFile::create(&path, Extent { sealed: ["/secrets/".to_owned()].into(), ..Extent::default() })
            .unwrap();
        let good = fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut flipped = good.clone();
            flipped[at] ^= 1;
            fs::write(&path, flipped).unwrap();
            assert!(KeyFile::load(&path).is_err(), "byte {at}");
            fs::write(&path, &good[..at]).unwrap();
            assert!(KeyFile::load(&path).is_err(), "cut at {at}");
        }
        fs::write(&path, "apiVersion: v1\n").unwrap();
        refused(&path, "is not a file of encryption keys");
        fs::write(&path, [0xff; 40]).unwrap();
        refused(&path, "");
    }

    #[test]
    fn what_is_no_file_is_refused_at_once() {
        let (dir, path) = place();
        fs::create_dir(&path).unwrap();
        refused(&path, "is not a file");
        let error =
            KeyFile::create(dir.path().join("no/such/keys"), Extent::default()).unwrap_err().to_string();
        assert!(error.contains("no/such/keys") && error.contains("No such file"), "{error}");
    }
}
