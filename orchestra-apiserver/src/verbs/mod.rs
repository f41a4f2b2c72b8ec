//! What can be done with objects, one file for each verb.

pub(crate) mod apply;
pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod delete_collection;
mod devices;
pub(crate) mod get;
pub(crate) mod list;
pub(crate) mod manage;
pub(crate) mod patch;
mod token;
pub(crate) mod update;
pub(crate) mod watch;
