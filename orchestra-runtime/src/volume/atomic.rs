//! Files that change all at once.
//!
//! As upstream's kubelet does it: the files are in a directory of their own, `..data` is a link to it, and each name in
//! the volume is a link through `..data`. An update writes a new directory and renames a new link over the old one.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::payload::Files;

const DATA: &str = "..data";

/// Makes the volume `dir` show `files`, and nothing else.
pub(super) fn write(dir: &Path, files: &Files) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755))?;
    let data = dir.join(DATA);
    let old = fs::read_link(&data).ok();
    if old.is_some() && shows(&data, files)? {
        return Ok(());
    }
    let fresh = generation(old.as_deref());
    if dir.join(&fresh).exists() {
        fs::remove_dir_all(dir.join(&fresh))?;
    }
    fs::create_dir(dir.join(&fresh))?;
    for (path, file) in files {
        let target = dir.join(&fresh).join(path);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&target, &file.bytes)?;
        fs::set_permissions(&target, fs::Permissions::from_mode(file.mode))?;
    }
    let draft = dir.join("..data_tmp");
    let _ = fs::remove_file(&draft);
    symlink(&fresh, &draft)?;
    fs::rename(&draft, &data)?;
    let wanted: BTreeSet<&str> = files.keys().filter_map(|p| p.split('/').next()).collect();
    for name in &wanted {
        let link = dir.join(name);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new(DATA).join(name), &link)?;
        }
    }
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        if !name.starts_with("..") && !wanted.contains(&*name) {
            fs::remove_file(dir.join(&*name))?;
        }
    }
    match old {
        Some(old) if old.components().count() == 1 => fs::remove_dir_all(dir.join(old)),
        _ => Ok(()),
    }
}

/// A directory name that is not the one in use.
fn generation(old: Option<&Path>) -> PathBuf {
    let number = old
        .and_then(|o| o.to_str()?.strip_prefix("..v")?.parse::<u64>().ok())
        .map_or(0, |n| n.wrapping_add(1));
    PathBuf::from(format!("..v{number}"))
}

/// Whether the files are already as wanted.
fn shows(data: &Path, files: &Files) -> io::Result<bool> {
    for (path, file) in files {
        let target = data.join(path);
        let same = fs::read(&target).is_ok_and(|bytes| bytes == file.bytes)
            && fs::metadata(&target)?.permissions().mode() & 0o777 == file.mode;
        if !same {
            return Ok(false);
        }
    }
    Ok(count(data)? == files.len())
}

fn count(dir: &Path) -> io::Result<usize> {
    let mut files = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        files += if entry.file_type()?.is_dir() { count(&entry.path())? } else { 1 };
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::super::payload::File;
    use super::*;

    fn files(all: &[(&str, &str)]) -> Files {
        all.iter()
            .map(|(path, text)| ((*path).to_owned(), File { bytes: text.as_bytes().to_vec(), mode: 0o640 }))
            .collect()
    }

    #[test]
    fn files_appear_change_and_vanish() {
        let dir = tempfile::tempdir().unwrap();
        let volume = dir.path().join("v");
        write(&volume, &files(&[("a", "1"), ("d/e", "2")])).unwrap();
        assert_eq!(fs::read_to_string(volume.join("a")).unwrap(), "1");
        assert_eq!(fs::read_to_string(volume.join("d/e")).unwrap(), "2");
        assert_eq!(fs::metadata(volume.join("a")).unwrap().permissions().mode() & 0o777, 0o640);
        let before = fs::read_link(volume.join(DATA)).unwrap();
        write(&volume, &files(&[("a", "1"), ("d/e", "2")])).unwrap();
        assert_eq!(fs::read_link(volume.join(DATA)).unwrap(), before, "nothing changed");
        write(&volume, &files(&[("a", "3"), ("n", "4")])).unwrap();
        assert_eq!(fs::read_to_string(volume.join("a")).unwrap(), "3");
        assert_eq!(fs::read_to_string(volume.join("n")).unwrap(), "4");
        assert!(!volume.join("d").exists());
        let left = fs::read_dir(&volume).unwrap().count();
        assert_eq!(left, 4, "the links, ..data and one generation");
    }
}
