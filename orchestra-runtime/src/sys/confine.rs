//! The last steps of a child before it becomes the container's program.

use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Gid, Pid, Signal, Uid};

use super::mount::MountPlan;

/// What a child does to itself before it executes its program, in this order.
#[derive(Debug, Default)]
pub(crate) struct Confinement {
    /// Shows volumes in a mount namespace of its own.
    pub(crate) mounts: Option<MountPlan>,
    /// Becomes this user and group, without supplementary groups.
    pub(crate) user: Option<(u32, u32)>,
    /// Goes there; after the mounts, for it may lie in a volume.
    pub(crate) working_dir: Option<CString>,
    /// Is killed when the thread that spawned it ends.
    pub(crate) die_with_parent: bool,
}

/// Why a child did not come to run its program.
#[derive(Debug)]
pub(crate) struct SpawnError {
    /// Which step failed; `None` is the execution itself.
    pub(crate) step: Option<String>,
    /// What the system said.
    pub(crate) source: io::Error,
}

/// Which step a child was at, as it tells its parent: a byte for the kind and a number.
#[derive(Clone, Copy)]
enum At {
    Mount(u32),
    User,
    WorkingDir,
    Parent,
}

impl At {
    fn encode(self) -> [u8; 5] {
        let (kind, number) = match self {
            Self::Mount(number) => (1, number),
            Self::User => (2, 0),
            Self::WorkingDir => (3, 0),
            Self::Parent => (4, 0),
        };
        let [a, b, c, d] = number.to_le_bytes();
        [kind, a, b, c, d]
    }
}

/// Spawns `command` confined.
pub(crate) fn spawn(command: &mut Command, confinement: Confinement) -> Result<Child, SpawnError> {
    let plain = |source| SpawnError { step: None, source };
    let (read, write) =
        pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).map_err(|e| plain(io::Error::from(e)))?;
    let described = Described::of(&confinement);
    let parent = rustix::process::getpid();
    let mut inside = Inside { confinement, report: write, parent, fds: Vec::new() };
    inside.fds.reserve_exact(inside.confinement.mounts.as_ref().map_or(0, |m| m.sources.len()));
    // SAFETY: the closure runs in the forked child. `Inside::apply` works on values computed before the fork (`fds` has
    // room for all it will hold) and makes system calls only: it neither allocates nor takes locks, and errors are raw
    // error numbers.
    unsafe {
        command.pre_exec(move || inside.apply().map_err(io::Error::from));
    }
    command.spawn().map_err(|source| {
        let mut told = [0u8; 5];
        let step = match rustix::io::read(&read, &mut told) {
            Ok(5) => Some(described.name(told)),
            _ => None,
        };
        SpawnError { step, source }
    })
}

/// The words for each step, kept by the parent.
struct Described {
    mounts: Vec<String>,
    user: Option<(u32, u32)>,
    working_dir: Option<CString>,
}

impl Described {
    fn of(confinement: &Confinement) -> Self {
        Self {
            mounts: confinement.mounts.as_ref().map(MountPlan::describe).unwrap_or_default(),
            user: confinement.user,
            working_dir: confinement.working_dir.clone(),
        }
    }

    fn name(&self, [kind, a, b, c, d]: [u8; 5]) -> String {
        let number = u32::from_le_bytes([a, b, c, d]) as usize;
        match kind {
            1 => self.mounts.get(number).cloned().unwrap_or_else(|| "mounting volumes".to_owned()),
            2 => format!("becoming user and group {:?}", self.user.unwrap_or_default()),
            3 => format!(
                "entering working directory {:?}",
                self.working_dir.as_deref().unwrap_or_default().to_string_lossy()
            ),
            _ => "tying the process to its parent".to_owned(),
        }
    }
}

struct Inside {
    confinement: Confinement,
    report: OwnedFd,
    parent: Pid,
    fds: Vec<OwnedFd>,
}

impl Inside {
    fn apply(&mut self) -> rustix::io::Result<()> {
        let mut at = At::Mount(0);
        let done = self.steps(&mut at);
        if done.is_err() {
            // The parent learns the step if it can; the error itself goes its own way.
            let _ = rustix::io::write(&self.report, &at.encode());
        }
        done
    }

    fn steps(&mut self, at: &mut At) -> rustix::io::Result<()> {
        if let Some(mounts) = &self.confinement.mounts {
            let mut step = 0;
            let done = mounts.apply(&mut self.fds, &mut step);
            *at = At::Mount(step);
            done?;
        }
        if let Some((uid, gid)) = self.confinement.user {
            *at = At::User;
            rustix::thread::set_thread_groups(&[])?;
            let gid = Gid::from_raw(gid);
            rustix::thread::set_thread_res_gid(gid, gid, gid)?;
            let uid = Uid::from_raw(uid);
            rustix::thread::set_thread_res_uid(uid, uid, uid)?;
        }
        if let Some(dir) = &self.confinement.working_dir {
            *at = At::WorkingDir;
            rustix::process::chdir(dir.as_c_str())?;
        }
        if self.confinement.die_with_parent {
            // Last, because the kernel forgets this setting when credentials change.
            *at = At::Parent;
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
            if rustix::process::getppid() != Some(self.parent) {
                return Err(rustix::io::Errno::SRCH);
            }
        }
        Ok(())
    }
}
