//! Which store keeps the objects, and how it is reached.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use clap::Args;
use orchestra::ClusterBuilder;
use orchestra::store::encryption::Sharing;
use orchestra::store::{DurableStore, EtcdIdentity, EtcdOptions, EtcdStore, MemoryStore, Store};
use prometheus_client::registry::Registry;

use crate::at_rest::AtRest;
use crate::client;
use crate::failure::Failure;

/// What keeps the objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StoreKind {
    /// On disk, under the data directory.
    Durable,
    /// In memory, gone with the process.
    Memory,
    /// etcd, by its URL.
    Etcd(String),
}

impl FromStr for StoreKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "durable" => Ok(Self::Durable),
            "memory" => Ok(Self::Memory),
            url if url.contains("://") => match EtcdOptions::parse(url) {
                Ok(_) => Ok(Self::Etcd(url.to_owned())),
                Err(problem) => Err(problem.to_string()),
            },
            _ => Err("is neither durable nor memory nor a URL such as etcd://127.0.0.1:2379".to_owned()),
        }
    }
}

/// How etcd is reached, beside its URL.
#[derive(Args, Debug)]
pub(crate) struct Access {
    /// The authorities, in PEM, one of which signed etcd's certificate; needed with etcds://.
    #[arg(long, value_name = "FILE")]
    etcd_cafile: Option<PathBuf>,
    /// The certificate, in PEM, that etcd is shown.
    #[arg(long, value_name = "FILE", requires = "etcd_keyfile")]
    etcd_certfile: Option<PathBuf>,
    /// The key of --etcd-certfile.
    #[arg(long, value_name = "FILE", requires = "etcd_certfile")]
    etcd_keyfile: Option<PathBuf>,
    /// A user of etcd.
    #[arg(long, value_name = "NAME", requires = "etcd_password_file")]
    etcd_user: Option<String>,
    /// A file with the password of --etcd-user.
    #[arg(long, value_name = "FILE", requires = "etcd_user")]
    etcd_password_file: Option<PathBuf>,
    /// What etcd was started with as --max-request-bytes.
    #[arg(long, value_name = "BYTES")]
    etcd_max_request_bytes: Option<usize>,
}

impl Access {
    /// What leads to the etcd at `url`.
    pub(crate) fn options(&self, url: &str) -> Result<EtcdOptions, Failure> {
        let parsed = EtcdOptions::parse(url);
        let mut options = parsed.map_err(|problem| Failure::usage(format!("--store {url}: {problem}")))?;
        if let Some(path) = &self.etcd_cafile {
            options = options.authority(read(path)?);
        } else if options.wants_tls() {
            return Err(Failure::usage(format!("--store {url}: TLS needs --etcd-cafile")));
        }
        if let (Some(certificate), Some(key)) = (&self.etcd_certfile, &self.etcd_keyfile) {
            options = options.identity(EtcdIdentity::from_pem(read(certificate)?, read(key)?));
        }
        if let (Some(user), Some(path)) = (&self.etcd_user, &self.etcd_password_file) {
            let password = String::from_utf8(read(path)?)
                .map_err(|_| Failure::of(format!("{}: is not text", path.display())))?;
            options = options.login(user, password.trim_end_matches(['\r', '\n']));
        }
        if let Some(bytes) = self.etcd_max_request_bytes {
            options = options.max_request_bytes(bytes);
        }
        Ok(options)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|problem| Failure::of(format!("{}: {problem}", path.display())))
}

/// Where in a data directory the objects are.
pub(crate) fn store_dir(path: &Path) -> PathBuf {
    path.join("store")
}

/// Gives the cluster its store.
pub(crate) async fn give(
    builder: ClusterBuilder,
    kind: &StoreKind,
    access: &Access,
    at_rest: &AtRest,
    data_dir: &Path,
) -> Result<ClusterBuilder, Failure> {
    let mut metrics = Registry::default();
    let (store, sharing): (Arc<dyn Store>, _) = match kind {
        StoreKind::Memory => {
            let store = MemoryStore::new();
            store.metrics().register(&mut metrics);
            return Ok(builder.store(store).metrics(metrics));
        }
        StoreKind::Durable => {
            let opened = DurableStore::open(store_dir(data_dir)).map_err(|problem| {
                Failure::of(format!("data directory {}: {}", data_dir.display(), client::chain(&problem)))
            })?;
            opened.metrics().register(&mut metrics);
            (Arc::new(opened), Sharing::Alone)
        }
        StoreKind::Etcd(url) => {
            let connected = EtcdStore::connect(access.options(url)?).await;
            let connected = connected
                .map_err(|problem| Failure::of(format!("--store {url}: {}", client::chain(&problem))))?;
            connected.metrics().register(&mut metrics);
            (Arc::new(connected), Sharing::Shared)
        }
    };
    let builder = builder.metrics(metrics);
    let builder = match sharing {
        Sharing::Alone => builder,
        Sharing::Shared => builder.store_is_shared(),
    };
    let encryption = at_rest.open(Arc::clone(&store), data_dir, sharing).await?;
    Ok(match encryption {
        Some(encryption) => builder.encryption(encryption),
        None => builder.store(store),
    })
}
