//! Container logs: files in CRI's format, `<time> <stream> <F|P> <text>`, written line by line and read back.

mod changes;
mod encode;
mod format;
mod line;
mod read;
mod rotation;
mod tail;

pub use encode::{Encoder, MAX_LINE, Stream};
pub use format::LogOptions;
pub use line::Line;
pub use read::read;
pub(crate) use read::{Follow, stream};
pub use rotation::LogLimit;
pub(crate) use rotation::{LogWriter, remove};
