//! Pods and what they are made of.
