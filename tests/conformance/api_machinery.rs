//! The API itself.
