//! Carries out a plan of mounts in a mount namespace of the calling process's own.

use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;

use rustix::fs::{CWD, Mode, OFlags, StatVfsMountFlags};
use rustix::io::{Errno, Result};
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount,
    mount_bind_recursive, mount_change, mount_move, mount_remount, move_mount, open_tree, unmount,
};
use rustix::thread::UnshareFlags;

/// Everything to do, in order. Made by `backend::process::mount`, which explains it.
#[derive(Debug, Default)]
pub(crate) struct MountPlan {
    /// What `Step::Attach` shows, taken hold of before anything is covered.
    pub(crate) sources: Vec<Source>,
    /// An empty directory of ours to build in.
    pub(crate) staging: CString,
    /// What to do.
    pub(crate) steps: Vec<Step>,
    /// `<uid> <uid> 1`: how a user namespace keeps showing the caller under its own number.
    pub(crate) uid_map: Vec<u8>,
    /// The same for the group.
    pub(crate) gid_map: Vec<u8>,
}

/// A file or directory of the host.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) path: CString,
}

/// One step.
#[derive(Debug)]
pub(crate) enum Step {
    /// Puts an empty tmpfs, with these options, on the staging directory.
    Stage { options: CString },
    /// Makes a directory, unless it is there.
    Directory(CString),
    /// Makes an empty file, unless it is there.
    File(CString),
    /// Makes a symbolic link.
    Link { target: CString, path: CString },
    /// Shows an entry of the host where it was. Entries that cannot be shown are left empty.
    Show { from: CString, to: CString },
    /// Moves what was staged over the directory it stands for.
    Cover(CString),
    /// Makes what was staged the root.
    Pivot,
    /// Shows a source at its mount point.
    Attach { source: usize, to: CString, read_only: bool },
}

impl MountPlan {
    /// What to call each number [`apply`](Self::apply) stops at.
    pub(crate) fn describe(&self) -> Vec<String> {
        let mut names = vec!["making a mount namespace".to_owned(), "making the mounts private".to_owned()];
        names.extend(self.sources.iter().map(|s| format!("opening volume {}", s.path.to_string_lossy())));
        names.extend(self.steps.iter().map(Step::describe));
        names
    }

    /// Does it. `fds` has room for all sources; `at` tells how far it came.
    pub(super) fn apply(&self, fds: &mut Vec<OwnedFd>, at: &mut u32) -> Result<()> {
        self.unshare()?;
        *at += 1;
        mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
        *at += 1;
        let flags =
            OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
        for source in &self.sources {
            let fd = open_tree(CWD, source.path.as_c_str(), flags)?;
            if fds.len() == fds.capacity() {
                return Err(Errno::NOMEM);
            }
            fds.push(fd);
            *at += 1;
        }
        for step in &self.steps {
            self.take(step, fds)?;
            *at += 1;
        }
        fds.clear();
        Ok(())
    }

    /// A mount namespace by right, or else inside a user namespace in which the caller stays who it is.
    fn unshare(&self) -> Result<()> {
        // SAFETY: only `UnshareFlags::FILES` is dangerous, and it is not asked for.
        match unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) } {
            Err(Errno::PERM) => {}
            other => return other,
        }
        // SAFETY: as above.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWUSER | UnshareFlags::NEWNS) }?;
        write_file(c"/proc/self/setgroups", b"deny")?;
        write_file(c"/proc/self/uid_map", &self.uid_map)?;
        write_file(c"/proc/self/gid_map", &self.gid_map)
    }

    fn take(&self, step: &Step, fds: &[OwnedFd]) -> Result<()> {
        match step {
            Step::Stage { options } => {
                mount(
                    c"tmpfs",
                    self.staging.as_c_str(),
                    c"tmpfs",
                    MountFlags::NOSUID | MountFlags::NODEV,
                    Some(options.as_c_str()),
                )?;
                // So that showing the directory that holds the staging area does not show it twice.
                mount_change(self.staging.as_c_str(), MountPropagationFlags::UNBINDABLE)
            }
            Step::Directory(path) => already(rustix::fs::mkdir(path.as_c_str(), Mode::from_raw_mode(0o755))),
            Step::File(path) => {
                let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
                rustix::fs::open(path.as_c_str(), flags, Mode::from_raw_mode(0o644)).map(drop)
            }
            Step::Link { target, path } => already(rustix::fs::symlink(target.as_c_str(), path.as_c_str())),
            Step::Show { from, to } => match mount_bind_recursive(from.as_c_str(), to.as_c_str()) {
                // Gone since it was listed, or not ours to look at.
                Err(Errno::NOENT | Errno::ACCESS | Errno::NOTDIR | Errno::INVAL) => Ok(()),
                other => other,
            },
            Step::Cover(path) => mount_move(self.staging.as_c_str(), path.as_c_str()),
            Step::Pivot => self.pivot(),
            Step::Attach { source, to, read_only } => {
                let fd = fds.get(*source).ok_or(Errno::BADF)?;
                move_mount(fd, c"", CWD, to.as_c_str(), MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
                if *read_only { make_read_only(to) } else { Ok(()) }
            }
        }
    }

    fn pivot(&self) -> Result<()> {
        rustix::process::chdir(self.staging.as_c_str())?;
        match rustix::process::pivot_root(c".", c".") {
            Ok(()) => unmount(c".", UnmountFlags::DETACH)?,
            // The first root file system of a machine cannot be pivoted away from; it is covered instead.
            Err(Errno::INVAL) => {
                mount_move(c".", c"/")?;
                rustix::process::chroot(c".")?;
            }
            Err(error) => return Err(error),
        }
        rustix::process::chdir(c"/")
    }
}

fn already(result: Result<()>) -> Result<()> {
    match result {
        Err(Errno::EXIST) => Ok(()),
        other => other,
    }
}

/// A remount must repeat the flags the mount has, or a user namespace may not do it.
fn make_read_only(path: &CStr) -> Result<()> {
    let has = rustix::fs::statvfs(path)?.f_flag;
    let mut flags = MountFlags::BIND | MountFlags::RDONLY;
    for (had, keep) in [
        (StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
        (StatVfsMountFlags::NODEV, MountFlags::NODEV),
        (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
        (StatVfsMountFlags::NOATIME, MountFlags::NOATIME),
        (StatVfsMountFlags::NODIRATIME, MountFlags::NODIRATIME),
        (StatVfsMountFlags::RELATIME, MountFlags::RELATIME),
    ] {
        if has.contains(had) {
            flags |= keep;
        }
    }
    mount_remount(path, flags, c"")
}

fn write_file(path: &CStr, content: &[u8]) -> Result<()> {
    let fd = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(&fd, content).map(drop)
}

impl Step {
    fn describe(&self) -> String {
        let text = |c: &CString| c.to_string_lossy().into_owned();
        match self {
            Self::Stage { .. } => "preparing the root file system".to_owned(),
            Self::Directory(path) | Self::File(path) => format!("making mount point {}", text(path)),
            Self::Link { path, .. } => format!("linking {}", text(path)),
            Self::Show { from, .. } => format!("showing {}", text(from)),
            Self::Cover(path) => format!("covering {}", text(path)),
            Self::Pivot => "changing the root".to_owned(),
            Self::Attach { to, .. } => format!("mounting a volume at {}", text(to)),
        }
    }
}
