//! The guestbook: a small web application in four parts that ships inside the binary, so that a first cluster has
//! something to run without downloading anything. The `process` runtime offers it as the image `orchestra/guestbook`.
//!
//! - `frontend` shows the page and takes new entries; it keeps nothing itself.
//! - `store` keeps the entries in a file on its volume.
//! - `quotes` hands out a line of the file it was given as configuration.
//! - `monitor` looks at the front end now and then and says in its log what it saw.
//!
//! Each part is told by its environment what it needs, as any containerised program is: `POD_IP` and `PORT` are where it
//! listens, and the other parts are found through the variables Kubernetes sets for services.

mod frontend;
mod http;
mod monitor;
mod quotes;
mod store;

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the part that `arguments` name.
pub(crate) fn main(arguments: &[OsString]) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = match (runtime, arguments.first().and_then(|part| part.to_str())) {
        (Err(problem), _) => Err(problem.into()),
        (Ok(runtime), Some("frontend")) => runtime.block_on(frontend::run()),
        (Ok(runtime), Some("store")) => runtime.block_on(store::run()),
        (Ok(runtime), Some("quotes")) => runtime.block_on(quotes::run()),
        (Ok(runtime), Some("monitor")) => runtime.block_on(monitor::run()),
        (Ok(_), other) => {
            Err(format!("which part? frontend, store, quotes or monitor, not {}", other.unwrap_or("none"))
                .into())
        }
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("guestbook: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// What can go wrong in a part; it ends the part with a line in its log.
pub(crate) type Problem = Box<dyn std::error::Error + Send + Sync>;

/// A variable of the environment that must be there.
fn variable(name: &str) -> Result<String, Problem> {
    std::env::var(name).map_err(|_| format!("the environment variable {name} is not set").into())
}

/// Where the service `name` answers, as `HOST:PORT`.
fn service(name: &str) -> Result<String, Problem> {
    Ok(format!(
        "{}:{}",
        variable(&format!("{name}_SERVICE_HOST"))?,
        variable(&format!("{name}_SERVICE_PORT"))?
    ))
}
