//! `orchestra get TYPE [NAME…]`.

use clap::Args;
use orchestra_core::jsonpath::{JsonPath, Missing};
use orchestra_core::manifest;
use orchestra_core::table::{self, Headings};
use serde_json::{Value, json};

use super::resource::{Resource, Resources, escape};
use super::{Connection, Target, request};
use crate::failure::Failure;

/// What kubectl asks for, so that the server draws the table.
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

#[derive(Args, Debug)]
pub(crate) struct Get {
    #[command(flatten)]
    target: Target,
    /// Objects of every namespace.
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// json, yaml, wide, name or jsonpath=TEMPLATE.
    #[arg(short, long, value_name = "FORMAT", value_parser = parse_output)]
    output: Option<Output>,
    /// Only objects whose labels match.
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    selector: Option<String>,
    /// No line with headings.
    #[arg(long)]
    no_headers: bool,
    /// Print who manages which field, in JSON and YAML.
    #[arg(long)]
    show_managed_fields: bool,
    /// TYPE[,TYPE…] [NAME…], or TYPE/NAME…
    #[arg(required = true)]
    names: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Output {
    Json,
    Yaml,
    Wide,
    Name,
    JsonPath(String),
}

fn parse_output(text: &str) -> Result<Output, String> {
    match text.split_once('=') {
        Some(("jsonpath", template)) => Ok(Output::JsonPath(template.to_owned())),
        None if text == "json" => Ok(Output::Json),
        None if text == "yaml" => Ok(Output::Yaml),
        None if text == "wide" => Ok(Output::Wide),
        None if text == "name" => Ok(Output::Name),
        _ => Err("one of json, yaml, wide, name, jsonpath=TEMPLATE".into()),
    }
}

/// One thing asked for: a collection, or an object in it.
struct Wanted<'a> {
    resource: &'a Resource,
    name: Option<String>,
}

pub(crate) async fn run(arguments: &Get) -> Result<(), Failure> {
    let connection = arguments.target.connect().await?;
    let resources = Resources::discover(&connection.client).await?;
    let wanted = wanted(&resources, &arguments.names)?;
    match &arguments.output {
        None => tables(&connection, arguments, &wanted, false).await,
        Some(Output::Wide) => tables(&connection, arguments, &wanted, true).await,
        Some(output) => objects(&connection, arguments, &wanted, output).await,
    }
}

fn wanted<'a>(resources: &'a Resources, names: &[String]) -> Result<Vec<Wanted<'a>>, Failure> {
    let mut found = Vec::new();
    let Some((first, rest)) = names.split_first() else { return Ok(found) };
    if first.contains('/') {
        for word in names {
            let (kind, name) = word.split_once('/').unwrap_or((word, ""));
            for resource in resources.named(kind)? {
                found.push(Wanted { resource, name: Some(name.to_owned()) });
            }
        }
        return Ok(found);
    }
    for word in first.split(',') {
        for resource in resources.named(word)? {
            if rest.is_empty() {
                found.push(Wanted { resource, name: None });
            }
            found.extend(rest.iter().map(|name| Wanted { resource, name: Some(name.clone()) }));
        }
    }
    Ok(found)
}

async fn fetch(
    connection: &Connection,
    arguments: &Get,
    wanted: &Wanted<'_>,
    accept: &str,
) -> Result<Value, Failure> {
    let namespace = (!arguments.all_namespaces).then_some(connection.namespace.as_str());
    let mut path = wanted.resource.path(namespace, wanted.name.as_deref());
    if let Some(selector) = arguments.selector.as_deref().filter(|_| wanted.name.is_none()) {
        path = format!("{path}?labelSelector={}", escape(selector));
    }
    request::get(&connection.client, &path, accept).await
}

async fn tables(
    connection: &Connection,
    arguments: &Get,
    wanted: &[Wanted<'_>],
    wide: bool,
) -> Result<(), Failure> {
    let mut printed = 0;
    let several = wanted.len() > 1;
    for one in wanted {
        let answer = fetch(connection, arguments, one, TABLE).await?;
        let rows = answer["rows"].as_array().map_or(&[][..], Vec::as_slice);
        if rows.is_empty() {
            continue;
        }
        if printed > 0 {
            println!();
        }
        printed += 1;
        print!("{}", draw(&answer, rows, one, arguments, several, wide));
    }
    if printed == 0 {
        if arguments.all_namespaces || wanted.iter().all(|one| !one.resource.namespaced) {
            eprintln!("No resources found");
        } else {
            eprintln!("No resources found in {} namespace.", connection.namespace);
        }
    }
    Ok(())
}

fn draw(
    answer: &Value,
    rows: &[Value],
    one: &Wanted<'_>,
    arguments: &Get,
    several: bool,
    wide: bool,
) -> String {
    let shown: Vec<(usize, &str)> = answer["columnDefinitions"]
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
        .filter(|(_, column)| wide || column["priority"].as_i64().unwrap_or(0) == 0)
        .map(|(at, column)| (at, column["name"].as_str().unwrap_or_default()))
        .collect();
    let with_namespace = arguments.all_namespaces && one.resource.namespaced;
    let mut headings: Vec<&str> = shown.iter().map(|(_, name)| *name).collect();
    if with_namespace {
        headings.insert(0, "Namespace");
    }
    let lines: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let mut cells: Vec<String> = shown.iter().map(|(at, _)| cell(&row["cells"][*at])).collect();
            if let Some(name) = cells.first_mut().filter(|_| several) {
                *name = one.resource.shown(name);
            }
            if with_namespace {
                cells.insert(0, cell(&row["object"]["metadata"]["namespace"]));
            }
            cells
        })
        .collect();
    let headers = if arguments.no_headers { Headings::Hidden } else { Headings::Shown };
    table::print(&headings, &lines, headers)
}

fn cell(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "<none>".into(),
        other => other.to_string(),
    }
}

async fn objects(
    connection: &Connection,
    arguments: &Get,
    wanted: &[Wanted<'_>],
    output: &Output,
) -> Result<(), Failure> {
    let mut items = Vec::new();
    for one in wanted {
        let answer = fetch(connection, arguments, one, "application/json").await?;
        if one.name.is_some() {
            items.push((one.resource, answer));
            continue;
        }
        let kind = answer["kind"].as_str().unwrap_or_default().trim_end_matches("List").to_owned();
        let api_version = answer["apiVersion"].clone();
        for mut item in answer["items"].as_array().cloned().unwrap_or_default() {
            item["apiVersion"] = api_version.clone();
            item["kind"] = kind.clone().into();
            items.push((one.resource, item));
        }
    }
    if *output == Output::Name {
        for (resource, item) in &items {
            println!("{}", resource.shown(item["metadata"]["name"].as_str().unwrap_or_default()));
        }
        return Ok(());
    }
    if matches!(output, Output::Json | Output::Yaml) && !arguments.show_managed_fields {
        for (_, item) in &mut items {
            if let Some(metadata) = item["metadata"].as_object_mut() {
                metadata.remove("managedFields");
            }
        }
    }
    let single = matches!(wanted, [Wanted { name: Some(_), .. }]);
    let result = match items.pop() {
        Some((_, only)) if single => only,
        last => {
            items.extend(last);
            let items: Vec<Value> = items.into_iter().map(|(_, item)| item).collect();
            json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": items})
        }
    };
    match output {
        Output::Yaml => print!("{}", manifest::to_yaml(&result)),
        Output::JsonPath(template) => {
            let parsed = JsonPath::parse(template)
                .map_err(|problem| Failure::usage(format!("jsonpath: {problem}")))?;
            print!(
                "{}",
                parsed
                    .render(&result, Missing::Skipped)
                    .map_err(|problem| Failure::of(format!("jsonpath: {problem}")))?
            );
        }
        _ => println!("{}", pretty(&result)?),
    }
    Ok(())
}

/// JSON with four spaces, as kubectl prints it.
fn pretty(value: &Value) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    serde::Serialize::serialize(value, &mut serializer)
        .map_err(|problem| Failure::of(problem.to_string()))?;
    String::from_utf8(bytes).map_err(|problem| Failure::of(problem.to_string()))
}
