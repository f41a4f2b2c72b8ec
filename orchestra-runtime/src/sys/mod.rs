//! The only unsafe code of the workspace: mostly what must happen between `fork` and `exec`.
//!
//! [`std::os::unix::process::CommandExt::pre_exec`] is unsafe because its closure runs in a child that has only one
//! thread of its parent's: a lock another thread held at that moment (the allocator's, for one) stays locked for ever.
//! Everything here is therefore computed *before* the fork, into C strings and plain numbers, and what runs in the child
//! does system calls through `rustix` only: no allocation, no lock, no panic path.
//!
//! [`with_terminal`] gives a command a terminal on the way. Beside it, [`readable`] makes one promise to Tokio that only an unsafe block can make.

mod confine;
mod enter;
mod mount;
mod terminal;
mod watch;

pub(crate) use confine::{Confinement, SpawnError, spawn};
pub(crate) use enter::{Namespaces, enter};
pub(crate) use mount::{MountPlan, Source, Step};
pub(crate) use terminal::{Terminal, with_terminal};
pub(crate) use watch::readable;
