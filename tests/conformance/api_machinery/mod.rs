//! The API itself, a file a subject.

mod aggregator;
mod chunking;
mod command;
mod conversion;
mod custom_resources;
mod definition;
mod discovery;
mod dynamic_resources;
mod field_validation;
mod garbage_collector;
mod namespaces;
mod operations;
mod policies;
mod priority_and_fairness;
mod publish_openapi;
mod quota;
mod table;
mod watch;
mod webhooks;
