//! Kubernetes as a library.
