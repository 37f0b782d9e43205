//! Who would take a connection: the kernel's tables of sockets say which one listens, and `/proc`
//! whether a process of the command has it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::caller::inode_of_socket;

/// Whether a connection to `address` ends at the command itself: something listens there, and
/// whatever might take the connection is held by a descendant of this process.
pub(crate) fn is_our_commands(address: SocketAddr) -> bool {
    let mut inodes = BTreeSet::new();
    for table in ["/proc/self/net/tcp", "/proc/self/net/tcp6"] {
        // IPv6 can be off.
        inodes.extend(lines(table).filter_map(|line| listens(&line, address)));
    }
    all_held(&inodes)
}

/// The same of an abstract unix socket.
pub(crate) fn is_our_commands_name(name: &[u8]) -> bool {
    // As the table prints it. Several names may look so; then all have to be ours.
    let shown: Vec<u8> = std::iter::once(b'@')
        .chain(
            name.iter()
                .map(|byte| if *byte == 0 { b'@' } else { *byte }),
        )
        .collect();
    let inodes = lines("/proc/self/net/unix")
        .filter_map(|line| named(&line, &shown))
        .collect();
    all_held(&inodes)
}

fn all_held(inodes: &BTreeSet<u64>) -> bool {
    !inodes.is_empty() && held(inodes) == *inodes
}

/// Which of the sockets with these inodes a descendant of this process has. Those of processes that
/// cannot be read are not seen.
pub(crate) fn held(inodes: &BTreeSet<u64>) -> BTreeSet<u64> {
    let mut found = BTreeSet::new();
    for process in descendants(std::process::id()) {
        let descriptors = fs::read_dir(format!("/proc/{process}/fd"));
        let links = descriptors.into_iter().flatten().flatten();
        let its = links
            .filter_map(|entry| fs::read_link(entry.path()).ok())
            .filter_map(|link| inode_of_socket(link.as_os_str().as_encoded_bytes()));
        found.extend(its.filter(|inode| inodes.contains(inode)));
        if found.len() == inodes.len() {
            break;
        }
    }
    found
}

fn descendants(root: u32) -> Vec<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    for process in entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()) {
        if let Some(parent) = parent(process) {
            children.entry(parent).or_default().push(process);
        }
    }
    let (mut waiting, mut found) = (vec![root], Vec::new());
    while let Some(next) = waiting.pop() {
        let its = children.remove(&next).unwrap_or_default();
        waiting.extend(&its);
        found.extend(its);
    }
    found
}

/// `None`: it has ended.
fn parent(process: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name may hold blanks and parentheses; the fields after it do not.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(1)?.parse().ok()
}

/// The lines after the heading. Names of sockets need not be text.
fn lines(table: &str) -> impl Iterator<Item = Vec<u8>> {
    let file = fs::File::open(table).into_iter();
    file.flat_map(|file| BufReader::new(file).split(b'\n').map_while(Result::ok))
        .skip(1)
}

/// The inode of a line of `/proc/net/tcp{,6}` (proc_pid_net(5)), if that socket listens where a
/// connection to `address` may end.
fn listens(line: &[u8], address: SocketAddr) -> Option<u64> {
    const LISTEN: &str = "0A";
    let line = std::str::from_utf8(line).ok()?;
    let mut fields = line.split_whitespace().skip(1);
    let (ip, port) = fields.next()?.split_once(':')?;
    let state = fields.nth(1)?;
    let inode = fields.nth(5)?;
    let ip = listening_ip(ip)?;
    let takes = ip.is_unspecified() || ip == address.ip();
    let port = u16::from_str_radix(port, 16).ok()?;
    (state == LISTEN && port == address.port() && takes).then(|| inode.parse().ok())?
}

/// Words of 32 bits, each in this machine's order of bytes.
fn listening_ip(hex: &str) -> Option<IpAddr> {
    let mut bytes = Vec::new();
    for at in (0..hex.len()).step_by(8) {
        let word = u32::from_str_radix(hex.get(at..at + 8)?, 16).ok()?;
        bytes.extend(word.to_ne_bytes());
    }
    if let Ok(four) = <[u8; 4]>::try_from(bytes.as_slice()) {
        return Some(Ipv4Addr::from(four).into());
    }
    let sixteen = <[u8; 16]>::try_from(bytes.as_slice()).ok()?;
    Some(Ipv6Addr::from(sixteen).to_canonical())
}

/// The inode of a line of `/proc/net/unix`, if that socket is shown with this name.
fn named(line: &[u8], shown: &[u8]) -> Option<u64> {
    let mut rest = line;
    let mut inode = None;
    for _ in 0..7 {
        rest = rest.trim_ascii_start();
        let end = rest.iter().position(u8::is_ascii_whitespace)?;
        inode = rest.get(..end);
        rest = rest.get(end..)?;
    }
    let name = rest.strip_prefix(b" ")?;
    (name == shown).then(|| std::str::from_utf8(inode?).ok()?.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_tcp_says_who_may_take_a_connection() {
        let line = |ip: &str, state: &str| {
            format!(
                "   0: {ip}:0C38 00000000:0000 {state} 00000000:00000000 00:00000000 00000000 \
                 65534        0 4711 1 0000000000000000 100 0 0 10 0"
            )
            .into_bytes()
        };
        let v4: SocketAddr = "127.0.0.1:3128".parse().unwrap();
        let v6: SocketAddr = "[::1]:3128".parse().unwrap();
        let one = "00000000000000000000000001000000";
        let mapped = "0000000000000000FFFF00000100007F";
        let any = "00000000000000000000000000000000";
        for (ip, takes_v4, takes_v6) in [
            ("0100007F", true, false),
            ("00000000", true, true),
            ("0200007F", false, false),
            (one, false, true),
            (mapped, true, false),
            (any, true, true),
        ] {
            let inode = |takes: bool| takes.then_some(4711);
            assert_eq!(listens(&line(ip, "0A"), v4), inode(takes_v4), "{ip}");
            assert_eq!(listens(&line(ip, "0A"), v6), inode(takes_v6), "{ip}");
        }
        assert_eq!(listens(&line("0100007F", "01"), v4), None);
        assert_eq!(
            listens(&line("0100007F", "0A"), "127.0.0.1:3129".parse().unwrap()),
            None
        );
    }

    #[test]
    fn the_table_of_unix_sockets_says_who_has_a_name() {
        let line = b"ffff8881: 00000002 00000000 00010000 0001 01 4711 @a name@";
        assert_eq!(named(line, b"@a name@"), Some(4711));
        assert_eq!(named(line, b"@a name"), None);
        let nameless = b"ffff8881: 00000002 00000000 00000000 0001 01 4711";
        assert_eq!(named(nameless, b"@"), None);
    }
}
