//! Reads the files that the user names.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::failure::Failure;

/// A file as text, if it is one and not larger than `largest` bytes.
pub(super) fn text(path: &Path, largest: usize) -> Result<String, Failure> {
    let shown = path.display();
    let failed = |problem: std::io::Error| Failure::of(format!("{shown}: {problem}"));
    let mut bytes = Vec::new();
    File::open(path).map_err(failed)?.take(largest as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > largest {
        return Err(Failure::of(format!("{shown}: larger than {largest} bytes")));
    }
    String::from_utf8(bytes).map_err(|problem| {
        let before = problem.as_bytes().iter().take(problem.utf8_error().valid_up_to());
        let line = before.filter(|byte| **byte == b'\n').count() + 1;
        Failure::of(format!("{shown}:{line}: not in UTF-8"))
    })
}
