//! The commands of kubectl, one by one.

mod config;
mod create;
