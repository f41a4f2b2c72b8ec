//! Which objects of a collection a request is about: namespace, labels, fields.

use orchestra_core::selector::{FieldSelector, LabelSelector};

use crate::cache::object::Object;
use crate::query::ListOptions;
use crate::status::StatusError;
use crate::storage::resource::Resource;

/// The selectors of a list, a watch or a collection's removal.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    labels: LabelSelector,
    fields: FieldSelector,
}

impl Filter {
    /// Reads the selectors; `name` narrows a watch of one object.
    pub(crate) fn parse(
        resource: &Resource,
        options: &ListOptions,
        name: Option<&str>,
    ) -> Result<Self, StatusError> {
        let labels = LabelSelector::parse(&options.label_selector)
            .map_err(|error| StatusError::bad_request(format!("unable to parse requirement: {error}")))?;
        let mut text = options.field_selector.clone();
        if let Some(name) = name {
            if !text.is_empty() {
                text.push(',');
            }
            text.push_str(&format!("metadata.name={name}"));
        }
        let fields =
            FieldSelector::parse(&text).map_err(|error| StatusError::bad_request(error.to_string()))?;
        for requirement in fields.requirements() {
            let field = requirement.field.as_str();
            let everywhere =
                field == "metadata.name" || (resource.namespaced() && field == "metadata.namespace");
            if !everywhere && !resource.kind.selectable_fields().contains(&field) {
                return Err(StatusError::bad_request(format!("field label not supported: {field}")));
            }
        }
        Ok(Self { labels, fields })
    }

    /// Whether every object passes.
    pub(crate) fn is_everything(&self) -> bool {
        self.labels.is_everything() && self.fields.is_everything()
    }

    pub(crate) fn matches(&self, resource: &Resource, object: &Object) -> bool {
        self.fields.matches(|field| object.field(resource, field))
            && self.labels.matches(&object.labels.as_ref())
    }
}
