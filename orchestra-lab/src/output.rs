//! What is left of an experiment: files that are the same, byte for byte, whenever the same is run again.

mod decisions;
mod folder;
mod manifest;
mod statistics;
mod summary;
mod table;
mod timeline;

pub use decisions::DecisionsFile;
pub use folder::{FolderError, OutFolder};
pub use manifest::{Embedded, Input, Manifest, ManifestError, ManifestOptions, digest, digest_of_file};
pub use statistics::{Interval, interval};
pub use summary::{Delays, RunSummary, StrategySummary, Summary, summaries};
pub use table::table;
pub use timeline::write_timeline;
