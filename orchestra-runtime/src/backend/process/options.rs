//! What a process runtime is opened with.

use std::path::PathBuf;

use super::image::{Images, Program};

/// Who watches over the containers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Supervision {
    /// A shim for each container: `program` with `args` must call [`shim::main`](super::shim::main) with what follows.
    /// Containers survive the end of this program, also a violent one, and are found again.
    Shim {
        /// The executable.
        program: PathBuf,
        /// Its arguments before the shim's own: the hidden verb.
        args: Vec<String>,
    },
    /// This program. Containers die with it.
    Child,
}

/// Options of a [`ProcessRuntime`](super::ProcessRuntime).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ProcessOptions {
    pub(super) dir: PathBuf,
    pub(super) supervision: Supervision,
    pub(super) images: Images,
}

impl ProcessOptions {
    /// State in `dir`, containers as children.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), supervision: Supervision::Child, images: Images::default() }
    }

    /// Chooses who supervises.
    #[must_use]
    pub fn with_supervision(mut self, supervision: Supervision) -> Self {
        self.supervision = supervision;
        self
    }

    /// Adds a built-in image. Tags are ignored: every tag of `name` is this program.
    #[must_use]
    pub fn with_image(mut self, name: &str, program: Program) -> Self {
        self.images.insert(name, program);
        self
    }
}
