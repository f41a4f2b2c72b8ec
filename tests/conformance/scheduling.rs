//! Where pods go.
