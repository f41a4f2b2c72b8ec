//! `PodTemplate`.

use super::frame::cells::{self, column};
use super::frame::{Builtin, Generation};
use super::{labels, workload};
use crate::gvk::GroupVersion;
use crate::kind::Scope;

pub(super) fn kind() -> Builtin {
    Builtin::new(GroupVersion::new("", "v1"), "PodTemplate", "podtemplates", Scope::Namespaced)
        .generation(Generation::Content)
        .default(|template| workload::default_template(template, "template"))
        .validate(|template, out| workload::template(out, &template.get("template")))
        .columns(vec![
            cells::name(),
            column("Containers", "string", "The names of the containers.", |object, _| {
                workload::containers(object, "/template", "/name").into()
            }),
            column("Images", "string", "The images of the containers.", |object, _| {
                workload::containers(object, "/template", "/image").into()
            }),
            column("Pod Labels", "string", "The labels of the pods.", |object, _| {
                labels::show(object.pointer("/template/metadata/labels")).into()
            }),
        ])
}
