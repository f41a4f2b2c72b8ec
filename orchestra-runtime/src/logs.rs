//! Container logs: files in CRI's format, `<time> <stream> <F|P> <text>`, written line by line and read back.

mod encode;

mod line;

pub use encode::{Encoder, MAX_LINE, Stream};

pub use line::Line;
