//! `cargo xtask fuzz`: a short run of every fuzz target, with the toolchain that is there.
//!
//! `cargo fuzz` needs a nightly compiler only for the address sanitizer. Our code is free of `unsafe`, so what is wanted is the
//! coverage that leads the fuzzer, and stable compilers have that.

use std::num::NonZero;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// Passes that tell libFuzzer which branches were taken and what was compared.
const COVERAGE: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
     -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1";

/// Seconds for each target where nobody says otherwise.
const SECONDS: u32 = 15;

/// How long each target runs, and where its chance begins.
struct Wish {
    seconds: u32,
    /// libFuzzer takes another seed each time where this is zero.
    seed: u32,
}

impl Wish {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut wish = Self { seconds: SECONDS, seed: 0 };
        while let Some(flag) = arguments.next() {
            let value = match flag.as_str() {
                "--seconds" => &mut wish.seconds,
                "--seed" => &mut wish.seed,
                other => {
                    return Err(format!("usage: cargo xtask fuzz [--seconds N] [--seed N], not {other}"));
                }
            };
            let text = arguments.next().ok_or_else(|| format!("{flag} needs a number"))?;
            *value = text.parse().map_err(|_| format!("{flag} {text}: not a number"))?;
        }
        Ok(wish)
    }
}

/// Builds all targets and runs each for a while.
pub(crate) fn run(root: &Path, arguments: impl Iterator<Item = String>) -> Result<(), String> {
    let wish = Wish::parse(arguments)?;
    let (fuzz, build, host) = (root.join("fuzz"), root.join("target/fuzz"), host()?);
    println!("-- building the fuzz targets");
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--locked", "--bins", "--target", &host, "--target-dir"]).arg(&build);
    // A target of its own keeps the flags away from build scripts, which could not be linked with them.
    succeed(cargo.current_dir(&fuzz).env("RUSTFLAGS", COVERAGE).env_remove("CARGO_TARGET_DIR"))?;
    let (targets, programs) = (Mutex::new(targets(&fuzz)?.into_iter()), build.join(&host).join("debug"));
    // One target on each core: none of them has threads.
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let work = || -> Result<(), String> {
        loop {
            let next = targets.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some(target) = next else { return Ok(()) };
            run_one(&fuzz, &target, &programs.join(&target), &wish)?;
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        let ends = workers
            .into_iter()
            .map(|worker| worker.join().unwrap_or(Err("a fuzzer's thread panicked".to_owned())));
        ends.collect::<Result<Vec<()>, String>>().map(|_| ())
    })
}

/// Runs a target; prints what it came to, and everything it said only when it found something.
fn run_one(fuzz: &Path, target: &str, program: &Path, wish: &Wish) -> Result<(), String> {
    let (corpus, artifacts) = (fuzz.join("corpus").join(target), fuzz.join("artifacts").join(target));
    for folder in [&corpus, &artifacts] {
        std::fs::create_dir_all(folder).map_err(|problem| format!("{}: {problem}", folder.display()))?;
    }
    let mut fuzzer = Command::new(program);
    fuzzer.arg(&corpus).arg(format!("-max_total_time={}", wish.seconds));
    fuzzer.arg(format!("-seed={}", wish.seed));
    fuzzer.arg(format!("-artifact_prefix={}/", artifacts.display()));
    // No input of 64 KiB may cost more memory or time than this.
    fuzzer.args([
        "-max_len=65536",
        "-rss_limit_mb=1024",
        "-malloc_limit_mb=64",
        "-timeout=10",
        "-print_final_stats=1",
    ]);
    let output = fuzzer.output().map_err(|problem| format!("cannot run {fuzzer:?}: {problem}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("{said}\n{fuzzer:?} ended with {}", output.status));
    }
    let stats: Vec<&str> = said.lines().filter(|line| line.starts_with("stat::")).collect();
    println!("\n-- {target} for {} seconds\n{}", wish.seconds, stats.join("\n"));
    Ok(())
}

/// Every target is a file.
fn targets(fuzz: &Path) -> Result<Vec<String>, String> {
    let folder = fuzz.join("fuzz_targets");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(|problem| format!("{}: {problem}", folder.display()))? {
        let path = entry.map_err(|problem| problem.to_string())?.path();
        names.extend(path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

/// The machine we are on, as the compiler calls it.
fn host() -> Result<String, String> {
    let output =
        Command::new("rustc").arg("-vV").output().map_err(|problem| format!("rustc -vV: {problem}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| "rustc -vV does not say its host".to_owned())
}

fn succeed(command: &mut Command) -> Result<(), String> {
    let status = command.status().map_err(|problem| format!("cannot run {command:?}: {problem}"))?;
    if status.success() { Ok(()) } else { Err(format!("{command:?} ended with {status}")) }
}
