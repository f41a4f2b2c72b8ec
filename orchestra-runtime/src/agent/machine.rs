//! Facts about this machine.

use std::collections::BTreeMap;
use std::fs;

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

pub(super) fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Processors, memory and pods.
pub(super) fn capacity() -> BTreeMap<String, String> {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = read("/proc/meminfo")
        .lines()
        .find_map(|l| l.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB").map(str::to_owned))
        .unwrap_or_else(|| "1048576".to_owned());
    BTreeMap::from([
        ("cpu".to_owned(), cpus.to_string()),
        ("memory".to_owned(), format!("{memory}Ki")),
        ("ephemeral-storage".to_owned(), format!("{}Ki", free_disk())),
        ("pods".to_owned(), "110".to_owned()),
    ])
}

/// The size of the root file system in KiB.
fn free_disk() -> u64 {
    rustix::fs::statvfs("/").map_or(0, |s| s.f_blocks.saturating_mul(s.f_frsize) / 1024)
}

/// What the machine says of itself.
pub(super) struct Machine {
    pub(super) kernel: String,
    pub(super) os_image: String,
    pub(super) architecture: &'static str,
    pub(super) machine_id: String,
    pub(super) boot_id: String,
}

impl Machine {
    pub(super) fn this() -> Self {
        let os_image = read("/etc/os-release")
            .lines()
            .find_map(|l| l.strip_prefix("PRETTY_NAME=").map(|n| n.trim_matches('"').to_owned()))
            .unwrap_or_else(|| std::env::consts::OS.to_owned());
        Self {
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            os_image,
            // The API uses Go's names.
            architecture: match std::env::consts::ARCH {
                "x86_64" => "amd64",
                "aarch64" => "arm64",
                other => other,
            },
            machine_id: read("/etc/machine-id"),
            boot_id: read("/proc/sys/kernel/random/boot_id"),
        }
    }
}
