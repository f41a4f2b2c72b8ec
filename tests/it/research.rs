//! The researcher's guide: every command in it does what the guide says.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::harness::text;

/// A command of the guide, and what the guide says that it prints.
struct Step {
    command: String,
    printed: String,
}

/// The commands in the blocks of type `console`; a command may go on over several lines.
fn steps(guide: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let (mut inside, mut goes_on) = (false, false);
    for line in guide.lines() {
        if line.starts_with("```") {
            inside = line == "```console";
        } else if !inside {
        } else if let Some(command) = line.strip_prefix("$ ") {
            steps.push(Step { command: command.to_owned(), printed: String::new() });
            goes_on = line.ends_with('\\');
        } else if let Some(step) = steps.last_mut() {
            let part = if goes_on { &mut step.command } else { &mut step.printed };
            if goes_on {
                part.push('\n');
            }
            part.push_str(line);
            if !goes_on {
                part.push('\n');
            }
            goes_on = goes_on && line.ends_with('\\');
        }
    }
    steps
}

#[test]
fn every_command_of_the_researchers_guide_prints_what_the_guide_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let guide = fs::read_to_string(root.join("docs/research.md")).unwrap();
    let place = TempDir::new().unwrap();
    symlink(root.join("examples"), place.path().join("examples")).unwrap();
    let programs = Path::new(env!("CARGO_BIN_EXE_orchestra")).parent().unwrap().to_owned();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let steps = steps(&guide);
    // Examples are built and run by `cargo xtask test`.
    let here = |step: &&Step| !step.command.starts_with("cargo ");
    assert!(steps.iter().filter(here).count() > 5, "the guide has commands");
    for step in steps.iter().filter(here) {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(&step.command).current_dir(place.path()).env("PATH", &path).env("LC_ALL", "C");
        let output = shell.output().unwrap();
        assert!(output.status.success(), "{}: {}", step.command, text(&output.stderr));
        assert_eq!(text(&output.stdout), step.printed, "{}", step.command);
    }
}

#[test]
fn the_policy_of_the_researchers_guide_is_the_one_of_the_example() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let guide = fs::read_to_string(root.join("docs/research.md")).unwrap();
    let example = fs::read_to_string(root.join("examples/own_policy.rs")).unwrap();
    let begin = example.find("/// Prefers small nodes").unwrap();
    let end = example.find("#[tokio::main]").unwrap();
    assert!(guide.contains(example[begin..end].trim_end()), "the guide shows another policy");
}
