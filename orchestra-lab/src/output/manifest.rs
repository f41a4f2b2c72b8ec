//! The manifest: all that is needed to run the same again, and what it came to.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The format of manifests and results that is written and read.
const FORMAT: u32 = 1;
/// The largest manifest that is read, in bytes.
const LARGEST: usize = 16 << 20;

/// What was run, on what, and what it came to. Nothing in it tells when, where or how fast.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Manifest {
    /// The format of this file and of those beside it.
    pub format: u32,
    /// The version of Orchestra.
    pub orchestra: String,
    /// The version of Kubernetes whose decisions were made.
    pub kubernetes: String,
    /// The command that does the same, but for `--out`.
    pub command: Vec<String>,
    /// Who decided, in order.
    pub strategies: Vec<String>,
    /// Where chance came from, in order.
    pub seeds: Vec<u64>,
    /// The files of nodes and pods, by the option that named them.
    pub inputs: BTreeMap<String, Input>,
    /// Small files, by the option that named them, whole.
    pub embedded: BTreeMap<String, Embedded>,
    /// How it was run.
    pub options: ManifestOptions,
    /// The digests of what was written, by file.
    pub outputs: BTreeMap<String, String>,
}

/// A file that was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Where it was, as it was named.
    pub path: String,
    /// How long it is.
    pub bytes: u64,
    /// Its SHA-256, in hexadecimal.
    pub sha256: String,
}

/// A file that was read, and what was in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Embedded {
    /// Where it was, as it was named.
    pub path: String,
    /// All of it.
    pub text: String,
}

/// How it was run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ManifestOptions {
    /// How long an evicted pod takes to end, in seconds.
    pub grace: String,
    /// The least time between two calls of a strategy, in seconds.
    pub batch: String,
    /// Whether all refusals were recorded.
    pub all_refusals: bool,
    /// Whether rows that make no sense were left out.
    pub skip_bad_rows: bool,
}

/// Why a manifest cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// It is no manifest, or of another format.
    #[error("{file}: {problem}")]
    Invalid {
        /// The file, as the caller named it.
        file: String,
        /// What is wrong.
        problem: String,
    },
    /// A file is not the one that was read then.
    #[error("{file} is not the file the manifest speaks of: its SHA-256 is {found}, not {expected}")]
    OtherInput {
        /// The file.
        file: String,
        /// Its digest.
        found: String,
        /// The digest in the manifest.
        expected: String,
    },
}

impl Manifest {
    /// A manifest of what this version does, with nothing in it yet.
    #[must_use]
    pub fn new(options: ManifestOptions) -> Self {
        Self {
            format: FORMAT,
            orchestra: env!("CARGO_PKG_VERSION").to_owned(),
            kubernetes: "1.36".to_owned(),
            command: Vec::new(),
            strategies: Vec::new(),
            seeds: Vec::new(),
            inputs: BTreeMap::new(),
            embedded: BTreeMap::new(),
            options,
            outputs: BTreeMap::new(),
        }
    }

    /// Reads a manifest; `file` is only used in errors.
    ///
    /// # Errors
    /// When it is none, or of another format.
    pub fn read(text: &str, file: &str) -> Result<Self, ManifestError> {
        let invalid = |problem: String| ManifestError::Invalid { file: file.to_owned(), problem };
        if text.len() > LARGEST {
            return Err(invalid(format!("larger than {LARGEST} bytes")));
        }
        let read: Self = serde_json::from_str(text).map_err(|problem| invalid(problem.to_string()))?;
        if read.format != FORMAT {
            return Err(invalid(format!(
                "format {} is not {FORMAT}, the one this version knows",
                read.format
            )));
        }
        Ok(read)
    }

    /// As it is written.
    #[must_use]
    pub fn to_json(&self) -> String {
        pretty(self)
    }
}

impl Input {
    /// A file of this content.
    #[must_use]
    pub fn of(path: &str, bytes: &[u8]) -> Self {
        Self { path: path.to_owned(), bytes: bytes.len() as u64, sha256: digest(bytes) }
    }

    /// Whether another content is the same.
    ///
    /// # Errors
    /// When it is not; `file` names it.
    pub fn check(&self, file: &str, bytes: &[u8]) -> Result<(), ManifestError> {
        let found = digest(bytes);
        if found == self.sha256 {
            return Ok(());
        }
        Err(ManifestError::OtherInput { file: file.to_owned(), found, expected: self.sha256.clone() })
    }
}

/// The SHA-256 of some bytes, in hexadecimal.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    hexadecimal(Sha256::digest(bytes).as_slice())
}

/// The SHA-256 of a file, in hexadecimal.
///
/// # Errors
/// When it cannot be read.
pub fn digest_of_file(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let (mut hash, mut piece) = (Sha256::new(), vec![0; 1 << 16]);
    loop {
        let length = file.read(&mut piece)?;
        if length == 0 {
            return Ok(hexadecimal(hash.finalize().as_slice()));
        }
        hash.update(piece.get(..length).unwrap_or_default());
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// JSON with line breaks.
pub(super) fn pretty(value: &impl Serialize) -> String {
    // What is written here are maps with text for keys, numbers and text.
    serde_json::to_string_pretty(value).map(|text| text + "\n").expect("plain data is JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_reads_back_and_other_formats_are_refused() {
        let options = ManifestOptions {
            grace: "30".to_owned(),
            batch: "1".to_owned(),
            all_refusals: false,
            skip_bad_rows: false,
        };
        let mut manifest = Manifest::new(options);
        manifest.seeds = vec![42];
        manifest.inputs.insert("trace".to_owned(), Input::of("t.csv", b"x"));
        assert_eq!(Manifest::read(&manifest.to_json(), "m").unwrap(), manifest);
        let other = manifest.to_json().replace("\"format\": 1", "\"format\": 2");
        assert!(Manifest::read(&other, "m").unwrap_err().to_string().starts_with("m: format 2 is not 1"));
        assert!(Manifest::read("{}", "m").is_err());
        assert!(manifest.inputs["trace"].check("t.csv", b"x").is_ok());
        assert!(manifest.inputs["trace"].check("t.csv", b"y").is_err());
    }
}
