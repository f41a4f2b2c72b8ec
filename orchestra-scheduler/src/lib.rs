//! orchestra-scheduler
