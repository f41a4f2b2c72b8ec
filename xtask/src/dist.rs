//! `cargo xtask dist`: the program built for the way it is used.
//!
//! It is built twice. The first program counts what it does; it is then [trained](training) for a minute, and by those counts the
//! compiler decides in the second what to expand, which way branches mostly go, and what lies beside what.

mod order;
mod training;

use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds, trains and builds again; says where the program is.
pub(crate) fn run(root: &Path) -> Result<(), String> {
    let compiler = Compiler::of(root)?;
    let folder = compiler.target.join("dist");
    let (counts, merged, order) =
        (folder.join("counts"), folder.join("counts.profdata"), folder.join("order.txt"));
    if counts.exists() {
        std::fs::remove_dir_all(&counts).map_err(|problem| format!("{}: {problem}", counts.display()))?;
    }

    let counting = compiler.build(root, &folder, &format!("-Cprofile-generate={}", counts.display()))?;
    training::run(&counting, &folder.join("training"), &counts)?;
    println!("\n-- putting the counts together");
    let mut merge = Command::new(&compiler.profdata);
    succeed(merge.arg("merge").arg("--output").arg(&merged).arg(&counts))?;
    order::write(&compiler.profdata, &counts, &order)?;
    let mut flags = format!("-Cprofile-use={}", merged.display());
    // Where the toolchain brings its own linker, which can be told.
    if compiler.host == "x86_64-unknown-linux-gnu" {
        let told =
            format!("-Clink-arg=-Wl,--symbol-ordering-file={},--no-warn-symbol-ordering", order.display());
        flags = [flags, told, format!("-Cllvm-args={}", order::NAMES)].join("\x1f");
    }
    let program = compiler.build(root, &folder, &flags)?;
    println!("\n{}", program.display());
    Ok(())
}

/// What builds, and for what.
struct Compiler {
    host: String,
    profdata: PathBuf,
    /// Where cargo puts what it makes.
    target: PathBuf,
}

impl Compiler {
    fn of(root: &Path) -> Result<Self, String> {
        let version = told(Command::new("rustc").arg("-vV").current_dir(root))?;
        let host = version.lines().find_map(|line| line.strip_prefix("host: "));
        let host = host.ok_or("rustc -vV names no host")?.to_owned();
        let profdata = match std::env::var_os("LLVM_PROFDATA") {
            Some(named) => PathBuf::from(named),
            None => {
                let sysroot = told(Command::new("rustc").args(["--print", "sysroot"]).current_dir(root))?;
                Path::new(sysroot.trim()).join("lib/rustlib").join(&host).join("bin/llvm-profdata")
            }
        };
        if !profdata.exists() {
            return Err(format!(
                "{} is missing: rustup component add llvm-tools, or name one that reads this compiler's counts in LLVM_PROFDATA",
                profdata.display()
            ));
        }
        let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
        Ok(Self { host, profdata, target: root.join(target) })
    }

    /// The program, with these flags for the compiler, apart by what `CARGO_ENCODED_RUSTFLAGS` parts them by.
    fn build(&self, root: &Path, folder: &Path, flags: &str) -> Result<PathBuf, String> {
        println!("\n-- cargo build, {}", flags.replace('\x1f', " "));
        // With a target named, flags are for it alone, and not for what runs while building. Encoded flags may hold blanks.
        succeed(
            Command::new("cargo")
                .args([
                    "build",
                    "--release",
                    "--locked",
                    "--package",
                    "orchestra",
                    "--bin",
                    "orchestra",
                    "--target",
                ])
                .arg(&self.host)
                .env("CARGO_ENCODED_RUSTFLAGS", flags)
                .env("CARGO_TARGET_DIR", folder)
                .current_dir(root),
        )?;
        Ok(folder.join(&self.host).join("release/orchestra"))
    }
}

/// What a command says.
fn told(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|problem| format!("cannot run {command:?}: {problem}"))?;
    if !output.status.success() {
        return Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)));
    }
    String::from_utf8(output.stdout).map_err(|problem| format!("{command:?}: {problem}"))
}

/// Runs a command that has to succeed.
fn succeed(command: &mut Command) -> Result<(), String> {
    let status = command.status().map_err(|problem| format!("cannot run {command:?}: {problem}"))?;
    if status.success() { Ok(()) } else { Err(format!("{command:?} ended with {status}")) }
}
