//! `VolumeAttachment`: a volume that is to be, or is, at a node.

use serde_json::{Value, json};

use super::frame::cells::{self, column, text};
use super::frame::check::{refuse_all, required, unchanged};
use super::frame::{Builtin, Fill, View};
use super::{meta, persistent_volume};
use crate::gvk::GroupVersion;
use crate::kind::Scope;
use crate::violation::{Violation, Violations};

/// The most bytes of what a driver says of an attachment.
const MAX_METADATA: usize = 256 * 1024;
/// The most bytes of what went wrong.
const MAX_ERROR: usize = 1024;

pub(super) fn kind() -> Builtin {
    let mut attacher = column("Attacher", "string", "The driver that attaches it.", |attachment, _| {
        text(attachment, "/spec/attacher").into()
    });
    attacher.column.format = "name";
    let gv = GroupVersion::new("storage.k8s.io", "v1");
    Builtin::new(gv, "VolumeAttachment", "volumeattachments", Scope::Cluster)
        .status(|| json!({"attached": false}))
        .default(|attachment| {
            let source = attachment.object_if("spec").and_then(|spec| spec.object_if("source"));
            if let Some(inline) = source.and_then(|source| source.object_if("inlineVolumeSpec")) {
                persistent_volume::default_source(inline);
            }
        })
        .validate(|attachment, out| {
            spec(out, &attachment.get("spec"));
            status(out, &attachment.get("status"));
        })
        .validate_change(|new, old, out| {
            unchanged(out, &new.get("spec"), &old.get("spec"));
        })
        .validate_status(|new, _, out| status(out, &new.get("status")))
        .columns(vec![
            cells::name(),
            attacher,
            column("PV", "string", "The volume.", |attachment, _| {
                text(attachment, "/spec/source/persistentVolumeName").into()
            }),
            column("Node", "string", "The node.", |attachment, _| text(attachment, "/spec/nodeName").into()),
            column("Attached", "boolean", "Whether it is there.", |attachment, _| {
                attachment.pointer("/status/attached").and_then(Value::as_bool).unwrap_or_default().into()
            }),
            cells::age(),
        ])
}

fn spec(out: &mut Violations, spec: &View) {
    required(out, &spec.get("attacher"));
    let source = spec.get("source");
    let (volume, inline) = (source.get("persistentVolumeName"), source.get("inlineVolumeSpec"));
    let detail = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
    match (volume.is_set(), inline.is_set()) {
        (false, false) => out.push(Violation::required(source.path(), detail)),
        (true, true) => out.push(Violation::forbidden(source.path(), detail)),
        (true, false) if volume.text().is_empty() => {
            out.push(Violation::required(volume.path(), "must specify non empty persistentVolumeName"));
        }
        (true, false) => {
            let path = crate::violation::FieldPath::new("spec.source.persistentVolumeName");
            for message in meta::subdomain(volume.text()) {
                out.push(Violation::invalid(&path, volume.text(), message));
            }
        }
        (false, true) => persistent_volume::validate_inline(out, &inline),
    }
    let node = spec.get("nodeName");
    refuse_all(out, &node, meta::subdomain(node.text()));
}

fn status(out: &mut Violations, status: &View) {
    let metadata = status.get("attachmentMetadata");
    let size: usize = metadata.entries().map(|(key, value)| key.len() + value.text().len()).sum();
    if size > MAX_METADATA {
        out.push(Violation::too_long(metadata.path(), MAX_METADATA));
    }
    for field in ["attachError", "detachError"] {
        let message = status.get(field).get("message");
        if message.text().len() > MAX_ERROR {
            out.push(Violation::too_long(message.path(), MAX_ERROR));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::frame::testing::{said, said_of_change, served};

    fn attachment(source: Value) -> Value {
        json!({"metadata": {"name": "a", "resourceVersion": "1"},
            "spec": {"attacher": "csi.example.com", "nodeName": "n", "source": source}})
    }

    #[test]
    fn exactly_one_volume_is_attached() {
        let whole = attachment(json!({"persistentVolumeName": "v"}));
        assert_eq!(said(kind(), whole.clone()), [""; 0]);
        assert_eq!(
            served(kind()).row(&whole, 0)[1..5],
            [json!("csi.example.com"), json!("v"), json!("n"), json!(false)]
        );
        assert_eq!(
            said(kind(), attachment(json!({}))),
            [
                "spec.source: Required value: must specify exactly one of inlineVolumeSpec and persistentVolumeName"
            ]
        );
        let other = attachment(json!({"persistentVolumeName": "w"}));
        assert!(said_of_change(kind(), &other, &whole)[0].ends_with("field is immutable"));
    }
}
