//! Who one is.
