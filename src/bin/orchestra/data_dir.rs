//! Where a cluster keeps its state unless told otherwise.

use std::path::PathBuf;

/// `orchestra` under the user's state directory: `$XDG_STATE_HOME`, otherwise `~/.local/state`.
pub(crate) fn default() -> PathBuf {
    let state = std::env::var_os("XDG_STATE_HOME").filter(|path| !path.is_empty()).map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    state.or_else(home).unwrap_or_else(std::env::temp_dir).join("orchestra")
}
