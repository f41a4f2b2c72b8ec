//! Parts of a volume.

use std::fs;
use std::path::{Component, Path, PathBuf};

/// The file or directory `sub` of a volume; a directory is made where there is nothing. It may not lead out of the
/// volume, also not through links a pod put there.
pub(crate) fn resolve(volume: &Path, sub: &str) -> Result<PathBuf, String> {
    let relative = Path::new(sub);
    if relative.components().any(|c| !matches!(c, Component::Normal(_) | Component::CurDir)) {
        return Err(format!("subPath {sub:?} must be a relative path without .."));
    }
    let failed = |e: std::io::Error| format!("failed to prepare subPath {sub:?}: {e}");
    let root = fs::canonicalize(volume).map_err(failed)?;
    let mut at = root.clone();
    for part in relative.components() {
        at.push(part);
        match fs::canonicalize(&at) {
            Ok(real) => at = real,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && fs::symlink_metadata(&at).is_err() => {
                fs::create_dir(&at).map_err(failed)?;
            }
            Err(e) => return Err(failed(e)),
        }
        if !at.starts_with(&root) {
            return Err(format!("subPath {sub:?} leads out of its volume"));
        }
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_cannot_lead_out() {
        let dir = tempfile::tempdir().unwrap();
        let volume = dir.path().join("v");
        fs::create_dir(&volume).unwrap();
        std::os::unix::fs::symlink("/etc", volume.join("out")).unwrap();
        std::os::unix::fs::symlink("in", volume.join("link")).unwrap();
        assert!(resolve(&volume, "in/deep").unwrap().ends_with("v/in/deep"));
        assert!(resolve(&volume, "link/deep").unwrap().ends_with("v/in/deep"));
        for bad in ["out/x", "out", "../x", "/x"] {
            assert!(resolve(&volume, bad).is_err(), "{bad}");
        }
    }
}
