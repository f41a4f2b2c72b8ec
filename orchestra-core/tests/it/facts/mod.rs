//! The schema facts of a real 1.36.2 server, field by field, against what this crate publishes and how it behaves.
//!
//! The table beside this file was written down from the OpenAPI documents of that server. The crate's own table of types has
//! other columns (Go's tags, protobuf's numbers) and is what the product runs on; here each statement of the server is held
//! against the product: the documents it publishes, the defaults it fills in, the values it refuses, what it misses, how
//! lists merge when they are patched and applied. A statement that the server itself does not hold to, such as an
//! enumeration it never checks, stands in a list of exceptions with its reason; an exception that is none any more fails too.

mod behaviour;
mod defaults;
mod enums;
mod exception;
mod lists;
mod published;
mod required;
mod route;
mod table;
