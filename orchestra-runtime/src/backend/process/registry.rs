//! What the runtime knows in memory about its sandboxes and containers.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{broadcast, watch};

use super::layout::{ContainerRecord, ProcessRecord, SandboxRecord};
use crate::runtime::{
    ContainerEvent, ContainerId, ContainerState, ContainerStatus, Error, Exit, Result, SandboxId,
    SandboxState, SandboxStatus,
};

/// How many exits a reader may be behind.
const EVENTS: usize = 1024;

/// A container.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) record: ContainerRecord,
    pub(super) state: watch::Sender<ContainerState>,
    process: Mutex<Option<ProcessRecord>>,
    claimed: AtomicBool,
}

impl Entry {
    pub(super) fn new(record: ContainerRecord, state: ContainerState) -> Self {
        let claimed = AtomicBool::new(!matches!(state, ContainerState::Created));
        Self { record, state: watch::Sender::new(state), process: Mutex::new(None), claimed }
    }

    /// Whether the caller is the first to start it.
    pub(super) fn claim(&self) -> bool {
        !self.claimed.swap(true, Ordering::AcqRel)
    }

    /// The process, while it runs.
    pub(super) fn process(&self) -> Option<ProcessRecord> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn status(&self) -> ContainerStatus {
        ContainerStatus {
            id: self.record.id.clone(),
            sandbox: self.record.sandbox.clone(),
            pod: self.record.pod.clone(),
            config: self.record.config.clone(),
            image_ref: self.record.image_ref.clone(),
            created_at: self.record.created_at,
            state: self.state.borrow().clone(),
        }
    }

    fn set_process(&self, process: Option<ProcessRecord>) {
        *self.process.lock().unwrap_or_else(PoisonError::into_inner) = process;
    }
}

/// All of them.
#[derive(Debug)]
pub(super) struct Registry {
    tables: Mutex<Tables>,
    events: broadcast::Sender<ContainerEvent>,
}

#[derive(Debug, Default)]
struct Tables {
    sandboxes: HashMap<SandboxId, SandboxRecord>,
    containers: HashMap<ContainerId, Arc<Entry>>,
}

impl Default for Registry {
    fn default() -> Self {
        Self { tables: Mutex::default(), events: broadcast::Sender::new(EVENTS) }
    }
}

impl Registry {
    fn tables(&self) -> std::sync::MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<ContainerEvent> {
        self.events.subscribe()
    }

    pub(super) fn add_sandbox(&self, record: SandboxRecord) {
        self.tables().sandboxes.insert(record.id.clone(), record);
    }

    pub(super) fn sandbox(&self, id: &SandboxId) -> Result<SandboxRecord> {
        let found = self.tables().sandboxes.get(id).cloned();
        found.ok_or_else(|| Error::NotFound { what: "sandbox", id: id.0.clone() })
    }

    /// Marks a sandbox stopped; returns it if it was not.
    pub(super) fn stop_sandbox(&self, id: &SandboxId) -> Option<SandboxRecord> {
        let mut tables = self.tables();
        let record = tables.sandboxes.get_mut(id).filter(|r| r.state == SandboxState::Ready)?;
        record.state = SandboxState::NotReady;
        Some(record.clone())
    }

    pub(super) fn remove_sandbox(&self, id: &SandboxId) {
        self.tables().sandboxes.remove(id);
    }

    pub(super) fn sandboxes(&self) -> Vec<SandboxStatus> {
        let status = |r: &SandboxRecord| SandboxStatus {
            id: r.id.clone(),
            config: r.config.clone(),
            state: r.state,
            created_at: r.created_at,
        };
        self.tables().sandboxes.values().map(status).collect()
    }

    pub(super) fn add(&self, entry: Entry) {
        self.tables().containers.insert(entry.record.id.clone(), Arc::new(entry));
    }

    pub(super) fn remove(&self, id: &ContainerId) {
        self.tables().containers.remove(id);
    }

    pub(super) fn container(&self, id: &ContainerId) -> Result<Arc<Entry>> {
        let found = self.tables().containers.get(id).cloned();
        found.ok_or_else(|| Error::NotFound { what: "container", id: id.0.clone() })
    }

    pub(super) fn in_sandbox(&self, id: &SandboxId) -> Vec<Arc<Entry>> {
        self.tables().containers.values().filter(|e| e.record.sandbox == *id).cloned().collect()
    }

    pub(super) fn containers(&self) -> Vec<ContainerStatus> {
        self.tables().containers.values().map(|e| e.status()).collect()
    }

    /// Every container that runs, with its process.
    pub(super) fn running(&self) -> Vec<(Arc<Entry>, ProcessRecord)> {
        let tables = self.tables();
        tables.containers.values().filter_map(|entry| Some((entry.clone(), entry.process()?))).collect()
    }

    pub(super) fn started(&self, id: &ContainerId, process: ProcessRecord) {
        if let Ok(entry) = self.container(id) {
            let started_at = process.started_at;
            entry.set_process(Some(process));
            entry.claim();
            entry.state.send_replace(ContainerState::Running { started_at });
        }
    }

    pub(super) fn exited(&self, id: &ContainerId, exit: Exit) {
        if let Ok(entry) = self.container(id) {
            entry.set_process(None);
            entry.state.send_replace(ContainerState::Exited(exit.clone()));
            // Nobody listening is fine: whoever comes later lists.
            let _ = self.events.send(ContainerEvent { id: id.clone(), pod: entry.record.pod.clone(), exit });
        }
    }
}

/// A new id: 32 hexadecimal digits no other has.
pub(super) fn new_id() -> String {
    let mut bytes = [0u8; 16];
    let mut filled = 0;
    while filled < bytes.len() {
        match rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty()) {
            Ok(more) => filled += more,
            Err(rustix::io::Errno::INTR) => {}
            // Kernels without it are older than every other call used here.
            Err(_) => break,
        }
    }
    bytes.iter().fold(String::with_capacity(32), |mut id, byte| {
        use std::fmt::Write;
        let _ = write!(id, "{byte:02x}");
        id
    })
}
