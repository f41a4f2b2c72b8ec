//! What the agent tells a runtime to make.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::logs::LogLimit;

/// The pod something belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PodMeta {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

/// What the containers of a pod share.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxConfig {
    /// Whose sandbox this is.
    pub pod: PodMeta,
    /// How often the pod got a new sandbox before.
    pub attempt: u32,
    /// Host name inside.
    pub hostname: String,
    /// The pod's addresses, the primary one first.
    pub addresses: Vec<IpAddr>,
    /// The network namespace to join; `None` is the node's own.
    pub network_namespace: Option<PathBuf>,
    /// The pod's labels.
    pub labels: BTreeMap<String, String>,
    /// The pod's annotations.
    pub annotations: BTreeMap<String, String>,
}

/// One container to make.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerConfig {
    /// Its name in the pod.
    pub name: String,
    /// How often it was started before in this pod.
    pub attempt: u32,
    /// The image, as the pod names it.
    pub image: String,
    /// Replaces the image's entry point when not empty.
    pub command: Vec<String>,
    /// Replaces the image's arguments when not empty.
    pub args: Vec<String>,
    /// The environment; later entries win.
    pub env: Vec<(String, String)>,
    /// Where the program starts; the image decides when `None`.
    pub working_dir: Option<PathBuf>,
    /// Files and directories of the host to show inside.
    pub mounts: Vec<Mount>,
    /// Where output goes, in CRI's log format.
    pub log_path: PathBuf,
    /// How much is kept of that; as the kubelet's defaults when `None`.
    #[serde(default)]
    pub log_limit: Option<LogLimit>,
    /// Who the program runs as; the image decides when `None`.
    pub user: Option<User>,
    /// Keeps an input open for [`attach`](super::ContainerRuntime::attach); without it, the program reads nothing.
    #[serde(default)]
    pub stdin: bool,
    /// Closes that input when the first client that had it goes.
    #[serde(default)]
    pub stdin_once: bool,
    /// Gives the program a terminal for all its streams.
    #[serde(default)]
    pub tty: bool,
    /// Kept with the container and listed with it.
    pub labels: BTreeMap<String, String>,
    /// Kept with the container and listed with it.
    pub annotations: BTreeMap<String, String>,
}

/// A file or directory of the host shown inside a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// On the host.
    pub host_path: PathBuf,
    /// Inside.
    pub container_path: PathBuf,
    /// Refuses writes from inside.
    pub read_only: bool,
}

/// Who a program runs as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Group id; the user's own number when `None` is given in the pod.
    pub gid: u32,
}
