//! `orchestra encryption`: the keys of a running cluster, or those in the data directory of one that does not run.

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Subcommand};
use http::Method;
use orchestra::apiserver::encryption::{Command, perform};
use orchestra::store::encryption::Encryption as StoreEncryption;
use orchestra::store::{DurableStore, Error, EtcdStore, Store};
use serde_json::{Value, json};

use crate::client::{self, Target, request};
use crate::failure::Failure;
use crate::store::{Access, StoreKind, store_dir};

#[derive(Args, Debug)]
pub(crate) struct Encryption {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    stopped: Stopped,
}

/// Where to work when no server runs.
#[derive(Args, Debug)]
struct Stopped {
    /// Work on the data of a server that does not run, in this directory, instead of asking one that runs.
    #[arg(long, global = true, value_name = "DIR", conflicts_with = "kubeconfig")]
    data_dir: Option<PathBuf>,
    /// The etcd that holds its objects, as etcd://HOST:PORT,HOST:PORT/PREFIX; its keys are in the data directory.
    #[arg(long, global = true, value_name = "URL", requires = "data_dir")]
    store: Option<StoreKind>,
    #[command(flatten)]
    access: Box<Access>,
}

#[derive(Subcommand, Clone, Copy, Debug)]
enum Verb {
    /// Show keys, what is encrypted, and how many values each key seals.
    Status,
    /// Make the key of the next rotation, which nobody uses yet, so that the file can be copied to all servers of an etcd first.
    Prepare,
    /// Bring everything under another key: the one that was prepared, or a new one. Older keys stay, for snapshots.
    Rotate,
    /// Bring everything under the newest key: what a rotation that was broken off has left, and what is still plain.
    Rewrite,
    /// Drop older keys that no object needs any more. Snapshots that were saved with them cannot be read without a copy.
    Prune,
}

impl Verb {
    fn command(self) -> Command {
        match self {
            Self::Status => Command::Status,
            Self::Prepare => Command::Prepare,
            Self::Rotate => Command::Rotate,
            Self::Rewrite => Command::Rewrite,
            Self::Prune => Command::Prune,
        }
    }
}

pub(crate) async fn run(arguments: &Encryption) -> Result<(), Failure> {
    let done = match &arguments.stopped.data_dir {
        Some(data_dir) => arguments.stopped.perform(data_dir, arguments.verb.command()).await?,
        None => ask(&arguments.target, arguments.verb).await?,
    };
    match arguments.verb {
        Verb::Status => {
            print!("{}", told(&done));
            Ok(())
        }
        Verb::Prepare => {
            println!("next key {}: copy the file to all servers, then rotate", text(&done["next"]));
            Ok(())
        }
        Verb::Rotate => {
            println!("new key {}", text(&done["key"]));
            rewritten(&done)
        }
        Verb::Rewrite => rewritten(&done),
        Verb::Prune => {
            println!("dropped {}", keys(&done["dropped"]));
            if done["kept"].as_array().is_some_and(|kept| !kept.is_empty()) {
                println!(
                    "kept {}, which still seal values: run `orchestra encryption rewrite`",
                    keys(&done["kept"])
                );
            }
            Ok(())
        }
    }
}

/// Has a running server do it.
async fn ask(target: &Target, verb: Verb) -> Result<Value, Failure> {
    let client = target.connect().await?.client;
    let what = match verb {
        Verb::Status => {
            return request::get(&client, "/orchestra/v1/encryption", "application/json").await;
        }
        Verb::Prepare => "prepare",
        Verb::Rotate => "rotate",
        Verb::Rewrite => "rewrite",
        Verb::Prune => "prune",
    };
    let path = format!("/orchestra/v1/encryption/{what}");
    request::write(&client, Method::POST, &path, "application/json", &json!({})).await
}

impl Stopped {
    /// Does it here.
    async fn perform(&self, data_dir: &std::path::Path, command: Command) -> Result<Value, Failure> {
        let failed = |problem: Error| {
            let hint = match &problem {
                Error::Locked(_) => "; without --data-dir the server that uses it is asked",
                _ => "",
            };
            Failure::of(format!("{}: {}{hint}", data_dir.display(), client::chain(&problem)))
        };
        let store: Arc<dyn Store> = match &self.store {
            Some(StoreKind::Etcd(url)) => {
                Arc::new(EtcdStore::connect(self.access.options(url)?).await.map_err(failed)?)
            }
            Some(StoreKind::Memory) => {
                return Err(Failure::usage("--store memory: nothing is left of it when its server stops"));
            }
            None | Some(StoreKind::Durable) => {
                let store = store_dir(data_dir);
                if !store.is_dir() {
                    return Err(Failure::of(format!("{}: there is no store in it", data_dir.display())));
                }
                Arc::new(DurableStore::open(store).map_err(failed)?)
            }
        };
        let opened =
            StoreEncryption::reopen(store, data_dir.join("encryption.keys")).await.map_err(failed)?;
        let encryption = opened.ok_or_else(|| {
            Failure::of(format!(
                "{}: there is no encryption.keys in it, and nothing is encrypted",
                data_dir.display()
            ))
        })?;
        perform(&encryption, command).await.map_err(failed)
    }
}

fn rewritten(done: &Value) -> Result<(), Failure> {
    println!("rewrote {} of {} values", done["rewritten"], done["seen"]);
    if done["unreadable"] == json!(0) {
        return Ok(());
    }
    for problem in done["problems"].as_array().into_iter().flatten() {
        eprintln!("{}", text(problem));
    }
    Err(Failure::of(format!("{} values cannot be read, and are as they were", done["unreadable"])))
}

fn told(status: &Value) -> String {
    let mut lines = format!("file      {}\n", text(&status["file"]));
    for rule in status["rules"].as_array().into_iter().flatten() {
        lines += &format!("prefix    {}  {}\n", text(&rule["prefix"]), text(&rule["policy"]));
    }
    let count = |key: &str| status["values"].get(key).and_then(Value::as_u64).unwrap_or_default();
    let known: Vec<&str> = status["keys"].as_array().into_iter().flatten().map(text).collect();
    for (nth, key) in known.iter().enumerate() {
        let note = if nth == 0 { "  newest" } else { "" };
        lines += &format!("key       {key}  {} values{note}\n", count(key));
    }
    if let Some(next) = status["next"].as_str() {
        lines += &format!("key       {next}  {} values  next\n", count(next));
    }
    for (key, count) in status["values"].as_object().into_iter().flatten() {
        if !known.contains(&key.as_str()) && status["next"] != json!(key) {
            lines += &format!("key       {key}  {count} values  missing\n");
        }
    }
    for (word, count) in [("plain", "plain"), ("damaged", "damaged")] {
        lines += &format!("{word:<8}  {} values\n", status[count]);
    }
    lines
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn keys(value: &Value) -> String {
    let keys: Vec<&str> = value.as_array().into_iter().flatten().map(text).collect();
    match &keys[..] {
        [] => "no key".to_owned(),
        [key] => format!("key {key}"),
        keys => format!("keys {}", keys.join(", ")),
    }
}
