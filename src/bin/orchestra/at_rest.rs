//! What `up` and `server` are told about encryption at rest, and the store that comes of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use orchestra::apiserver::encryption::{EncryptionConfig, storage_prefix};
use orchestra::store::Store;
use orchestra::store::encryption::{Encryption, Sharing};

use crate::client;
use crate::failure::Failure;

#[derive(Args, Debug)]
pub(crate) struct AtRest {
    /// Resources whose objects are encrypted in the store, such as `secrets,configmaps` or `*.*`; `none` for none. The
    /// keys are kept in `encryption.keys` in the data directory. A store in memory is not encrypted.
    #[arg(long, value_name = "RESOURCES", value_delimiter = ',', default_value = "secrets")]
    encrypt: Vec<String>,
    /// An EncryptionConfiguration with keys and resources, instead of --encrypt and a file of keys.
    #[arg(long, value_name = "FILE", conflicts_with = "encrypt")]
    encryption_provider_config: Option<PathBuf>,
}

impl AtRest {
    /// The prefixes of the resources.
    fn prefixes(&self) -> Result<Vec<String>, Failure> {
        if self.encrypt == ["none"] {
            return Ok(Vec::new());
        }
        let prefixes = self.encrypt.iter().map(|resource| storage_prefix(resource));
        prefixes.collect::<Result<_, _>>().map_err(|bad| Failure::usage(format!("--encrypt: {bad}")))
    }

    /// Complains of what makes no sense before anything is begun.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        self.prefixes().map(drop)
    }

    /// Encrypts in front of `store`, unless nothing is to be encrypted.
    pub(crate) async fn open(
        &self,
        store: Arc<dyn Store>,
        data_dir: &Path,
        sharing: Sharing,
    ) -> Result<Option<Encryption>, Failure> {
        let opened = match &self.encryption_provider_config {
            None => {
                let prefixes = self.prefixes()?;
                let prefixes: Vec<&str> = prefixes.iter().map(String::as_str).collect();
                Encryption::open(store, data_dir.join("encryption.keys"), &prefixes, sharing).await
            }
            Some(path) => {
                let failed = |problem: String| Failure::of(format!("{}: {problem}", path.display()));
                let text = std::fs::read_to_string(path).map_err(|problem| failed(problem.to_string()))?;
                let config = EncryptionConfig::parse(&text).map_err(failed)?;
                let Some(keyring) = config.keyring else { return Ok(None) };
                Encryption::with_keys(store, config.rules, keyring, path).await.map(Some)
            }
        };
        opened.map_err(|problem| Failure::of(client::chain(&problem)))
    }
}
