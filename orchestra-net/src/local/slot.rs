//! Which part of the loopback range a cluster owns.

use std::io;
use std::net::Ipv4Addr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

use ipnet::Ipv4Net;

use crate::network::{Error, Result};

/// How many clusters a machine can hold: 127.64.0.0 to 127.127.255.255, a /16 each.
const SLOTS: u8 = 64;
const FIRST_OCTET: u8 = 64;

/// One /16 of loopback addresses, held for as long as the value lives: pods in its lower half, services in its upper.
///
/// What holds it is a socket in the kernel's abstract namespace. It belongs to the network namespace, as the addresses do,
/// and vanishes with the process however that ends, so no stale lock is ever left.
#[derive(Debug)]
pub struct Slot {
    number: u8,
    _held: UnixListener,
}

impl Slot {
    /// Takes the first slot that is free, from the one that `hint` leads to on and around.
    pub(super) fn free_from(hint: u64) -> Result<Self> {
        let first = (hint % u64::from(SLOTS)) as u8;
        for number in (first..SLOTS).chain(0..first) {
            match hold(number) {
                Ok(held) => return Ok(Self { number, _held: held }),
                Err(problem) if problem.kind() == io::ErrorKind::AddrInUse => {}
                Err(source) => {
                    return Err(Error::System { what: "cannot hold a loopback range".into(), source });
                }
            }
        }
        Err(Error::Exhausted("127.64.0.0/10: every slot is held by a cluster of this machine".into()))
    }

    /// Takes this slot and no other.
    pub(super) fn take(number: u8) -> Result<Self> {
        if number >= SLOTS {
            return Err(Error::Exhausted(format!("slots 0 to {}: there is no slot {number}", SLOTS - 1)));
        }
        let held = hold(number).map_err(|source| Error::System {
            what: format!("cannot take 127.{}.0.0/16 again", FIRST_OCTET + number),
            source,
        })?;
        Ok(Self { number, _held: held })
    }

    pub(super) fn number(&self) -> u8 {
        self.number
    }

    /// Where pods get their addresses.
    pub(super) fn pods(&self) -> Ipv4Net {
        self.half(0)
    }

    /// Where services get theirs.
    pub(super) fn services(&self) -> Ipv4Net {
        self.half(128)
    }

    /// The `n`th address of the lower half.
    pub(super) fn nth(&self, n: u8) -> Ipv4Addr {
        Ipv4Addr::new(127, FIRST_OCTET + self.number, 0, n)
    }

    fn half(&self, third: u8) -> Ipv4Net {
        Ipv4Net::new_assert(Ipv4Addr::new(127, FIRST_OCTET + self.number, third, 0), 17)
    }
}

fn hold(number: u8) -> io::Result<UnixListener> {
    let name = format!("orchestra/local-network/{number}");
    UnixListener::bind_addr(&SocketAddr::from_abstract_name(name)?)
}
