//! Leader election: of several candidates one works at a time, and when it falls silent another takes over.
//!
//! The protocol is client-go's (`tools/leaderelection` over a Lease), so candidates of both kinds may stand against each
//! other. A leader renews the Lease every [`Timing::retry_period`]; one that could not for [`Timing::renew_deadline`]
//! stops working; the others take the Lease when they have not seen it change for as long as it says it lasts. Only that
//! a candidate's own clock moves evenly is relied on, never that two clocks agree: the times that stand in a Lease are for
//! people.
//!
//! In three places this is stricter than client-go. The renew deadline counts from when the last renewal that succeeded
//! was sent, not from when the next one begins. A leader that finds another one's name in the Lease stops at once. And at the
//! end the Lease is kept until the work has finished, and only then given up, so that its successor need not wait.
//!
//! What this cannot give is a fence: a request that a leader sent before it stopped may arrive after its successor began.
//! Work must stand that, as every controller of this crate does. Nor does it help when somebody deletes the Lease.
//!
//! ```
//! # use std::sync::Arc;
//! # use orchestra_apiserver::ApiServer;
//! # use orchestra_store::MemoryStore;
//! use orchestra_controllers::Controllers;
//! use orchestra_controllers::election::Election;
//! use tokio_util::sync::CancellationToken;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let server = ApiServer::builder(Arc::new(MemoryStore::new())).build().await?;
//! # let client = server.client("default");
//! // As many programs as you like may stand; each under a name of its own.
//! let election = Election::new("my-operator", "host-7_4f1c").namespace("default");
//! let shutdown = CancellationToken::new();
//! # let stop = shutdown.clone();
//! let outcome = election
//!     .run(client.clone(), shutdown, |lost_or_done| {
//!         // Called when this candidate is elected, each time anew. Dropped when the lead is lost.
//!         let work = Controllers::all().run(client.clone(), lost_or_done);
//! #       stop.cancel();
//!         work
//!     })
//!     .await;
//! // `None` if it was never elected before it was told to stop.
//! outcome.transpose()?;
//! # Ok(())
//! # }
//! ```

mod elector;
mod plan;

pub use elector::Election;
pub use plan::{Observed, Step, Timing, plan};

#[cfg(test)]
mod tests;
