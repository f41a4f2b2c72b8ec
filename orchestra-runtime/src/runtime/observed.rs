//! What a runtime tells the agent about what there is.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{ContainerConfig, PodMeta, SandboxConfig};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub struct $name(pub String);
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}
id!(
    /// Names a sandbox in its runtime.
    SandboxId
);
id!(
    /// Names a container in its runtime.
    ContainerId
);

/// What runs the containers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// `process`, `sim`, `containerd`…: the scheme of container ids in the API.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// A sandbox as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SandboxStatus {
    /// Which.
    pub id: SandboxId,
    /// As it was asked for.
    pub config: SandboxConfig,
    /// Whether containers can run in it.
    pub state: SandboxState,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Whether containers can run in a sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SandboxState {
    /// They can.
    Ready,
    /// It was stopped, or did not survive.
    NotReady,
}

/// A container as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerStatus {
    /// Which.
    pub id: ContainerId,
    /// The sandbox it lives in.
    pub sandbox: SandboxId,
    /// Its pod.
    pub pod: PodMeta,
    /// As it was asked for.
    pub config: ContainerConfig,
    /// Identifies the image's content.
    pub image_ref: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Where it stands.
    pub state: ContainerState,
}

/// Where a container stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContainerState {
    /// Made, not started.
    Created,
    /// Its program runs.
    Running {
        /// Since then.
        started_at: Timestamp,
    },
    /// Its program ended.
    Exited(Exit),
}

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Exit code; 128 and the signal for a program that a signal ended, as shells and container runtimes count.
    pub code: i32,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// When it started; `None` when it never did.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Timestamp,
    /// Why, in one CamelCase word, when the runtime knows better than the exit code.
    pub reason: Option<String>,
    /// More about why.
    pub message: Option<String>,
}

/// What a running container uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerStats {
    /// Which.
    pub id: ContainerId,
    /// Its pod.
    pub pod: PodMeta,
    /// Its name in the pod.
    pub name: String,
    /// When it started.
    pub started_at: Timestamp,
    /// How long processors worked for it since.
    pub cpu: Duration,
    /// How much of a processor it uses now, in billionths, where the runtime knows; otherwise the agent takes it from two
    /// readings of `cpu`.
    pub nano_cores: Option<u64>,
    /// Bytes of memory it holds.
    pub memory: u64,
}

/// An image that is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Identifies its content.
    pub reference: String,
    /// Size in bytes, 0 when it has none of its own.
    pub size: u64,
}

/// What a command gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecOutput {
    /// Exit code.
    pub code: i32,
    /// The beginning of what it wrote to standard output; runtimes cut at 16 KiB.
    pub stdout: Vec<u8>,
    /// The same of standard error.
    pub stderr: Vec<u8>,
}

/// A container ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerEvent {
    /// Which.
    pub id: ContainerId,
    /// Its pod.
    pub pod: PodMeta,
    /// How.
    pub exit: Exit,
}
