//! Volumes and claims.

mod attachments;
mod classes;
mod drivers;
mod immutable;
mod volumes;
