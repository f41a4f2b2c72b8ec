//! The API itself, a file a subject.

mod chunking;
mod custom_resources;
mod definition;
mod discovery;
mod dynamic_resources;
mod field_validation;
mod namespaces;
mod operations;
mod policies;
mod priority_and_fairness;
mod quota;
mod table;
mod watch;
