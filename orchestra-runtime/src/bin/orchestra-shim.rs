//! The shim as a program of its own, for embedders whose binary has no hidden verb for it.

use std::process::ExitCode;

fn main() -> ExitCode {
    #[cfg(target_os = "linux")]
    return orchestra_runtime::backend::process::shim::main(std::env::args_os().skip(1));
    #[cfg(not(target_os = "linux"))]
    ExitCode::from(2)
}
