//! Which devices resource claims get on a node: upstream's structured parameters, as a function of what drivers offer
//! and what is had already.
//!
//! The search is exhaustive and takes the first answer, in an order that everybody can know: claims and requests as they
//! are written, pools by driver and name, slices by name, devices as they are listed. It has a limit, counted in steps
//! and not in seconds, so that the answer does not depend on the machine.

mod capacity;
mod counter;
mod extended;
mod in_use;
mod pool;
mod request;
mod result;
mod search;
mod selector;
mod stock;

pub(crate) use extended::translate;
pub(crate) use in_use::InUse;
pub(crate) use pool::Offers;
pub(crate) use request::classes;
pub(crate) use search::{Question, Trouble, allocate};
pub(crate) use selector::Selectors;
pub(crate) use stock::Stock;

#[cfg(test)]
mod tests;
