//! `orchestra delete TYPE NAME…` and `orchestra delete -f FILE`.

use clap::Args;
use http::Method;
use serde_json::json;

use super::resource::{Resource, Resources};
use super::{Connection, Target, request};
use crate::failure::Failure;
use crate::manifests;

#[derive(Args, Debug)]
pub(crate) struct Delete {
    #[command(flatten)]
    target: Target,
    /// Delete what these manifests name.
    #[arg(short = 'f', long = "filename", value_name = "FILE", conflicts_with = "names")]
    files: Vec<String>,
    /// Delete every object of the type in the namespace.
    #[arg(long)]
    all: bool,
    /// Seconds the object gets to end by itself.
    #[arg(long, value_name = "SECONDS")]
    grace_period: Option<i64>,
    /// It is no error when the object is not there.
    #[arg(long)]
    ignore_not_found: bool,
    /// TYPE NAME…, or TYPE/NAME…
    names: Vec<String>,
}

pub(crate) async fn run(arguments: &Delete) -> Result<(), Failure> {
    let connection = arguments.target.connect().await?;
    let resources = Resources::discover(&connection.client).await?;
    if arguments.files.is_empty() {
        for (resource, name) in targets(&connection, &resources, arguments).await? {
            one(&connection, resource, &connection.namespace, &name, arguments).await?;
        }
        return Ok(());
    }
    // Last first: what a file made on top of something goes before it.
    for document in manifests::read(&arguments.files)?.iter().rev() {
        let field = |name: &str| document.value[name].as_str().unwrap_or_default();
        let resource = resources.of_kind(field("apiVersion"), field("kind")).ok_or_else(|| {
            Failure::of(format!(
                "no matches for kind {:?} in version {:?}",
                field("kind"),
                field("apiVersion")
            ))
        })?;
        let metadata = &document.value["metadata"];
        let namespace = metadata["namespace"].as_str().unwrap_or(&connection.namespace);
        let name = metadata["name"].as_str().unwrap_or_default();
        one(&connection, resource, namespace, name, arguments).await?;
    }
    Ok(())
}

async fn targets<'a>(
    connection: &Connection,
    resources: &'a Resources,
    arguments: &Delete,
) -> Result<Vec<(&'a Resource, String)>, Failure> {
    let mut found = Vec::new();
    let Some((first, rest)) = arguments.names.split_first() else {
        return Err(Failure::usage("delete what? TYPE NAME, TYPE/NAME or -f FILE"));
    };
    if first.contains('/') {
        for word in &arguments.names {
            let (kind, name) = word.split_once('/').unwrap_or((word, ""));
            found.extend(resources.named(kind)?.into_iter().map(|resource| (resource, name.to_owned())));
        }
        return Ok(found);
    }
    if rest.is_empty() && !arguments.all {
        return Err(Failure::usage("which ones? name them, or give --all"));
    }
    for word in first.split(',') {
        for resource in resources.named(word)? {
            found.extend(rest.iter().map(|name| (resource, name.clone())));
            if arguments.all {
                let path = resource.path(Some(&connection.namespace), None);
                let list = request::get(&connection.client, &path, "application/json").await?;
                let names = list["items"].as_array().into_iter().flatten();
                let names = names.filter_map(|item| item["metadata"]["name"].as_str());
                found.extend(names.map(|name| (resource, name.to_owned())));
            }
        }
    }
    Ok(found)
}

async fn one(
    connection: &Connection,
    resource: &Resource,
    namespace: &str,
    name: &str,
    arguments: &Delete,
) -> Result<(), Failure> {
    let path = resource.path(Some(namespace), Some(name));
    if arguments.ignore_not_found && request::find(&connection.client, &path).await?.is_none() {
        return Ok(());
    }
    let mut options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"});
    if let Some(seconds) = arguments.grace_period {
        options["gracePeriodSeconds"] = seconds.into();
    }
    request::write(&connection.client, Method::DELETE, &path, "application/json", &options).await?;
    println!("{} deleted", shown(resource, name));
    Ok(())
}

/// `pod "x"`, `deployment.apps "x"`, as kubectl says it.
fn shown(resource: &Resource, name: &str) -> String {
    let both = resource.shown(name);
    both.split_once('/').map_or(both.clone(), |(kind, name)| format!("{kind} {name:?}"))
}
