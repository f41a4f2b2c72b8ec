//! hostPath volumes and their checks.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Checks and makes what the volume's type asks for.
pub(super) fn prepare(path: &str, kind: Option<&str>) -> Result<PathBuf, String> {
    let path = PathBuf::from(path);
    if !path.is_absolute() || path.components().any(|c| matches!(c, std::path::Component::ParentDir)) {
        return Err(format!("hostPath {:?} must be an absolute path without ..", path.display()));
    }
    let failed = |e: std::io::Error| format!("{}: {e}", path.display());
    let found = fs::metadata(&path).ok().map(|m| m.file_type());
    let refused = |what: &str| Err(format!("hostPath type check failed: {} is not a {what}", path.display()));
    match (kind.unwrap_or_default(), found) {
        // Upstream's runtimes make a directory here.
        ("", None) => fs::create_dir_all(&path).map_err(failed)?,
        ("", Some(_)) => {}
        ("DirectoryOrCreate", None) => {
            fs::create_dir_all(&path).map_err(failed)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).map_err(failed)?;
        }
        ("FileOrCreate", None) => create_file(&path).map_err(failed)?,
        ("Directory" | "DirectoryOrCreate", Some(t)) if t.is_dir() => {}
        ("Directory" | "DirectoryOrCreate", _) => return refused("directory"),
        ("File" | "FileOrCreate", Some(t)) if t.is_file() => {}
        ("File" | "FileOrCreate", _) => return refused("file"),
        ("Socket", Some(t)) if t.is_socket() => {}
        ("Socket", _) => return refused("socket file"),
        ("CharDevice", Some(t)) if t.is_char_device() => {}
        ("CharDevice", _) => return refused("character device"),
        ("BlockDevice", Some(t)) if t.is_block_device() => {}
        ("BlockDevice", _) => return refused("block device"),
        (other, _) => return Err(format!("unknown hostPath type {other:?}")),
    }
    Ok(path)
}

fn create_file(path: &Path) -> std::io::Result<()> {
    fs::OpenOptions::new().create(true).append(true).open(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_checked_and_made() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        assert!(prepare(&at("d"), Some("Directory")).unwrap_err().contains("is not a directory"));
        assert!(prepare(&at("d"), Some("DirectoryOrCreate")).unwrap().is_dir());
        assert!(prepare(&at("f"), Some("FileOrCreate")).unwrap().is_file());
        assert!(prepare(&at("f"), Some("Directory")).is_err());
        assert!(prepare(&at("f"), Some("Socket")).is_err());
        assert!(prepare("/dev/null", Some("CharDevice")).is_ok());
        assert!(prepare("relative", None).is_err());
    }
}
