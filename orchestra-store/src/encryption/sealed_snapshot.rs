//! Which key a snapshot needs.

use super::frame;
use super::guarded::MARKER;
use super::key::KeyId;
use crate::snapshot::Snapshot;
use crate::store::Result;

/// The newest of the keys that the store of a snapshot was sealed with; `None` when it was not. Reads no further than it must.
///
/// # Errors
/// Those of the snapshot, and [`Error::Corrupt`](crate::Error::Corrupt).
pub async fn snapshot_key(mut snapshot: Snapshot) -> Result<Option<KeyId>> {
    while let Some(entries) = snapshot.next().await {
        for entry in entries? {
            if entry.key.as_bytes() == MARKER.as_bytes() {
                return frame::sealed_with(&entry.key, &entry.value).map(Some);
            }
            if entry.key.as_bytes() > MARKER.as_bytes() {
                return Ok(None);
            }
        }
    }
    Ok(None)
}
