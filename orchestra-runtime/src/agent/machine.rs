//! What the agent tells about the machine it runs on, read from where the kernel and the distribution keep it.
//!
//! Only what the scheduler counts with may fail the reading; descriptions that are missing are told as such.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use orchestra_core::quantity::{Format, Quantity};

/// How much a node can give to pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Thousandths of a processor.
    pub milli_cpu: u64,
    /// Bytes of memory.
    pub memory: u64,
    /// Bytes on the disk that holds the agent's state.
    pub ephemeral_storage: u64,
    /// Pods.
    pub pods: u32,
}

/// How a machine describes itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SystemInfo {
    /// `uname -r`.
    pub kernel_version: String,
    /// The distribution's pretty name.
    pub os_image: String,
    /// As Go names it: `linux`.
    pub operating_system: String,
    /// As Go names it: `amd64`, `arm64`.
    pub architecture: String,
    /// Changes with every boot.
    pub boot_id: String,
    /// Stays the same as long as the system is installed.
    pub machine_id: String,
    /// The firmware's name for the machine.
    pub system_uuid: String,
}

/// The machine as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// What it has.
    pub capacity: Capacity,
    /// What it is.
    pub info: SystemInfo,
}

/// Why the machine's capacity is unknown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MachineError {
    /// Something cannot be read.
    #[error("cannot read {what}")]
    Read {
        /// A file, or what was asked.
        what: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It was read but not understood.
    #[error("{what} tells no {missing}")]
    Unclear {
        /// The file.
        what: PathBuf,
        /// What was looked for.
        missing: &'static str,
    },
}

impl Capacity {
    /// In the API's notation, by the names of resources.
    pub fn resources(&self) -> BTreeMap<String, String> {
        let clamped = |amount: u64| i64::try_from(amount).unwrap_or(i64::MAX);
        let bytes = |amount: u64| Quantity::new(clamped(amount), Format::BinarySi);
        [
            ("cpu", Quantity::from_milli(clamped(self.milli_cpu))),
            ("ephemeral-storage", bytes(self.ephemeral_storage)),
            ("memory", bytes(self.memory)),
            ("pods", Quantity::new(self.pods.into(), Format::DecimalSi)),
        ]
        .into_iter()
        .map(|(name, amount)| (name.to_owned(), amount.to_string()))
        .collect()
    }
}

/// The machine's own name.
pub(super) fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Upstream's default for the number of pods on a node.
const MAX_PODS: u32 = 110;

impl Machine {
    /// Reads this machine's facts; `dir` lies on the disk that pods write to.
    ///
    /// # Errors
    /// When processors, memory or disk cannot be counted.
    pub fn read(dir: &Path) -> Result<Self, MachineError> {
        let failed = |what: &Path| {
            let what = what.to_owned();
            move |source: io::Error| MachineError::Read { what, source }
        };
        let cpus =
            std::thread::available_parallelism().map_err(failed(Path::new("the number of processors")))?;
        let disk = rustix::fs::statvfs(dir).map_err(|e| failed(dir)(e.into()))?;
        Ok(Self {
            capacity: Capacity {
                milli_cpu: u64::try_from(cpus.get()).unwrap_or(u64::MAX).saturating_mul(1000),
                memory: memory()?,
                ephemeral_storage: disk.f_blocks.saturating_mul(disk.f_frsize),
                pods: MAX_PODS,
            },
            info: system_info(),
        })
    }
}

#[cfg(target_os = "linux")]
fn memory() -> Result<u64, MachineError> {
    let path = Path::new("/proc/meminfo");
    let text = std::fs::read_to_string(path)
        .map_err(|source| MachineError::Read { what: path.to_owned(), source })?;
    mem_total(&text).ok_or_else(|| MachineError::Unclear { what: path.to_owned(), missing: "MemTotal" })
}

#[cfg(not(target_os = "linux"))]
fn memory() -> Result<u64, MachineError> {
    Err(MachineError::Unclear { what: PathBuf::from("this platform"), missing: "amount of memory" })
}

fn system_info() -> SystemInfo {
    let os_release = ["/etc/os-release", "/usr/lib/os-release"].iter().find_map(|path| read(path));
    SystemInfo {
        kernel_version: read("/proc/sys/kernel/osrelease").unwrap_or_else(|| "unknown".to_owned()),
        os_image: os_release.as_deref().and_then(pretty_name).unwrap_or_else(|| "Unknown".to_owned()),
        operating_system: std::env::consts::OS.to_owned(),
        architecture: go_architecture(std::env::consts::ARCH).to_owned(),
        boot_id: read("/proc/sys/kernel/random/boot_id").unwrap_or_default(),
        machine_id: ["/etc/machine-id", "/var/lib/dbus/machine-id"]
            .iter()
            .find_map(|path| read(path))
            .unwrap_or_default(),
        // Readable for root only, and absent on many virtual machines.
        system_uuid: read("/sys/class/dmi/id/product_uuid").unwrap_or_default(),
    }
}

/// A short text file without its surrounding white space; `None` when it tells nothing.
fn read(path: &str) -> Option<String> {
    match std::fs::read_to_string(path) {
        Ok(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
        Err(error) => {
            tracing::debug!(path, %error, "this machine does not tell");
            None
        }
    }
}

/// `MemTotal` of `/proc/meminfo`, in bytes.
fn mem_total(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// `PRETTY_NAME` of an os-release file.
fn pretty_name(text: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?.trim();
    let inner = ['"', '\''].iter().find_map(|q| value.strip_prefix(*q)?.strip_suffix(*q));
    Some(inner.unwrap_or(value).to_owned()).filter(|name| !name.is_empty())
}

/// Go's name for an architecture Rust names.
fn go_architecture(rust: &str) -> &str {
    match rust {
        "x86_64" => "amd64",
        "x86" => "386",
        "aarch64" => "arm64",
        "powerpc64" => "ppc64le",
        "loongarch64" => "loong64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_bytes() {
        assert_eq!(mem_total("MemTotal:       16 kB\nMemFree: 1 kB\n"), Some(16 * 1024));
        assert_eq!(mem_total("MemFree: 1 kB\n"), None);
        assert_eq!(mem_total("MemTotal: 99999999999999999999 kB\n"), None);
    }

    #[test]
    fn the_distribution_name_loses_its_quotes() {
        assert_eq!(pretty_name("ID=x\nPRETTY_NAME=\"Some Linux 1\"\n").as_deref(), Some("Some Linux 1"));
        assert_eq!(pretty_name("PRETTY_NAME=Plain\n").as_deref(), Some("Plain"));
        assert_eq!(pretty_name("ID=x\n"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_machine_can_be_read() {
        let machine = Machine::read(Path::new("/")).unwrap();
        assert!(machine.capacity.milli_cpu >= 1000 && machine.capacity.memory > 1 << 20);
        assert!(machine.capacity.ephemeral_storage > 0 && !machine.info.kernel_version.is_empty());
        assert!(
            Machine::read(Path::new("/no/such/place")).unwrap_err().to_string().contains("/no/such/place")
        );
    }
}
