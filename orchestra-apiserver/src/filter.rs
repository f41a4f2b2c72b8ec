//! Which objects of a collection a request is about: namespace, labels, fields.

use orchestra_core::selector::{
    FieldOperator, FieldRequirement, FieldSelector, LabelSelector, SelectorError,
};

use crate::cache::inbox::Wish;
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
        let bad = |error: SelectorError| StatusError::bad_request(error.to_string());
        let labels = LabelSelector::parse(&options.label_selector).map_err(bad)?;
        let mut fields = FieldSelector::parse(&options.field_selector).map_err(bad)?;
        if let Some(name) = name {
            let mut requirements = fields.requirements().to_vec();
            requirements.push(FieldRequirement {
                field: "metadata.name".to_owned(),
                operator: FieldOperator::Equals,
                value: name.to_owned(),
            });
            fields = FieldSelector::new(requirements);
        }
        for requirement in fields.requirements() {
            let field = requirement.field.as_str();
            let everywhere =
                field == "metadata.name" || (resource.namespaced() && field == "metadata.namespace");
            if !everywhere && !resource.kind.selectable_fields().iter().any(|known| known == field) {
                return Err(unknown_field(resource, field));
            }
        }
        Ok(Self { labels, fields })
    }

    /// Whether every object passes.
    pub(crate) fn is_everything(&self) -> bool {
        self.labels.is_everything() && self.fields.is_everything()
    }

    /// The one value of a field that objects must have to pass, if there is such a field: the name before others.
    pub(crate) fn wish(&self) -> Option<Wish> {
        let narrow =
            |r: &&FieldRequirement| r.operator == FieldOperator::Equals && r.field != "metadata.namespace";
        let chosen =
            self.fields.requirements().iter().filter(narrow).min_by_key(|r| r.field != "metadata.name")?;
        Some(Wish { field: chosen.field.clone(), value: chosen.value.clone() })
    }

    pub(crate) fn matches(&self, resource: &Resource, object: &Object) -> bool {
        self.fields.matches(|field| object.field(resource, field))
            && (self.labels.is_everything() || self.labels.matches(&object.labels(resource)))
    }
}

/// Kinds with selectable fields of their own word it differently from the rest.
fn unknown_field(resource: &Resource, field: &str) -> StatusError {
    StatusError::bad_request(if !resource.kind.selectable_fields().is_empty() {
        format!("field label not supported: {field}")
    } else {
        format!("{field:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
    })
}
