//! `orchestra simulate`, interrupted: all of its results are there, or none.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use tempfile::TempDir;

use crate::harness::{orchestra, signal, text, until};

/// More than is simulated while a test waits.
const LONG: &str = r#"{"nodes": [{"name": "n", "count": 50, "allocatable": {"cpu": "64"}}],
    "pods": {"count": 300000, "arrival": {"poisson": 10}, "classes": [
        {"name": "p", "requests": {"cpu": "1"}, "duration": {"exponential": {"mean": 60}}}]}}"#;

fn names(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// Begins a long simulation whose results would go to `place/out`, and waits until it has written decisions down.
fn under_way(place: &Path) -> Child {
    fs::create_dir(place).unwrap();
    let description = place.with_extension("json");
    fs::write(&description, LONG).unwrap();
    let mut process = orchestra();
    process.arg("simulate").arg("--generate").arg(&description).arg("--out").arg(place.join("out"));
    let mut process = process.stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let writes = || {
        assert_eq!(process.try_wait().unwrap(), None, "it is long enough");
        let begun = names(place).into_iter().map(|hidden| hidden.join("decisions.0.part"));
        begun.into_iter().any(|part| fs::metadata(part).is_ok_and(|part| part.len() > 0))
    };
    until("decisions are written", writes, || names(place));
    process
}

#[test]
fn told_to_stop_it_leaves_nothing_and_says_so() {
    let folder = TempDir::new().unwrap();
    for name in ["INT", "TERM"] {
        let place = folder.path().join(name);
        let process = under_way(&place);
        signal(process.id(), name);
        let ended = process.wait_with_output().unwrap();
        assert_eq!(ended.status.code(), Some(1));
        assert_eq!(text(&ended.stderr), "orchestra: stopped; nothing was written\n");
        assert_eq!(text(&ended.stdout), "");
        assert_eq!(names(&place), Vec::<PathBuf>::new());
    }
}

#[test]
fn killed_it_leaves_no_results_and_is_not_in_the_way_of_the_next() {
    let folder = TempDir::new().unwrap();
    let place = folder.path().join("KILL");
    let process = under_way(&place);
    signal(process.id(), "KILL");
    assert_eq!(process.wait_with_output().unwrap().status.signal(), Some(9));
    let left = names(&place);
    let hidden = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with(".out.");
    assert!(left.iter().all(hidden), "{left:?}");
    let short = folder.path().join("short.json");
    fs::write(&short, LONG.replace("300000", "3")).unwrap();
    let out = place.join("out");
    let again = orchestra().arg("simulate").arg("--generate").arg(&short).arg("--out").arg(&out).output();
    assert!(again.unwrap().status.success());
    let manifest = fs::read_to_string(out.join("manifest.json")).unwrap();
    assert!(names(&out).iter().all(|path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name == "manifest.json" || manifest.contains(&format!("\"{name}\""))
    }));
    assert_eq!(names(&out).len(), 8);
}
