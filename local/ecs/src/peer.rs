//! Identifies the other end of a loopback connection through the kernel's socket table.
//!
//! Sandboxes share the host's network. When the launcher is root, they run under host uids that
//! nobody else uses. `/proc/net/tcp` names the uid that owns each socket (proc(5)). So calls from
//! inside a sandbox can be recognised without the sandbox's help. A socket that is not found counts
//! as a sandbox's.

use std::net::SocketAddr;
use std::ops::RangeInclusive;

const LOOKS: usize = 3;

/// The host uids that sandboxes use.
#[derive(Debug, Clone)]
pub struct SandboxUids(pub RangeInclusive<u32>);

impl SandboxUids {
    /// Whether the connection from `peer` to `own` comes from a sandbox, or from an unknown
    /// process.
    pub fn hold(&self, peer: SocketAddr, own: SocketAddr) -> bool {
        // A table that changes while it is read may miss an entry, so look more than once.
        let found = (0..LOOKS).find_map(|_| {
            ["/proc/net/tcp", "/proc/net/tcp6"]
                .into_iter()
                .filter_map(|table| std::fs::read_to_string(table).ok())
                .find_map(|table| owner(&table, peer, own))
        });
        found.is_none_or(|uid| self.0.contains(&uid))
    }
}

/// The uid that owns the socket with local end `peer` and remote end `own`.
fn owner(table: &str, peer: SocketAddr, own: SocketAddr) -> Option<u32> {
    let (peer, own) = (end(peer)?, end(own)?);
    table.lines().find_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let (local, remote) = (fields.next()?, fields.next()?);
        // An IPv4 address in an IPv6 socket ends with the same eight digits.
        if !(local.ends_with(&peer) && remote.ends_with(&own)) {
            return None;
        }
        fields.nth(4)?.parse().ok()
    })
}

/// An address as the table writes it: the address bytes as a number in native byte order, and the
/// port.
fn end(address: SocketAddr) -> Option<String> {
    match address {
        SocketAddr::V4(address) => Some(format!(
            "{:08X}:{:04X}",
            u32::from_ne_bytes(address.ip().octets()),
            address.port()
        )),
        SocketAddr::V6(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
        0: 0100007F:38E6 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0\n   \
        1: 0100007F:D2F0 0100007F:38E6 01 00000000:00000000 00:00000000 00000000 900004        0 2 1 0 20 4 30 10 -1\n   \
        2: 0100007F:38E6 0100007F:D2F0 01 00000000:00000000 00:00000000 00000000     0        0 3 1 0 20 4 30 10 -1\n";

    #[test]
    #[cfg(target_endian = "little")]
    fn the_owner_is_that_of_the_calling_end() {
        let own = "127.0.0.1:14566".parse().unwrap();
        assert_eq!(
            owner(TABLE, "127.0.0.1:54000".parse().unwrap(), own),
            Some(900_004)
        );
        assert_eq!(owner(TABLE, "127.0.0.1:54001".parse().unwrap(), own), None);
    }

    #[test]
    fn a_socket_of_this_process_is_found_by_its_uid() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let own = listener.local_addr().unwrap();
        let client = std::net::TcpStream::connect(own).unwrap();
        let peer = client.local_addr().unwrap();
        assert!(!SandboxUids(900_000..=900_999).hold(peer, own));
        assert!(SandboxUids(0..=u32::MAX).hold(peer, own));
        let nobody = "127.0.0.1:1".parse().unwrap();
        assert!(
            SandboxUids(900_000..=900_999).hold(nobody, own),
            "not found is not trusted"
        );
    }
}
