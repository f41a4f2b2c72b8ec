//! Scheduling policies, each a set of plugins for the real scheduling framework.
