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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kinds::frame::testing::{defaulted, said, served};

    #[test]
    fn a_template_is_defaulted_checked_and_shown() {
        let spec = json!({"containers": [{"name": "c", "image": "i:1"}, {"name": "d"}]});
        let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": spec});
        let object =
            defaulted(kind(), json!({"metadata": {"name": "t", "namespace": "n"}, "template": template}));
        assert_eq!(object["template"]["spec"]["restartPolicy"], "Always");
        assert_eq!(served(kind()).row(&object, 0), ["t", "c,d", "i:1,", "a=b"].map(serde_json::Value::from));
        assert_eq!(said(kind(), object), ["template.spec.containers[1].image: Required value"]);
    }
}
