//! `orchestra apply -f FILE`: make the cluster hold what the files say.

use clap::Args;
use http::Method;
use kube::Client;
use serde_json::{Value, json};

use super::resource::Resources;
use super::three_way::three_way;
use super::{Connection, Target, request};
use crate::failure::Failure;
use crate::manifests::{self, Document};

/// Where apply remembers what it was told last; kubectl's own place, so that both can be used in turn.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
const MANAGER: &str = "fieldManager=orchestra-apply&fieldValidation=Strict";

#[derive(Args, Debug)]
pub(crate) struct Apply {
    #[command(flatten)]
    target: Target,
    /// YAML or JSON files, folders of them, or - for standard input.
    #[arg(short = 'f', long = "filename", required = true, value_name = "FILE")]
    files: Vec<String>,
}

pub(crate) async fn run(arguments: &Apply) -> Result<(), Failure> {
    let documents = manifests::read(&arguments.files)?;
    let connection = arguments.target.connect().await?;
    for line in apply(&connection, &documents).await? {
        println!("{line}");
    }
    Ok(())
}

/// Applies `documents` in order and says for each what became of it.
pub(crate) async fn apply(connection: &Connection, documents: &[Document]) -> Result<Vec<String>, Failure> {
    let resources = Resources::discover(&connection.client).await?;
    let mut lines = Vec::with_capacity(documents.len());
    for document in documents {
        let line = one(connection, &resources, document)
            .await
            .map_err(|failure| Failure::of(format!("{}:{}: {failure}", document.origin, document.line)))?;
        lines.push(line);
    }
    Ok(lines)
}

async fn one(connection: &Connection, resources: &Resources, document: &Document) -> Result<String, Failure> {
    let mut object = document.value.clone();
    let field = |name: &str| object[name].as_str().unwrap_or_default().to_owned();
    let (api_version, kind) = (field("apiVersion"), field("kind"));
    let resource = resources
        .of_kind(&api_version, &kind)
        .ok_or_else(|| Failure::of(format!("no matches for kind {kind:?} in version {api_version:?}")))?;
    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    if name.is_empty() {
        return Err(Failure::of("metadata.name: Required value: apply needs a name"));
    }
    let named = object["metadata"]["namespace"].as_str().map(str::to_owned);
    if let Some(named) =
        named.as_deref().filter(|named| connection.namespace_given && *named != connection.namespace)
    {
        return Err(Failure::of(format!(
            "the namespace from the provided object {named:?} does not match the namespace {:?}",
            connection.namespace
        )));
    }
    let namespace = named.unwrap_or_else(|| connection.namespace.clone());
    remember(&mut object, resource.namespaced.then_some(namespace.as_str()))?;
    let path = resource.path(Some(&namespace), Some(&name));
    let verb = match request::find(&connection.client, &path).await? {
        None => {
            let collection = format!("{}?{MANAGER}", resource.path(Some(&namespace), None));
            request::write(&connection.client, Method::POST, &collection, "application/json", &object)
                .await?;
            "created"
        }
        Some(live) => update(&connection.client, &path, &live, &object).await?,
    };
    Ok(format!("{} {verb}", resource.shown(&name)))
}

async fn update(client: &Client, path: &str, live: &Value, wanted: &Value) -> Result<&'static str, Failure> {
    let last = live["metadata"]["annotations"][LAST_APPLIED].as_str();
    let last = last.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_else(|| json!({}));
    let patch = three_way(&last, live, wanted);
    if patch == json!({}) {
        return Ok("unchanged");
    }
    let path = format!("{path}?{MANAGER}");
    let patched =
        request::write(client, Method::PATCH, &path, "application/merge-patch+json", &patch).await?;
    let same = patched["metadata"]["resourceVersion"] == live["metadata"]["resourceVersion"];
    Ok(if same { "unchanged" } else { "configured" })
}

/// Writes what was asked for into an annotation, to the letter as kubectl does, so that neither finds a difference
/// where the other has been.
fn remember(object: &mut Value, namespace: Option<&str>) -> Result<(), Failure> {
    let misplaced = |field: &str| Failure::of(format!("{field} is not an object"));
    let metadata = object["metadata"].as_object_mut().ok_or_else(|| misplaced("metadata"))?;
    if let Some(namespace) = namespace {
        metadata.insert("namespace".into(), namespace.into());
    }
    let annotations = metadata.entry("annotations").or_insert(Value::Null);
    if annotations.is_null() {
        *annotations = json!({});
    }
    let annotations = annotations.as_object_mut().ok_or_else(|| misplaced("metadata.annotations"))?;
    annotations.remove(LAST_APPLIED);
    // Go's encoder writes these three as escapes, so that JSON may stand in HTML.
    let text = object.to_string().replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026");
    object["metadata"]["annotations"][LAST_APPLIED] = format!("{text}\n").into();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_applied_is_remembered_as_kubectl_words_it() {
        let mut object =
            json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "x"}, "data": {"a": "<b>"}});
        remember(&mut object, Some("default")).unwrap();
        assert_eq!(
            object["metadata"]["annotations"][LAST_APPLIED],
            "{\"apiVersion\":\"v1\",\"data\":{\"a\":\"\\u003cb\\u003e\"},\"kind\":\"ConfigMap\",\
             \"metadata\":{\"annotations\":{},\"name\":\"x\",\"namespace\":\"default\"}}\n"
        );
    }
}
