//! The folder of results: complete, or not there.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// Why results cannot be put somewhere.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FolderError {
    /// Something is there already, and is left alone.
    #[error("{} exists and is not an empty folder; name another one or remove it", .0.display())]
    Taken(PathBuf),
    /// It cannot be made.
    #[error("{}", path.display())]
    Write {
        /// Which file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A folder that appears under its name when everything is in it.
///
/// Until then it is a hidden one beside its place, which goes away with this value.
#[derive(Debug)]
pub struct OutFolder {
    target: PathBuf,
    hidden: TempDir,
}

impl OutFolder {
    /// Begins a folder of results.
    ///
    /// # Errors
    /// When there is something at its place, or nothing can be made there.
    pub fn begin(target: &Path) -> Result<Self, FolderError> {
        let failed = |source| FolderError::Write { path: target.to_owned(), source };
        free(target)?;
        let name = target.file_name().ok_or_else(|| FolderError::Taken(target.to_owned()))?;
        let parent =
            target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(parent).map_err(failed)?;
        let prefix = format!(".{}.", name.to_string_lossy());
        let hidden = tempfile::Builder::new()
            .prefix(&prefix)
            .permissions(fs::Permissions::from_mode(0o777))
            .tempdir_in(parent)
            .map_err(failed)?;
        Ok(Self { target: target.to_owned(), hidden })
    }

    /// Where files are written for now.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.hidden.path()
    }

    /// Writes one file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), FolderError> {
        let failed = |source| FolderError::Write { path: self.target.join(name), source };
        fs::write(self.path().join(name), bytes).map_err(failed)
    }

    /// Everything is written: the folder gets its name.
    ///
    /// # Errors
    /// When something came to its place meanwhile, or files cannot be brought to the disk.
    pub fn finish(self) -> Result<(), FolderError> {
        let failed = |source| FolderError::Write { path: self.target.clone(), source };
        for entry in fs::read_dir(self.path()).map_err(failed)? {
            fs::File::open(entry.map_err(failed)?.path()).and_then(|file| file.sync_all()).map_err(failed)?;
        }
        free(&self.target)?;
        // Renaming onto an empty folder replaces it, onto a full one fails.
        fs::rename(self.path(), &self.target).map_err(failed)?;
        // Under its new name it stays.
        drop(self.hidden.keep());
        Ok(())
    }
}

fn free(target: &Path) -> Result<(), FolderError> {
    let taken = || FolderError::Taken(target.to_owned());
    match fs::read_dir(target).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(()),
        Ok(false) => Err(taken()),
        Err(problem) if problem.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(problem) if problem.kind() == io::ErrorKind::NotADirectory => Err(taken()),
        Err(source) => Err(FolderError::Write { path: target.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_folder_appears_when_it_is_complete() {
        let place = tempfile::tempdir().unwrap();
        let target = place.path().join("deep/out");
        let folder = OutFolder::begin(&target).unwrap();
        folder.write("a", b"x").unwrap();
        assert!(!target.exists());
        folder.finish().unwrap();
        assert_eq!(
            (listed(&target), listed(&place.path().join("deep"))),
            (vec!["a".to_owned()], vec!["out".to_owned()])
        );
    }

    #[test]
    fn nothing_is_left_of_a_folder_that_was_given_up() {
        let place = tempfile::tempdir().unwrap();
        let folder = OutFolder::begin(&place.path().join("out")).unwrap();
        folder.write("a", b"x").unwrap();
        drop(folder);
        assert!(listed(place.path()).is_empty());
    }

    #[test]
    fn what_is_there_is_left_alone_and_an_empty_folder_is_used() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("file"), "mine").unwrap();
        assert!(matches!(OutFolder::begin(&place.path().join("file")), Err(FolderError::Taken(_))));
        assert!(matches!(OutFolder::begin(place.path()), Err(FolderError::Taken(_))));
        let empty = place.path().join("empty");
        fs::create_dir(&empty).unwrap();
        let folder = OutFolder::begin(&empty).unwrap();
        fs::write(empty.join("late"), "mine").unwrap();
        assert!(matches!(folder.finish(), Err(FolderError::Taken(_))));
        assert_eq!(listed(&empty), ["late"]);
    }
}
