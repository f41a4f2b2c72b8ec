//! Which ranges the cluster has, and how large a piece a node gets.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A range of one family, and how it is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// The first address, as a number.
    base: u128,
    bits: u8,
    prefix: u8,
    /// The prefix of a piece.
    piece: u8,
}

/// The cluster's ranges for pods: one, or one of each family.
///
/// ```
/// use orchestra_controllers::nodeipam::NodeRanges;
///
/// let ranges: NodeRanges = "10.244.0.0/16,fd00:1::/48".parse()?;
/// assert_eq!(ranges.to_string(), "10.244.0.0/16 in /24, fd00:1::/48 in /64");
/// # Ok::<(), orchestra_controllers::nodeipam::NodeRangesError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRanges(pub(super) Vec<Block>);

/// Why ranges cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NodeRangesError(String);

/// As upstream's `--node-cidr-mask-size-ipv4` and `-ipv6`.
const PIECES: [u8; 2] = [24, 64];
/// Finer cuts than that are refused, as upstream.
const MOST_CUTS: u8 = 16;

impl Block {
    fn parse(text: &str, pieces: [u8; 2]) -> Result<Self, NodeRangesError> {
        let wrong = |why: &str| NodeRangesError(format!("{text:?} {why}"));
        let (address, prefix) = text.split_once('/').ok_or_else(|| wrong("is not a CIDR"))?;
        let address: IpAddr = address.parse().map_err(|_| wrong("is not a CIDR"))?;
        let prefix: u8 = prefix.parse().map_err(|_| wrong("is not a CIDR"))?;
        let [v4, v6] = pieces;
        let (number, bits, piece) = match address {
            IpAddr::V4(address) => (u128::from(address.to_bits()), 32, v4),
            IpAddr::V6(address) => (address.to_bits(), 128, v6),
        };
        if prefix > bits || piece > bits {
            return Err(wrong("is not a CIDR"));
        }
        if piece < prefix {
            return Err(wrong(&format!("is smaller than the /{piece} of a node")));
        }
        if piece - prefix > MOST_CUTS {
            return Err(wrong(&format!("has more than 2^{MOST_CUTS} pieces of /{piece}")));
        }
        let host = if prefix == 0 { u128::MAX } else { (1u128 << (bits - prefix)) - 1 };
        Ok(Self { base: number & !host, bits, prefix, piece })
    }

    /// How many nodes can have a piece.
    pub(super) fn pieces(self) -> u32 {
        1 << (self.piece - self.prefix)
    }

    /// The piece of this number.
    pub(super) fn piece(self, index: u32) -> String {
        let start = self.base | (u128::from(index) << (self.bits - self.piece));
        format!("{}/{}", self.address(start), self.piece)
    }

    fn address(self, number: u128) -> IpAddr {
        match u32::try_from(number) {
            Ok(number) if self.bits == 32 => IpAddr::V4(number.into()),
            _ => IpAddr::V6(number.into()),
        }
    }

    /// Which pieces a range touches; nothing if it lies elsewhere.
    pub(super) fn touched(self, text: &str) -> Option<std::ops::RangeInclusive<u32>> {
        let other = Self::parse(text, [32, 128]).or_else(|_| {
            let (_, prefix) = text.split_once('/').ok_or_else(|| NodeRangesError(String::new()))?;
            let prefix = prefix.parse().unwrap_or(u8::MAX);
            Self::parse(text, [prefix, prefix])
        });
        let other = other.ok().filter(|other| other.bits == self.bits)?;
        let size = |block: Self| (1u128 << (block.bits - block.prefix).min(127)) - 1;
        let (first, last) =
            (other.base.max(self.base), (other.base + size(other)).min(self.base + size(self)));
        if first > last {
            return None;
        }
        let index = |number: u128| {
            u32::try_from((number - self.base) >> (self.bits - self.piece)).unwrap_or(u32::MAX)
        };
        Some(index(first)..=index(last))
    }
}

impl NodeRanges {
    /// Reads ranges such as `10.244.0.0/16` or `10.244.0.0/16,fd00::/48`, of which nodes get a piece of these prefixes: of the
    /// first for IPv4, of the second for IPv6.
    ///
    /// # Errors
    /// They are no ranges, two of one family, too small for one node, or enough for more than 65,536.
    pub fn cut(text: &str, pieces: [u8; 2]) -> Result<Self, NodeRangesError> {
        let blocks = text.split(',').map(|part| Block::parse(part.trim(), pieces));
        let blocks = blocks.collect::<Result<Vec<_>, _>>()?;
        match blocks.as_slice() {
            [_] => Ok(Self(blocks)),
            [a, b] if a.bits != b.bits => Ok(Self(blocks)),
            _ => Err(NodeRangesError(format!("{text:?} is not one range, or one of each family"))),
        }
    }
}

impl FromStr for NodeRanges {
    type Err = NodeRangesError;

    /// With pieces of upstream's usual sizes, /24 and /64.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::cut(text, PIECES)
    }
}

impl fmt::Display for NodeRanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, block) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{}/{} in /{}", block.address(block.base), block.prefix, block.piece)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_cut_into_pieces_of_one_size() {
        let ranges: NodeRanges = "10.244.7.9/16,fd00:1::/48".parse().unwrap();
        let [v4, v6] = ranges.0[..] else { panic!("two") };
        assert_eq!(
            (v4.pieces(), v4.piece(0), v4.piece(255)),
            (256, "10.244.0.0/24".into(), "10.244.255.0/24".into())
        );
        assert_eq!((v6.pieces(), v6.piece(1)), (65_536, "fd00:1:0:1::/64".into()));
        assert_eq!(v4.touched("10.244.3.0/24"), Some(3..=3));
        assert_eq!(v4.touched("10.244.2.0/23"), Some(2..=3));
        assert_eq!(v4.touched("10.244.2.128/25"), Some(2..=2));
        assert_eq!(v4.touched("0.0.0.0/0"), Some(0..=255));
        assert_eq!(
            (v4.touched("10.245.0.0/24"), v4.touched("fd00:1::/64"), v4.touched("rubbish")),
            (None, None, None)
        );
    }

    #[test]
    fn ranges_that_cannot_be_used_are_refused() {
        let refused = |text: &str| text.parse::<NodeRanges>().unwrap_err().to_string();
        assert_eq!(refused("rubbish"), "\"rubbish\" is not a CIDR");
        assert_eq!(refused("10.0.0.0/33"), "\"10.0.0.0/33\" is not a CIDR");
        assert_eq!(refused("10.0.0.0/25"), "\"10.0.0.0/25\" is smaller than the /24 of a node");
        assert_eq!(refused("10.0.0.0/7"), "\"10.0.0.0/7\" has more than 2^16 pieces of /24");
        let two = "\"10.0.0.0/16,10.1.0.0/16\" is not one range, or one of each family";
        assert_eq!(refused("10.0.0.0/16,10.1.0.0/16"), two);
        assert!(NodeRanges::cut("10.0.0.0/24", [40, 64]).is_err());
    }
}
