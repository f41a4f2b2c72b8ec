//! The controllers against the real API server, in process.

#![allow(clippy::unwrap_used)] // a test that cannot go on should stop, in its helpers too

mod autoscaler;
mod cascade;
mod certificates;
mod cluster;
mod cronjob;
mod daemonset;
mod deployment;
mod device_claims;
mod disruption;
mod election;
mod garbage;
mod idle;
mod job;
mod killed;
mod mortal;
mod namespaces;
mod node_ranges;
mod nodes;
mod picture;
mod podgc;
mod policies;
mod service;
mod statefulset;
mod volumes;
mod world;
