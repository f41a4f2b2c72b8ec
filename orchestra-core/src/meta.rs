//! What all objects share: names, labels, owners, conditions, and the validation of `metadata`.

pub mod name;
