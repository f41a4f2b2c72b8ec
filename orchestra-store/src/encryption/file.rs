//! The file that keys are kept in.
//!
//! ```text
//! orchestra encryption keys 1
//! # Without these keys what they seal is lost. Keep a copy with every snapshot.
//! key 1c5a…
//! key 09ff…
//! next 77a0…
//! sealed /registry/core/secrets/
//! mixed /registry/core/configmaps/
//! end 5f2e…
//! ```
//!
//! A `key` line has 64 hexadecimal digits; the first key is the newest. The `next` key opens already, and is the one to rotate to. A `sealed` line names a prefix under which there are
//! only sealed values, so that a plain one is refused, and a `mixed` line one under which there may be both. That is kept
//! here because whoever can change the store must not be able to change it. The last line has a checksum over all before it.

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::extent::Extent;
use super::format::{parse, text};
use super::key::{Keyring, SealingKey};
use crate::durable::disk::{Draft, at, parent};
use crate::store::{Error, Result};

/// No file that this program writes comes near.
const MAX_BYTES: u64 = 1024 * 1024;

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

    /// Makes a file with one new key, on disk before this returns. Of several processes that try it at once one succeeds. Blocks.
    ///
    /// # Errors
    /// [`Error::HoldsData`] when there is a file already, and [`Error::KeyFile`] when it cannot be written.
    pub fn create(path: impl AsRef<Path>, extent: Extent) -> Result<Self> {
        let path = path.as_ref().to_owned();
        let file = Self { path: path.clone(), keyring: Keyring::new(SealingKey::generate()?), extent };
        file.copy_to(path)
    }

    /// Puts another content in place of the one in the file, all at once and on disk before this returns. Blocks, also while another
    /// process does the same.
    ///
    /// `edit` is given what the file holds at that moment, which may be more than was read from it: so a process that has older keys
    /// takes away none that another one has added since. When the file is gone, it is given what was in it.
    ///
    /// # Errors
    /// [`Error::KeyFile`] when it cannot be read or written, and those of `edit`; it is as it was then.
    pub fn change(
        &mut self,
        edit: impl FnOnce(&Keyring, &Extent) -> Result<(Keyring, Extent)>,
    ) -> Result<()> {
        let _lock = Lock::of(&self.path)?;
        let found = Self::load(&self.path)?;
        let written = found.as_ref().map(|found| text(&found.keyring, &found.extent));
        let (keyring, extent) = match found {
            Some(found) => (self.keyring.reconciled(found.keyring), found.extent),
            None => {
                tracing::warn!(path = %self.path.display(), "the file of encryption keys was removed, and is written anew");
                (self.keyring.clone(), self.extent.clone())
            }
        };
        let (keyring, extent) = edit(&keyring, &extent)?;
        let next = Self { path: self.path.clone(), keyring, extent };
        if written.is_none_or(|written| written != text(&next.keyring, &next.extent)) {
            next.save(How::Over)?;
        }
        *self = next;
        Ok(())
    }

    /// Goes on with these keys, which are in use.
    pub(super) fn hold(&mut self, keyring: Keyring) {
        self.keyring = keyring;
    }

    /// Makes another file with the same content, for its owner alone. Blocks.
    ///
    /// # Errors
    /// As [`KeyFile::create`].
    pub fn copy_to(&self, path: impl AsRef<Path>) -> Result<Self> {
        let copy = Self { path: path.as_ref().to_owned(), ..self.clone() };
        let _lock = Lock::of(&copy.path)?;
        if copy.path.exists() {
            return Err(Error::HoldsData(copy.path.display().to_string()));
        }
        copy.save(How::New)?;
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

    fn save(&self, how: How) -> Result<()> {
        let text = text(&self.keyring, &self.extent);
        let bad = |error: Error| match error {
            Error::HoldsData(_) => error,
            error => Error::KeyFile { path: self.path.clone(), problem: chain(&error) },
        };
        let mut draft = Draft::create(self.path.clone()).map_err(|error| bad(error.into()))?;
        if let Err(error) = draft.file().write_all(text.as_bytes()).map_err(at("write", &self.path)) {
            draft.discard();
            return Err(bad(error.into()));
        }
        match how {
            How::Over => draft.publish().map(drop).map_err(|error| bad(error.into())),
            How::New => draft.publish_new().map_err(|error| match error.kind() {
                ErrorKind::AlreadyExists => Error::HoldsData(self.path.display().to_string()),
                _ => bad(error.into()),
            }),
        }
    }
}

/// What may be at the place of a file that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// The same file with other content, or nothing.
    Over,
    /// Nothing.
    New,
}

/// Only one process at a time makes or changes a file of keys: the lock is on the directory, for the file itself is replaced. The kernel
/// lets go of it when the process ends.
#[derive(Debug)]
struct Lock(#[expect(dead_code, reason = "held until it is dropped")] fs::File);

impl Lock {
    fn of(path: &Path) -> Result<Self> {
        let bad = |error: std::io::Error| Error::KeyFile {
            path: path.to_owned(),
            problem: format!("cannot lock its directory: {error}"),
        };
        let dir = fs::File::open(parent(path)).map_err(bad)?;
        dir.lock().map_err(bad)?;
        Ok(Self(dir))
    }
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
        made.change(|_, _| Ok((rotated, Extent::default()))).unwrap();
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

    #[test]
    fn of_many_who_make_it_at_once_one_does_and_all_find_its_key() {
        for _ in 0..50 {
            let (dir, path) = place();
            let begin = std::sync::Barrier::new(8);
            let made: Vec<Result<KeyFile>> = std::thread::scope(|scope| {
                let make = || {
                    begin.wait();
                    KeyFile::create(&path, Extent::default())
                };
                let threads: Vec<_> = (0..8).map(|_| scope.spawn(make)).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            let (made, refused): (Vec<_>, Vec<_>) = made.into_iter().partition(Result::is_ok);
            assert!(refused.iter().all(|error| matches!(error, Err(Error::HoldsData(_)))), "{refused:?}");
            let [Ok(made)] = &made[..] else { panic!("{made:?}") };
            assert_eq!(ids(&KeyFile::load(&path).unwrap().unwrap()), ids(made));
            let left: Vec<_> = fs::read_dir(&dir).unwrap().map(|file| file.unwrap().file_name()).collect();
            assert_eq!(left, ["encryption.keys"]);
        }
    }

    #[test]
    fn who_holds_older_keys_takes_away_none_that_came_since() {
        let (_dir, path) = place();
        let mut one = KeyFile::create(&path, Extent::default()).unwrap();
        let mut stale = KeyFile::load(&path).unwrap().unwrap();
        let rotate = |file: &mut KeyFile| {
            let key = SealingKey::generate().unwrap();
            file.change(|keyring, extent| Ok((keyring.rotated(key), extent.clone()))).unwrap();
        };
        rotate(&mut one);
        let note = Extent { mixed: ["/a/".to_owned()].into(), ..Extent::default() };
        stale.change(|keyring, _| Ok((keyring.clone(), note.clone()))).unwrap();
        assert_eq!((ids(&stale), stale.extent()), (ids(&one), &note));
        rotate(&mut stale);
        rotate(&mut one);
        assert_eq!((ids(&one).len(), one.extent()), (4, &note));
        // An old copy is put back: the keys in use are kept all the same.
        let all = ids(&one);
        fs::remove_file(&path).unwrap();
        KeyFile::create(&path, Extent::default()).unwrap();
        one.change(|keyring, extent| Ok((keyring.clone(), extent.clone()))).unwrap();
        let mut kept = ids(&KeyFile::load(&path).unwrap().unwrap());
        assert_eq!((kept.len(), &kept[0]), (5, &all[0]));
        kept.retain(|id| all.contains(id));
        assert_eq!(kept, all);
    }

    #[test]
    fn the_next_key_is_kept_as_what_it_is() {
        let (_dir, path) = place();
        let mut made = KeyFile::create(&path, Extent::default()).unwrap();
        let next = SealingKey::generate().unwrap();
        made.change(|keyring, extent| Ok((keyring.clone().with_next(next.clone()), extent.clone()))).unwrap();
        let read = KeyFile::load(&path).unwrap().unwrap();
        assert_eq!((ids(&read), read.keyring().next().map(SealingKey::id)), (ids(&made), Some(next.id())));
        assert_eq!(ids(&read).len(), 1);
    }
}
