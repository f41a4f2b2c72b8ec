//! Groups that another server serves: `APIService` objects with a service behind them.
//!
//! One task ([`controller`]) follows the objects, asks each server behind one whether it is there, says so in the object's
//! status, and puts together the [`Table`] by which requests are passed on. A request is authenticated and authorized here; the
//! other server learns who asks by headers, and that it is this server that says so by its client certificate.
//!
//! - Whatever a client sends under the names of those headers goes no further, nor do its credentials.
//! - A connection becomes a tunnel only by an answer of 101 to a request that asked for it, and redirects are not followed.

mod availability;
mod controller;
mod discovery;
mod identity;
mod objects;
mod proxy;
pub(crate) mod registration;
mod table;
mod transport;

use std::sync::{Arc, PoisonError, RwLock};

pub(crate) use controller::start;
pub(crate) use discovery::RemoteVersion;
pub use identity::RequestHeaderAuthenticator;
pub(crate) use objects::{authentication, local};
pub(crate) use proxy::pass_on;
pub(crate) use table::Table;

use crate::pki::FrontProxy;

/// What a server knows of others.
#[derive(Debug, Default)]
pub(crate) struct Aggregated {
    table: RwLock<Arc<Table>>,
    /// Who this server is to others.
    pub(crate) front_proxy: Option<FrontProxy>,
}

impl Aggregated {
    pub(crate) fn new(front_proxy: Option<FrontProxy>) -> Self {
        Self { table: RwLock::default(), front_proxy }
    }

    /// Who serves what, as of now.
    pub(crate) fn table(&self) -> Arc<Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn replace(&self, table: Table) {
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(table);
    }
}
