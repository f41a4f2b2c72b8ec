//! A connection passes admission before it is opened: its object is its options.

use orchestra_core::gvk::GroupVersion;
use serde_json::{Map, Value, json};

use crate::admission::Operation;
use crate::state::{Call, State};
use crate::status::StatusError;

const CORE: GroupVersion = GroupVersion::new("", "v1");

/// Lets admission refuse a connection. What a rule changes of the options has no effect, as upstream.
pub(super) async fn admit(state: &State, call: &Call) -> Result<(), StatusError> {
    let (kind, mut options) = options(call);
    call.admit_as(state, Operation::Connect, (&CORE, kind), &mut options, None).await?;
    call.check_as(state, Operation::Connect, (&CORE, kind), &options, None).await
}

/// The kind of the options, and what the query says as an object of that kind.
fn options(call: &Call) -> (&'static str, Value) {
    let kind = match (call.request.resource.as_str(), call.request.subresource.as_deref()) {
        ("pods", Some("exec")) => "PodExecOptions",
        ("pods", Some("attach")) => "PodAttachOptions",
        ("pods", Some("portforward")) => "PodPortForwardOptions",
        ("pods", _) => "PodProxyOptions",
        ("services", _) => "ServiceProxyOptions",
        _ => "NodeProxyOptions",
    };
    let mut out = Map::from_iter([("kind".to_owned(), json!(kind)), ("apiVersion".to_owned(), json!("v1"))]);
    match kind {
        "PodExecOptions" | "PodAttachOptions" => {
            for field in ["stdin", "stdout", "stderr", "tty"] {
                // Upstream's defaults: output is wanted where an attachment says nothing.
                let is_output = matches!(field, "stdout" | "stderr");
                let default = is_output && call.query.get(field).is_none();
                if call.query.flag(field) || default {
                    out.insert(field.to_owned(), true.into());
                }
            }
            if let Some(container) = call.query.get("container") {
                out.insert("container".to_owned(), container.into());
            }
            let said = call.query.pairs().iter().filter(|(key, _)| key == "command");
            let command: Vec<Value> = said.map(|(_, part)| part.as_str().into()).collect();
            if kind == "PodExecOptions" {
                out.insert("command".to_owned(), command.into());
            }
        }
        "PodPortForwardOptions" => {
            let said = call.query.pairs().iter().filter(|(key, _)| key == "ports");
            let ports =
                said.flat_map(|(_, list)| list.split(',')).filter_map(|port| port.parse::<i32>().ok());
            let ports: Vec<Value> = ports.map(Value::from).collect();
            if !ports.is_empty() {
                out.insert("ports".to_owned(), ports.into());
            }
        }
        _ => {
            if let Some(path) = call.query.get("path") {
                out.insert("path".to_owned(), path.into());
            }
        }
    }
    (kind, Value::Object(out))
}
