//! Joins the namespaces of a running container, for commands executed beside it.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Gid, Uid};
use rustix::thread::{ThreadNameSpaceType, move_into_thread_name_spaces};

/// Which namespaces of a container differ from ours.
#[derive(Debug)]
pub(crate) struct Namespaces {
    /// The container's process.
    pub(crate) process: OwnedFd,
    /// Whether it has a user namespace of its own.
    pub(crate) user: bool,
    /// Whether it has a mount namespace of its own.
    pub(crate) mount: bool,
}

/// Makes `command` run inside `namespaces`, as `user`, in `working_dir`.
pub(crate) fn enter(
    command: &mut Command,
    namespaces: Namespaces,
    user: Option<(u32, u32)>,
    working_dir: CString,
) {
    let mut kinds = ThreadNameSpaceType::empty();
    if namespaces.user {
        kinds |= ThreadNameSpaceType::USER;
    }
    if namespaces.mount {
        kinds |= ThreadNameSpaceType::MOUNT;
    }
    // SAFETY: the closure runs in the forked child and makes system calls on values computed before the fork only.
    unsafe {
        command.pre_exec(move || {
            if !kinds.is_empty() {
                move_into_thread_name_spaces(namespaces.process.as_fd(), kinds)?;
            }
            if let Some((uid, gid)) = user {
                rustix::thread::set_thread_groups(&[])?;
                let gid = Gid::from_raw(gid);
                rustix::thread::set_thread_res_gid(gid, gid, gid)?;
                let uid = Uid::from_raw(uid);
                rustix::thread::set_thread_res_uid(uid, uid, uid)?;
            }
            rustix::process::chdir(working_dir.as_c_str())?;
            Ok(())
        });
    }
}
