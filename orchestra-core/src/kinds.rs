//! The built-in kinds, one file each, and the registry that holds them.
