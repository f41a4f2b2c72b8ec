//! What the tests need from the machine, and how to get it.

use std::path::Path;
use std::process::{Command, Stdio};

/// A program that some tests run.
pub(crate) struct Need {
    /// The program looked for on the PATH.
    pub(crate) program: &'static str,
    /// The Debian package that has it; `None` when Debian has none that fits.
    package: Option<&'static str>,
    /// Which tests need it and what for.
    pub(crate) why: &'static str,
}

/// Everything the tests run that is not part of the workspace.
pub(crate) const NEEDS: &[Need] = &[
    Need { program: "c++", package: Some("g++"), why: "the fuzz targets build libFuzzer" },
    Need { program: "cc", package: Some("gcc"), why: "the TLS library builds C code" },
    Need {
        program: "setpriv",
        package: Some("util-linux"),
        why: "tests of the ordinary user's path give up root with it",
    },
    Need {
        program: "curl",
        package: Some("curl"),
        why: "bodies that kubectl would not send are sent with it",
    },
    Need { program: "python3", package: Some("python3"), why: "pods of the network tests run it" },
    Need {
        program: "etcd",
        package: Some("etcd-server"),
        why: "the store on etcd, and clusters on it, are tested on a real one",
    },
    Need {
        program: "kubectl",
        package: None,
        why: "the end-to-end tests drive the cluster with the real client (1.31 or newer; Debian's is too old)",
    },
];

/// Installs what is missing and can be installed; returns what is still missing afterwards.
pub(crate) fn provide() -> Vec<&'static Need> {
    let missing: Vec<&Need> = NEEDS.iter().filter(|need| !on_path(need.program)).collect();
    let packages: Vec<&str> = missing.iter().filter_map(|need| need.package).collect();
    if !packages.is_empty() {
        if is_root() && on_path("apt-get") {
            for need in missing.iter().filter(|need| need.package.is_some()) {
                println!(
                    "installing {} for {}: {}",
                    need.package.unwrap_or_default(),
                    need.program,
                    need.why
                );
            }
            install(&packages);
        } else {
            println!("not root on Debian or Ubuntu, so these are not installed: {}", packages.join(" "));
        }
    }
    missing.into_iter().filter(|need| !on_path(need.program)).collect()
}

fn install(packages: &[&str]) {
    for arguments in
        [vec!["update", "-q"], [&["install", "-qy", "--no-install-recommends"], packages].concat()]
    {
        match Command::new("apt-get").args(&arguments).env("DEBIAN_FRONTEND", "noninteractive").status() {
            Ok(status) if status.success() => {}
            Ok(status) => println!("apt-get {} ended with {status}", arguments.join(" ")),
            Err(problem) => println!("apt-get {}: {problem}", arguments.join(" ")),
        }
    }
}

/// Whether cargo has the subcommand.
pub(crate) fn has_cargo(subcommand: &str) -> bool {
    Command::new("cargo")
        .args([subcommand, "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn on_path(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).is_file()))
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(Path::new("/proc/self")).is_ok_and(|process| process.uid() == 0)
}
