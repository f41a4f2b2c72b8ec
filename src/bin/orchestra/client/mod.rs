//! The everyday verbs of a client, so that a person without kubectl sees what runs.

pub(crate) mod apply;
pub(crate) mod delete;
pub(crate) mod get;
pub(crate) mod logs;
pub(crate) mod request;
mod resource;
mod three_way;

use std::path::{Path, PathBuf};

use clap::Args;
use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};

use crate::failure::Failure;

/// Which cluster and namespace a verb speaks to.
#[derive(Args, Clone, Debug)]
pub(crate) struct Target {
    /// The kubeconfig to use; otherwise $KUBECONFIG, then the one `orchestra up` wrote, then ~/.kube/config.
    #[arg(long, global = true, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The namespace; otherwise the kubeconfig's, otherwise `default`.
    #[arg(short, long, global = true, value_name = "NAME")]
    namespace: Option<String>,
}

/// A connection and the namespace that goes with it.
pub(crate) struct Connection {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    /// Whether the user named the namespace on the command line.
    pub(crate) namespace_given: bool,
}

impl Target {
    /// Reads the kubeconfig; speaks to nobody yet.
    pub(crate) async fn connect(&self) -> Result<Connection, Failure> {
        let path = self.kubeconfig_path()?;
        let config = Kubeconfig::read_from(&path)
            .map_err(|problem| Failure::of(format!("{}: {}", path.display(), chain(&problem))))?;
        let config = kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default())
            .await
            .map_err(|problem| Failure::of(format!("{}: {}", path.display(), chain(&problem))))?;
        let namespace = self.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config)
            .map_err(|problem| Failure::of(format!("{}: {}", path.display(), chain(&problem))))?;
        Ok(Connection { client, namespace, namespace_given: self.namespace.is_some() })
    }

    fn kubeconfig_path(&self) -> Result<PathBuf, Failure> {
        if let Some(path) = &self.kubeconfig {
            return Ok(path.clone());
        }
        if let Some(path) = std::env::var_os("KUBECONFIG").filter(|path| !path.is_empty()) {
            return Ok(path.into());
        }
        let own = crate::data_dir::default().join("admin.kubeconfig");
        let home = std::env::var_os("HOME").map(|home| Path::new(&home).join(".kube/config"));
        [Some(own), home].into_iter().flatten().find(|path| path.is_file()).ok_or_else(|| {
            Failure::of("no cluster to speak to: name one with --kubeconfig or $KUBECONFIG, or start one with `orchestra up`")
        })
    }
}

/// An error with its causes, on one line.
pub(crate) fn chain(problem: &dyn std::error::Error) -> String {
    let mut text = problem.to_string();
    let mut source = problem.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
