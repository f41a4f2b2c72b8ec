//! `orchestra encryption`: the keys of a running cluster.

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};

use crate::client::{Target, request};
use crate::failure::Failure;

#[derive(Args, Debug)]
pub(crate) struct Encryption {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    target: Target,
}

#[derive(Subcommand, Clone, Copy, Debug)]
enum Verb {
    /// Show keys, what is encrypted, and how many values each key seals.
    Status,
    /// Make a new key and bring everything under it. Older keys stay, for snapshots.
    Rotate,
    /// Bring everything under the newest key: what a rotation that was broken off has left, and what is still plain.
    Rewrite,
    /// Drop older keys that no object needs any more. Snapshots that were saved with them cannot be read without a copy.
    Prune,
}

pub(crate) async fn run(arguments: &Encryption) -> Result<(), Failure> {
    let client = arguments.target.connect().await?.client;
    let post = async |what: &str| {
        let path = format!("/orchestra/v1/encryption/{what}");
        request::write(&client, Method::POST, &path, "application/json", &json!({})).await
    };
    match arguments.verb {
        Verb::Status => {
            let status = request::get(&client, "/orchestra/v1/encryption", "application/json").await?;
            print!("{}", told(&status));
            Ok(())
        }
        Verb::Rotate => {
            let done = post("rotate").await?;
            println!("new key {}", text(&done["key"]));
            rewritten(&done)
        }
        Verb::Rewrite => rewritten(&post("rewrite").await?),
        Verb::Prune => {
            let done = post("prune").await?;
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
    for (key, count) in status["values"].as_object().into_iter().flatten() {
        if !known.contains(&key.as_str()) {
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
