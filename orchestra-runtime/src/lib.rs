//! orchestra-runtime
