//! What all targets share: inputs to begin with, which are made by code and kept nowhere.

use std::path::Path;

/// Puts seeds into the folder that `cargo fuzz` and `cargo xtask fuzz` read first.
pub fn plant(target: &str, seeds: Vec<Vec<u8>>) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    std::fs::create_dir_all(&corpus).expect("a folder for the corpus can be made");
    for (number, seed) in seeds.into_iter().enumerate() {
        std::fs::write(corpus.join(format!("seed-{number}")), seed).expect("a seed can be written");
    }
}
