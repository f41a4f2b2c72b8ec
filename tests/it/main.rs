//! The whole product from outside: the real `orchestra` binary, the real kubectl, real processes, real connections.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop, in its helpers too")]

mod account;
mod bad_input;
mod custom_controller;
mod encryption;
mod etcd;
mod guestbook;
mod harness;
mod healing;
mod interactive;
mod jobs;
mod joining;
mod kube_streams;
mod kubectl;
mod kubectl_verbs;
mod library;
mod metrics;
mod network;
mod own_verbs;
mod reflector;
mod research;
mod rollout;
mod simulate;
mod simulate_stopped;
mod snapshot;
mod start;
mod streams;
mod two_servers;
mod watchers;
