//! What all objects share: names, labels, owners, conditions, and the validation of `metadata`.

pub mod condition;
pub mod labels;
pub mod name;
mod object;
pub mod owner;

pub use object::{
    NameRule, validate_annotations, validate_label_selector, validate_labels, validate_object_meta,
    validate_object_meta_update,
};
