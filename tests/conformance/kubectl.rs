//! What kubectl shows.
