//! Works out how volumes appear at their mount paths for a program that otherwise sees the host's files.
//!
//! The process gets a mount namespace of its own (by right as root, else through a user namespace in which it keeps its
//! own number), so nothing shows on the host and nothing is left behind when it ends. A mount path that exists on the
//! host is simply covered by its volume. One that does not exist needs a directory to be made, which must not happen on
//! the host: the nearest directory that does exist is *mirrored* instead. A mirror is a small tmpfs that shows each
//! entry of the original where it was, and has the missing directories beside them; it covers the original, and a mirror
//! of `/` becomes the root. Files that the program creates directly in a mirrored directory live as long as the
//! container, as they would in any container; below its entries, everything is the host's.
//!
//! A mount path inside another volume is made in that volume, as container runtimes do.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CString, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use crate::runtime::Mount;
use crate::sys::{MountPlan, Source, Step};

/// What stands at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Directory,
    File,
    Link(PathBuf),
}

/// The files of the host, as far as planning looks at them.
pub(super) trait HostTree {
    /// What a path leads to, links followed.
    fn target(&self, path: &Path) -> Option<Node>;
    /// Where a path that exists really is.
    fn real(&self, path: &Path) -> io::Result<PathBuf>;
    /// What a directory holds, links not followed.
    fn entries(&self, dir: &Path) -> io::Result<Vec<(OsString, Node)>>;
    /// Permission bits of a directory.
    fn mode(&self, dir: &Path) -> u32;
}

/// A plan, and what must be made in volumes before it is carried out.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) plan: MountPlan,
    /// Mount points inside volumes: on the host, under a volume's directory.
    pub(super) prepare: Vec<(PathBuf, Node)>,
}

struct Target {
    at: PathBuf,
    source: PathBuf,
    kind: Node,
    read_only: bool,
}

/// Plans `mounts` for a process of `uid` and `gid`. The error is for the user.
pub(super) fn plan(
    mounts: &[Mount],
    staging: &Path,
    host: &dyn HostTree,
    ids: (u32, u32),
) -> Result<Planned, String> {
    let targets = targets(mounts, host)?;
    let mut mirrors: BTreeMap<PathBuf, BTreeMap<PathBuf, Node>> = BTreeMap::new();
    let mut prepare = Vec::new();
    for (index, target) in targets.iter().enumerate() {
        if let Some(outer) = targets.iter().take(index).rev().find(|o| target.at.starts_with(&o.at)) {
            nest(target, outer, host, &mut prepare)?;
            continue;
        }
        match host.target(&target.at) {
            Some(found) if (found == Node::Directory) == (target.kind == Node::Directory) => {}
            Some(_) => return Err(mismatch(target)),
            None => {
                let (parent, made) = missing(target, host)?;
                mirrors.entry(parent).or_default().extend(made);
            }
        }
    }
    let mut steps = Vec::new();
    // Parents sort before what lies in them, so an inner mirror covers an entry its outer mirror shows.
    for (dir, made) in &mirrors {
        mirror(dir, made, staging, host, &mut steps)?;
    }
    let mut sources = Vec::new();
    for (source, target) in targets.iter().enumerate() {
        sources.push(Source { path: c_string(&target.source)? });
        steps.push(Step::Attach { source, to: c_string(&target.at)?, read_only: target.read_only });
    }
    let (uid, gid) = ids;
    let plan = MountPlan {
        sources,
        staging: c_string(staging)?,
        steps,
        uid_map: format!("{uid} {uid} 1").into_bytes(),
        gid_map: format!("{gid} {gid} 1").into_bytes(),
    };
    Ok(Planned { plan, prepare })
}

/// The mounts with their real places, outer ones first.
fn targets(mounts: &[Mount], host: &dyn HostTree) -> Result<Vec<Target>, String> {
    let mut targets = Vec::new();
    for mount in mounts {
        let path = &mount.container_path;
        let plain = path.components().all(|c| matches!(c, Component::RootDir | Component::Normal(_)));
        if !path.is_absolute() || !plain || path.components().count() < 2 {
            return Err(format!(
                "mount path {} must be an absolute path below /, without ..",
                path.display()
            ));
        }
        let kind = host
            .target(&mount.host_path)
            .ok_or_else(|| format!("volume {} does not exist", mount.host_path.display()))?;
        targets.push(Target {
            at: real_place(path, host)?,
            source: mount.host_path.clone(),
            kind: if kind == Node::Directory { kind } else { Node::File },
            read_only: mount.read_only,
        });
    }
    targets.sort_by_key(|t| t.at.components().count());
    let mut seen = BTreeSet::new();
    match targets.iter().find(|t| !seen.insert(t.at.clone())) {
        Some(twice) => Err(format!("two volumes are mounted at {}", twice.at.display())),
        None => Ok(targets),
    }
}

/// The path with the links in the part of it that exists followed.
fn real_place(path: &Path, host: &dyn HostTree) -> Result<PathBuf, String> {
    for ancestor in path.ancestors() {
        if host.target(ancestor).is_some() {
            let real = host.real(ancestor).map_err(|e| format!("looking up {}: {e}", ancestor.display()))?;
            let rest = path.strip_prefix(ancestor).unwrap_or(Path::new(""));
            return Ok(if rest.as_os_str().is_empty() { real } else { real.join(rest) });
        }
    }
    Ok(path.to_owned())
}

/// A mount point inside another volume.
fn nest(
    target: &Target,
    outer: &Target,
    host: &dyn HostTree,
    prepare: &mut Vec<(PathBuf, Node)>,
) -> Result<(), String> {
    let rest = target.at.strip_prefix(&outer.at).unwrap_or(Path::new(""));
    let inside = outer.source.join(rest);
    match host.target(&inside) {
        Some(found) if (found == Node::Directory) == (target.kind == Node::Directory) => Ok(()),
        Some(_) => Err(mismatch(target)),
        None => {
            prepare.push((inside, target.kind.clone()));
            Ok(())
        }
    }
}

/// The nearest directory that exists, and what must be made below it.
fn missing(target: &Target, host: &dyn HostTree) -> Result<(PathBuf, Vec<(PathBuf, Node)>), String> {
    let mut made = vec![(target.at.clone(), target.kind.clone())];
    for ancestor in target.at.ancestors().skip(1) {
        match host.target(ancestor) {
            Some(Node::Directory) => return Ok((ancestor.to_owned(), made)),
            Some(_) => {
                return Err(format!(
                    "cannot mount at {}: {} is not a directory",
                    target.at.display(),
                    ancestor.display()
                ));
            }
            None => made.push((ancestor.to_owned(), Node::Directory)),
        }
    }
    Err(format!("cannot mount at {}", target.at.display()))
}

fn mirror(
    dir: &Path,
    made: &BTreeMap<PathBuf, Node>,
    staging: &Path,
    host: &dyn HostTree,
    steps: &mut Vec<Step>,
) -> Result<(), String> {
    let staged = |path: &Path| c_string(&staging.join(path.strip_prefix(dir).unwrap_or(path)));
    let options = format!("mode={:o},size=16m", host.mode(dir) & 0o7777);
    steps.push(Step::Stage { options: CString::new(options).map_err(|e| e.to_string())? });
    let entries = host.entries(dir).map_err(|e| format!("listing {}: {e}", dir.display()))?;
    for (name, node) in entries {
        let from = dir.join(name);
        let to = staged(&from)?;
        match node {
            Node::Link(target) => steps.push(Step::Link { target: c_string(&target)?, path: to }),
            Node::Directory => {
                steps.push(Step::Directory(to.clone()));
                steps.push(Step::Show { from: c_string(&from)?, to });
            }
            Node::File => {
                steps.push(Step::File(to.clone()));
                steps.push(Step::Show { from: c_string(&from)?, to });
            }
        }
    }
    for (path, node) in made {
        steps.push(match node {
            Node::Directory => Step::Directory(staged(path)?),
            _ => Step::File(staged(path)?),
        });
    }
    steps.push(if dir == Path::new("/") { Step::Pivot } else { Step::Cover(c_string(dir)?) });
    Ok(())
}

fn mismatch(target: &Target) -> String {
    let (is, want) =
        if target.kind == Node::Directory { ("a file", "a directory") } else { ("a directory", "a file") };
    format!("cannot mount {want} at {}: there is {is}", target.at.display())
}

pub(super) fn c_string(path: &Path) -> Result<CString, String> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| format!("path {path:?} has a zero byte in it"))
}

/// The files of this machine.
#[derive(Debug)]
pub(super) struct Host;

impl HostTree for Host {
    fn target(&self, path: &Path) -> Option<Node> {
        let found = std::fs::metadata(path).ok()?;
        Some(if found.is_dir() { Node::Directory } else { Node::File })
    }

    fn real(&self, path: &Path) -> io::Result<PathBuf> {
        std::fs::canonicalize(path)
    }

    fn entries(&self, dir: &Path) -> io::Result<Vec<(OsString, Node)>> {
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            let node = if kind.is_symlink() {
                match std::fs::read_link(entry.path()) {
                    Ok(target) => Node::Link(target),
                    Err(_) => continue,
                }
            } else if kind.is_dir() {
                Node::Directory
            } else {
                Node::File
            };
            entries.push((entry.file_name(), node));
        }
        Ok(entries)
    }

    fn mode(&self, dir: &Path) -> u32 {
        use std::os::unix::fs::PermissionsExt;
        std::fs::metadata(dir).map_or(0o755, |m| m.permissions().mode())
    }
}

#[cfg(test)]
mod tests;
