//! The watch cache: reads and watches are served from memory, bytes shared.

pub(crate) mod batch;
mod behind;
pub(crate) mod collection;
pub(crate) mod converted;
pub(crate) mod feed;
pub(crate) mod inbox;
pub(crate) mod object;
pub(crate) mod skim;
