//! `orchestra snapshot`: a cluster's objects as one file, and back.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use clap::{Args, Subcommand};
use futures::{AsyncBufRead, AsyncBufReadExt, Stream, stream};
use http::Request;
use jiff::Timestamp;
use orchestra::store::{Error, Result as StoreResult, SnapshotInfo, snapshot};

use crate::client::{self, Target, request};
use crate::failure::Failure;
use crate::up;

#[derive(Args, Debug)]
pub(crate) struct Snapshot {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Save all objects of a running cluster, as they are at one moment.
    Save {
        #[command(flatten)]
        target: Target,
        /// The file to make; it holds every Secret.
        file: PathBuf,
    },
    /// Make the data of a cluster that is not running. Start it with `orchestra up --data-dir DIR`.
    Restore {
        /// The file.
        file: PathBuf,
        /// The cluster's data directory, which must hold no objects yet.
        #[arg(long, value_name = "DIR")]
        data_dir: PathBuf,
    },
    /// Check a file and tell what it is.
    Inspect {
        /// The file.
        file: PathBuf,
    },
}

pub(crate) async fn run(arguments: &Snapshot) -> Result<(), Failure> {
    match &arguments.verb {
        Verb::Save { target, file } => save(target, file).await,
        Verb::Restore { file, data_dir } => restore(file, data_dir).await,
        Verb::Inspect { file } => inspect(file),
    }
}

async fn save(target: &Target, file: &Path) -> Result<(), Failure> {
    if file.exists() {
        return Err(explain(&Error::HoldsData(file.display().to_string())));
    }
    let asked = Request::get("/orchestra/v1/snapshot").body(Vec::new());
    let asked = asked.map_err(|problem| Failure::of(problem.to_string()))?;
    let connection = target.connect().await?;
    let answer = connection.client.request_stream(asked).await;
    let answer = answer.map_err(|problem| request::explain(&problem))?;
    let info = snapshot::receive(pieces(answer), file).await.map_err(|problem| explain(&problem))?;
    let SnapshotInfo { revision, keys, bytes, .. } = info;
    println!("saved {keys} keys at revision {revision} in {}, {bytes} bytes", file.display());
    Ok(())
}

/// What an answer brings, as it comes.
fn pieces(answer: impl AsyncBufRead) -> impl Stream<Item = StoreResult<Bytes>> {
    stream::try_unfold(Box::pin(answer), async |mut answer| {
        let lost = |problem| Error::Unavailable(format!("the answer broke off: {problem}"));
        let bytes = Bytes::copy_from_slice(answer.fill_buf().await.map_err(lost)?);
        answer.consume_unpin(bytes.len());
        Ok((!bytes.is_empty()).then_some((bytes, answer)))
    })
}

async fn restore(file: &Path, data_dir: &Path) -> Result<(), Failure> {
    let restored = snapshot::restore_into(file, up::store_dir(data_dir)).await;
    let revision = restored.map_err(|problem| explain(&problem))?;
    println!(
        "restored {} into {}, which goes on from revision {revision}",
        file.display(),
        data_dir.display()
    );
    Ok(())
}

fn inspect(file: &Path) -> Result<(), Failure> {
    let info = snapshot::inspect(file).map_err(|problem| explain(&problem))?;
    let SnapshotInfo { revision, keys, bytes, digest, taken, .. } = info;
    let taken = Timestamp::try_from(taken).map_err(|problem| Failure::of(problem.to_string()))?;
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    println!("revision  {revision}\nkeys      {keys}\nbytes     {bytes}");
    println!("taken     {}\nidentity  sha256:{digest}", taken.strftime("%Y-%m-%dT%H:%M:%SZ"));
    Ok(())
}

fn explain(problem: &Error) -> Failure {
    match problem {
        // What failed is a file that the user named, not a store.
        Error::Backend { source, .. } => Failure::of(client::chain(&**source)),
        problem => Failure::of(client::chain(problem)),
    }
}
