//! `orchestra snapshot`: a cluster's objects as one file, and back.

use std::fmt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use clap::{Args, Subcommand};
use futures::{AsyncBufRead, AsyncBufReadExt, Stream, stream};
use http::Request;
use jiff::Timestamp;
use orchestra::store::encryption::{KeyFile, KeyId, snapshot_key};
use orchestra::store::snapshot::Snapshot as StoreSnapshot;
use orchestra::store::{Error, EtcdStore, Result as StoreResult, Revision, SnapshotInfo, snapshot};

use crate::client::{self, Target, request};
use crate::failure::Failure;
use crate::store::{Access, StoreKind, store_dir};

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
    /// Make the data of a cluster that is not running. Start it with `orchestra up` and the same --data-dir or --store.
    Restore {
        /// The file.
        file: PathBuf,
        /// The cluster's data directory, which must hold no objects yet.
        #[arg(long, value_name = "DIR", required_unless_present = "store")]
        data_dir: Option<PathBuf>,
        /// An etcd instead, as etcd://HOST:PORT,HOST:PORT/PREFIX, which must hold nothing there yet.
        #[arg(long, value_name = "URL")]
        store: Option<StoreKind>,
        #[command(flatten)]
        access: Box<Access>,
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
        Verb::Restore { file, data_dir, store, access, encryption_keys } => {
            let destination = Destination::of(data_dir.as_deref(), store.as_ref(), access)?;
            restore(file, destination, encryption_keys.as_deref()).await
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

/// Where a snapshot is restored.
#[derive(Clone, Copy, Debug)]
enum Destination<'a> {
    Directory(&'a Path),
    /// The data directory is where encryption keys go.
    Etcd {
        url: &'a str,
        access: &'a Access,
        data_dir: Option<&'a Path>,
    },
}

impl<'a> Destination<'a> {
    fn of(
        data_dir: Option<&'a Path>,
        store: Option<&'a StoreKind>,
        access: &'a Access,
    ) -> Result<Self, Failure> {
        match (store, data_dir) {
            (Some(StoreKind::Etcd(url)), _) => Ok(Self::Etcd { url, access, data_dir }),
            (Some(StoreKind::Memory), _) => Err(Failure::usage("--store memory: it would be gone at once")),
            (None | Some(StoreKind::Durable), Some(data_dir)) => Ok(Self::Directory(data_dir)),
            (None | Some(StoreKind::Durable), None) => {
                Err(Failure::usage("--data-dir says where to restore"))
            }
        }
    }

    fn data_dir(self) -> Option<&'a Path> {
        match self {
            Self::Directory(data_dir) => Some(data_dir),
            Self::Etcd { data_dir, .. } => data_dir,
        }
    }

    async fn fill(self, file: &Path) -> Result<Revision, Failure> {
        match self {
            Self::Directory(data_dir) => {
                let restored = snapshot::restore_into(file, store_dir(data_dir)).await;
                restored.map_err(|problem| explain(&problem))
            }
            Self::Etcd { url, access, .. } => {
                let options = access.options(url)?;
                // All of it is looked at before anything is made.
                snapshot::inspect(file).map_err(|problem| explain(&problem))?;
                let opened = StoreSnapshot::open(file).map_err(|problem| explain(&problem))?;
                let restored = EtcdStore::restore(options, opened).await;
                restored.map_err(|problem| Failure::of(format!("--store {url}: {}", client::chain(&problem))))
            }
        }
    }
}

impl fmt::Display for Destination<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(data_dir) => data_dir.display().fmt(f),
            Self::Etcd { url, .. } => f.write_str(url),
        }
    }
}

async fn restore(file: &Path, destination: Destination<'_>, keys: Option<&Path>) -> Result<(), Failure> {
    let needed = key_of(file).await?;
    let keys = keys.map(|path| keys_for(path, needed)).transpose()?;
    let place = destination.data_dir().map(|data_dir| data_dir.join("encryption.keys"));
    if keys.is_some() && place.is_none() {
        return Err(Failure::usage("--encryption-keys: --data-dir says where they are put"));
    }
    if let (Some(_), Some(place)) = (&keys, place.as_ref().filter(|place| place.exists())) {
        return Err(explain(&Error::HoldsData(place.display().to_string())));
    }
    let revision = destination.fill(file).await?;
    println!("restored {} into {destination}, which goes on from revision {revision}", file.display());
    match (keys, needed, place) {
        (Some(keys), _, Some(place)) => drop(keys.copy_to(&place).map_err(|problem| explain(&problem))?),
        (None, Some(key), Some(place)) if !place.exists() => println!(
            "it is sealed with encryption key {key}: put the file that was kept with it at {} before it is started",
            place.display()
        ),
        (None, Some(key), None) => println!(
            "it is sealed with encryption key {key}: put the file that was kept with it into the data directory, as encryption.keys, before it is started"
        ),
        _ => {}
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
