//! Manifest files named on the command line.

use std::io::Read;
use std::path::{Path, PathBuf};

use orchestra_core::manifest;
pub(crate) use orchestra_core::manifest::Document;

use crate::failure::Failure;

/// The largest file that is read.
const LARGEST: u64 = 64 << 20;

/// Reads every document of `files`: paths, folders (their `.yaml`, `.yml` and `.json` files in order), or `-`.
pub(crate) fn read(files: &[String]) -> Result<Vec<Document>, Failure> {
    let mut documents = Vec::new();
    for file in files {
        if file == "-" {
            documents.extend(parse(&read_all(std::io::stdin(), "standard input")?, "standard input")?);
            continue;
        }
        for path in expand(Path::new(file))? {
            let shown = path.display().to_string();
            let opened =
                std::fs::File::open(&path).map_err(|problem| Failure::of(format!("{shown}: {problem}")))?;
            documents.extend(parse(&read_all(opened, &shown)?, &shown)?);
        }
    }
    if documents.is_empty() {
        return Err(Failure::of("no objects passed to apply"));
    }
    Ok(documents)
}

fn parse(text: &str, origin: &str) -> Result<Vec<Document>, Failure> {
    manifest::parse(text, origin).map_err(|problem| Failure::of(problem.to_string()))
}

fn read_all(source: impl Read, shown: &str) -> Result<String, Failure> {
    let mut text = String::new();
    let read = source.take(LARGEST + 1).read_to_string(&mut text);
    let length = read.map_err(|problem| Failure::of(format!("{shown}: {problem}")))?;
    if length as u64 > LARGEST {
        return Err(Failure::of(format!("{shown}: larger than {} MiB", LARGEST >> 20)));
    }
    Ok(text)
}

fn expand(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let failed = |problem: std::io::Error| Failure::of(format!("{}: {problem}", path.display()));
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|end| end == "yaml" || end == "yml" || end == "json") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
