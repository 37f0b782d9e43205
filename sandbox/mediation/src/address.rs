//! What a command asks to connect to, from the bytes of its `struct sockaddr`.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use rustix::io::Errno;

/// As many bytes as the kernel takes: those of `struct sockaddr_storage`.
pub(crate) const LONGEST: usize = 128;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// As the command wrote it. [`canonical`] is what it means.
    Inet(SocketAddr),
    /// A socket file.
    Path(Vec<u8>),
    /// A name that starts with a NUL, without it.
    Abstract(Vec<u8>),
    /// `AF_UNSPEC`, which undoes a connection.
    Nothing,
}

impl Address {
    /// # Errors
    /// What the kernel would answer.
    pub fn parse(bytes: &[u8]) -> Result<Self, Errno> {
        let (family, rest) = bytes.split_first_chunk::<2>().ok_or(Errno::INVAL)?;
        match i32::from(u16::from_ne_bytes(*family)) {
            libc::AF_UNSPEC => Ok(Self::Nothing),
            libc::AF_INET => inet(rest).ok_or(Errno::INVAL).map(Self::Inet),
            libc::AF_INET6 => inet6(rest).ok_or(Errno::INVAL).map(Self::Inet),
            libc::AF_UNIX => match rest.split_first() {
                None => Err(Errno::INVAL),
                Some((0, name)) => Ok(Self::Abstract(name.to_vec())),
                Some(_) => {
                    let end = rest.iter().position(|byte| *byte == 0);
                    Ok(Self::Path(
                        rest.get(..end.unwrap_or(rest.len()))
                            .unwrap_or(rest)
                            .to_vec(),
                    ))
                }
            },
            _ => Err(Errno::AFNOSUPPORT),
        }
    }
}

/// IPv4 that is written as IPv6 (`::ffff:127.0.0.1`, as Java writes it) goes over IPv4, and is
/// judged as such.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// `struct sockaddr_in` without its family.
fn inet(bytes: &[u8]) -> Option<SocketAddr> {
    // The kernel takes no shorter one, though its last eight bytes say nothing.
    let (fields, _) = bytes.split_first_chunk::<14>()?;
    let (port, rest) = fields.split_first_chunk::<2>()?;
    let (address, _) = rest.split_first_chunk::<4>()?;
    let address = Ipv4Addr::from(*address);
    Some(SocketAddr::new(address.into(), u16::from_be_bytes(*port)))
}

/// `struct sockaddr_in6` without its family. What it says of flow and scope is left out: no address
/// that may be reached has any.
fn inet6(bytes: &[u8]) -> Option<SocketAddr> {
    let (port, rest) = bytes.split_first_chunk::<2>()?;
    let (_flow, rest) = rest.split_first_chunk::<4>()?;
    let (address, _) = rest.split_first_chunk::<16>()?;
    let address = Ipv6Addr::from(*address);
    Some(SocketAddr::new(address.into(), u16::from_be_bytes(*port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_the_kernel_reads_it() {
        let mut inet = 2_u16.to_ne_bytes().to_vec();
        inet.extend([12, 56, 127, 0, 0, 1, 9, 9, 9, 9, 9, 9, 9, 9]);
        let read = Address::parse(&inet).unwrap();
        assert_eq!(read, Address::Inet("127.0.0.1:3128".parse().unwrap()));
        assert_eq!(Address::parse(&inet[..15]), Err(Errno::INVAL));

        let mut inet6 = 10_u16.to_ne_bytes().to_vec();
        inet6.extend([12, 56, 1, 2, 3, 4]);
        inet6.extend([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 127, 0, 0, 1]);
        let Address::Inet(read) = Address::parse(&inet6).unwrap() else {
            panic!("no inet");
        };
        assert_eq!(read, "[::ffff:127.0.0.1]:3128".parse().unwrap());
        assert_eq!(canonical(read), "127.0.0.1:3128".parse().unwrap());
        assert_eq!(Address::parse(&inet6[..23]), Err(Errno::INVAL));

        let unix = |rest: &[u8]| {
            let mut bytes = 1_u16.to_ne_bytes().to_vec();
            bytes.extend(rest);
            Address::parse(&bytes)
        };
        assert_eq!(unix(b"/a/b\0c"), Ok(Address::Path(b"/a/b".to_vec())));
        assert_eq!(unix(b"a"), Ok(Address::Path(b"a".to_vec())));
        assert_eq!(unix(b"\0a\0b"), Ok(Address::Abstract(b"a\0b".to_vec())));
        assert_eq!(unix(b"\0"), Ok(Address::Abstract(Vec::new())));
        assert_eq!(unix(b""), Err(Errno::INVAL));

        assert_eq!(Address::parse(&[0, 0]), Ok(Address::Nothing));
        assert_eq!(Address::parse(&[0]), Err(Errno::INVAL));
        assert_eq!(Address::parse(&[38, 0, 1]), Err(Errno::AFNOSUPPORT));
    }
}
