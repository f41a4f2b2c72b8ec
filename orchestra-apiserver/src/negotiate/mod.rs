//! Between the media types of clients and JSON trees.

pub(crate) mod accept;
pub(crate) mod collection;
pub(crate) mod decode;
pub(crate) mod event;
pub(crate) mod patched;
pub(crate) mod render;
pub(crate) mod write;
