//! What Kubernetes' own conformance suite asks of a cluster, row by row, against a cluster in this process.
//!
//! `rows.tsv` names the rows of the suite of 1.36. Each test here is named after its row ([`table::test_name`]) and lives in
//! the module of the row's area; `cargo xtask conformance` runs them and writes `docs/conformance.md`. The tests are written
//! from what a row's specification does, by its steps; they are no copies of it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop, in its helpers too")]

mod api_machinery;
mod apps;
mod architecture;
mod auth;
mod crud;
#[path = "../../orchestra-apiserver/tests/it/extension.rs"]
mod extension;
#[path = "../it/harness.rs"]
#[allow(dead_code, reason = "the tests beside need more of it")]
mod harness;
#[path = "../../orchestra-apiserver/tests/it/hook.rs"]
mod hook;
mod instrumentation;
mod kind;
mod kubectl;
mod network;
mod node;
mod scheduling;
mod storage;
mod table;
mod watching;
mod wire;
#[allow(dead_code, reason = "each area needs a part of it")]
mod world;
