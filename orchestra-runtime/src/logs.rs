//! Container logs: files in CRI's format, `<time> <stream> <F|P> <text>`, written line by line and read back.

mod encode;
#[cfg(target_os = "linux")]
mod follow;
mod line;
mod read;

pub use encode::{Encoder, MAX_LINE, Stream};
#[cfg(target_os = "linux")]
pub use follow::follow;
pub use line::Line;
pub use read::{LogOptions, read};
