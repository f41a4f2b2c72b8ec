//! The removal of a volume's directory. It touches nothing but a directory directly below the base whose name is the
//! volume's, and follows no symbolic link on the way down.

use std::io::{Error, ErrorKind, Result};
use std::path::{Component, Path};

/// Removes the directory `path` of the volume `name`. One that does not exist is removed already.
pub(super) fn remove(base: &Path, name: &str, path: &Path) -> Result<()> {
    let refuse = |why: &str| Err(Error::new(ErrorKind::InvalidInput, why.to_owned()));
    let mut components = Path::new(name).components();
    let is_plain = matches!(components.next(), Some(Component::Normal(first)) if first == name)
        && components.next().is_none();
    if !is_plain || path != base.join(name) {
        return refuse("it is not the volume's own directory below the directory for volumes");
    }
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        // The standard library removes what symbolic links below it are, not what they lead to.
        Ok(found) if found.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => refuse("it is not a directory"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;

    /// A base directory, and beside it something that must not be touched.
    fn scratch() -> TempDir {
        let scratch = TempDir::new().unwrap();
        for name in ["base", "precious"] {
            fs::create_dir(scratch.path().join(name)).unwrap();
        }
        fs::write(scratch.path().join("precious/file"), "x").unwrap();
        scratch
    }

    #[test]
    fn a_volume_goes_with_its_content_and_twice_is_no_mistake() {
        let scratch = scratch();
        let (base, precious) = (scratch.path().join("base"), scratch.path().join("precious"));
        let path = base.join("pvc-1");
        fs::create_dir_all(path.join("deep")).unwrap();
        symlink(&precious, path.join("link")).unwrap();
        remove(&base, "pvc-1", &path).unwrap();
        assert!(!path.exists());
        remove(&base, "pvc-1", &path).unwrap();
        assert!(precious.join("file").exists());
    }

    #[test]
    fn nothing_else_is_touched() {
        let scratch = scratch();
        let (base, precious) = (scratch.path().join("base"), scratch.path().join("precious"));
        symlink(&precious, base.join("pvc-1")).unwrap();
        for (name, path) in [
            ("pvc-1", base.join("pvc-1")),
            ("pvc-1", precious.clone()),
            ("precious", precious.clone()),
            ("../precious", base.join("../precious")),
            ("..", base.join("..")),
            ("", base.clone()),
            (".", base.join(".")),
            ("pvc-1/", base.join("pvc-1/")),
        ] {
            assert!(remove(&base, name, &path).is_err(), "{name:?} {path:?}");
        }
        assert!(precious.join("file").exists());
    }
}
