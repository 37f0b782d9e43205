//! Which addresses the command was refused.

use std::net::SocketAddr;

/// As many addresses are told apart between two looks. Further ones are only counted, so that a
/// command cannot fill this process's memory.
const MOST: usize = 64;

/// An address, and how many connections to it were refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// IPv4 that was written as IPv6 is IPv4 here.
    pub address: SocketAddr,
    pub count: u64,
}

/// Refused connections since the last look.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refusals {
    /// In the order of their first refusal; at most 64.
    pub addresses: Vec<Refused>,
    /// Refused connections to still other addresses.
    pub others: u64,
}

impl Refusals {
    pub(crate) fn note(&mut self, address: SocketAddr) {
        let room = self.addresses.len() < MOST;
        let mut known = self.addresses.iter_mut();
        match known.find(|refused| refused.address == address) {
            Some(refused) => refused.count = refused.count.saturating_add(1),
            None if room => self.addresses.push(Refused { address, count: 1 }),
            None => self.others = self.others.saturating_add(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_counted_and_bounded() {
        let mut refusals = Refusals::default();
        let address = |port| SocketAddr::from(([10, 0, 0, 1], port));
        for port in (0..100).chain(0..100) {
            refusals.note(address(port));
        }
        assert_eq!(refusals.addresses.len(), MOST);
        assert_eq!(
            refusals.addresses[3],
            Refused {
                address: address(3),
                count: 2
            }
        );
        assert_eq!(refusals.others, 2 * (100 - MOST as u64));
    }
}
