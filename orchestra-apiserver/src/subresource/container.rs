//! Which container of a pod a request is about.

use serde_json::Value;

use crate::state::Call;
use crate::status::StatusError;
use crate::storage::meta;

/// The container that is meant: the named one, or the only one.
pub(crate) fn chosen(pod: &Value, call: &Call) -> Result<String, StatusError> {
    let names = |list: &str| -> Vec<String> {
        let items = pod.pointer(&format!("/spec/{list}")).and_then(Value::as_array).into_iter().flatten();
        items.filter_map(|c| c.get("name").and_then(Value::as_str)).map(str::to_owned).collect()
    };
    let (main, init, ephemeral) =
        (names("containers"), names("initContainers"), names("ephemeralContainers"));
    let pod_name = meta::name(pod);
    match call.query.get("container") {
        Some(wanted) => {
            let known = [&main, &init, &ephemeral].iter().any(|list| list.iter().any(|name| name == wanted));
            if known {
                Ok(wanted.to_owned())
            } else {
                Err(StatusError::bad_request(format!("container {wanted} is not valid for pod {pod_name}")))
            }
        }
        None => match main.as_slice() {
            [only] => Ok(only.clone()),
            many => {
                let mut why = format!(
                    "a container name must be specified for pod {pod_name}, choose one of: [{}]",
                    many.join(" ")
                );
                if !init.is_empty() {
                    why.push_str(&format!(" or one of the init containers: [{}]", init.join(" ")));
                }
                Err(StatusError::bad_request(why))
            }
        },
    }
}

/// Encodes a value for a query.
pub(crate) fn encode(text: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~' | b':');
    text.bytes().map(|b| if plain(&b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}
