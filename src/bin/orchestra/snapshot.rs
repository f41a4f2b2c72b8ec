//! `orchestra snapshot`: a cluster's objects as one file, and back.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use clap::{Args, Subcommand};
use futures::{AsyncBufRead, AsyncBufReadExt, Stream, stream};
use http::Request;
use jiff::Timestamp;
use orchestra::store::encryption::{KeyFile, KeyId, snapshot_key};
use orchestra::store::snapshot::Snapshot as StoreSnapshot;
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
        /// The file to make. Secrets are in it as they are stored: keep a copy of `encryption.keys` with it.
        file: PathBuf,
    },
    /// Make the data of a cluster that is not running. Start it with `orchestra up --data-dir DIR`.
    Restore {
        /// The file.
        file: PathBuf,
        /// The cluster's data directory, which must hold no objects yet.
        #[arg(long, value_name = "DIR")]
        data_dir: PathBuf,
        /// The encryption keys that were kept with the file; they are copied into the data directory.
        #[arg(long, value_name = "FILE")]
        encryption_keys: Option<PathBuf>,
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
        Verb::Restore { file, data_dir, encryption_keys } => {
            restore(file, data_dir, encryption_keys.as_deref()).await
        }
        Verb::Inspect { file } => inspect(file).await,
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

async fn restore(file: &Path, data_dir: &Path, keys: Option<&Path>) -> Result<(), Failure> {
    let needed = key_of(file).await?;
    let keys = keys.map(|path| keys_for(path, needed)).transpose()?;
    let place = data_dir.join("encryption.keys");
    if keys.is_some() && place.exists() {
        return Err(explain(&Error::HoldsData(place.display().to_string())));
    }
    let restored = snapshot::restore_into(file, up::store_dir(data_dir)).await;
    let revision = restored.map_err(|problem| explain(&problem))?;
    println!(
        "restored {} into {}, which goes on from revision {revision}",
        file.display(),
        data_dir.display()
    );
    match (keys, needed) {
        (Some(keys), _) => drop(keys.copy_to(&place).map_err(|problem| explain(&problem))?),
        (None, Some(key)) if !place.exists() => println!(
            "it is sealed with encryption key {key}: put the file that was kept with it at {} before it is started",
            place.display()
        ),
        (None, _) => {}
    }
    Ok(())
}

/// The encryption key that a snapshot needs.
async fn key_of(file: &Path) -> Result<Option<KeyId>, Failure> {
    let opened = StoreSnapshot::open(file).map_err(|problem| explain(&problem))?;
    snapshot_key(opened).await.map_err(|problem| explain(&problem))
}

/// The keys in a file, of which one is needed.
fn keys_for(path: &Path, needed: Option<KeyId>) -> Result<KeyFile, Failure> {
    let missing = |what: &str| Failure::of(format!("{}: {what}", path.display()));
    let file = KeyFile::load(path).map_err(|problem| explain(&problem))?;
    let file = file.ok_or_else(|| missing("No such file or directory"))?;
    match needed {
        Some(key) if file.keyring().get(key).is_none() => {
            Err(missing(&format!("lacks key {key}, with which the snapshot is sealed")))
        }
        _ => Ok(file),
    }
}

async fn inspect(file: &Path) -> Result<(), Failure> {
    let info = snapshot::inspect(file).map_err(|problem| explain(&problem))?;
    let SnapshotInfo { revision, keys, leases, bytes, digest, taken, .. } = info;
    let taken = Timestamp::try_from(taken).map_err(|problem| Failure::of(problem.to_string()))?;
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    println!("revision  {revision}\nkeys      {keys}\nleases    {leases}\nbytes     {bytes}");
    println!("taken     {}\nidentity  sha256:{digest}", taken.strftime("%Y-%m-%dT%H:%M:%SZ"));
    if let Some(key) = key_of(file).await? {
        println!("sealed    with encryption key {key}");
    }
    Ok(())
}

fn explain(problem: &Error) -> Failure {
    match problem {
        // What failed is a file that the user named, not a store.
        Error::Backend { source, .. } => Failure::of(client::chain(&**source)),
        problem => Failure::of(client::chain(problem)),
    }
}
