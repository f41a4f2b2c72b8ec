//! Services and their addresses.
