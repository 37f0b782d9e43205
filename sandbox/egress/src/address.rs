//! Which addresses a step may reach.
//!
//! A host's network holds what only its programs are meant to reach: loopback, neighbours, the
//! credentials of the machine. None of these addresses is reached through the proxy unless the
//! operator of the pool opens a network that holds it.
//!
//! The tables follow IANA's registries of special-purpose addresses (RFC 6890), read in 2026:
//! <https://www.iana.org/assignments/iana-ipv4-special-registry>,
//! <https://www.iana.org/assignments/iana-ipv6-special-registry>. Left out are the anycast
//! addresses that they call globally reachable (AS112, AMT), which are plain public addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Who may open a range.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Opens {
    /// The operator of the pool.
    Operator,
    /// Nobody: no connection could go there, or to something else than it says.
    Nobody,
}

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(segments: [u16; 8], prefix: u8) -> Ipv6Net {
    let [a, b, c, d, e, f, g, h] = segments;
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, g, h), prefix)
}

const SPECIAL_V4: &[(Ipv4Net, Opens)] = &[
    // This host on this network (RFC 791, 3.2): Linux connects to loopback.
    (v4(0, 0, 0, 0, 8), Opens::Nobody),
    // Private use (RFC 1918).
    (v4(10, 0, 0, 0, 8), Opens::Operator),
    (v4(172, 16, 0, 0, 12), Opens::Operator),
    (v4(192, 168, 0, 0, 16), Opens::Operator),
    // Shared by the customers of a carrier (RFC 6598); also overlay networks and pods.
    (v4(100, 64, 0, 0, 10), Opens::Operator),
    // Loopback (RFC 1122, 3.2.1.3).
    (v4(127, 0, 0, 0, 8), Opens::Operator),
    // Link local (RFC 3927).
    (v4(169, 254, 0, 0, 16), Opens::Operator),
    // Protocol assignments (RFC 6890, 2.1).
    (v4(192, 0, 0, 0, 24), Opens::Operator),
    // Documentation (RFC 5737).
    (v4(192, 0, 2, 0, 24), Opens::Operator),
    (v4(198, 51, 100, 0, 24), Opens::Operator),
    (v4(203, 0, 113, 0, 24), Opens::Operator),
    // Relays of 6to4, withdrawn (RFC 7526).
    (v4(192, 88, 99, 0, 24), Opens::Operator),
    // Benchmarks (RFC 2544).
    (v4(198, 18, 0, 0, 15), Opens::Operator),
    // Multicast (RFC 5771).
    (v4(224, 0, 0, 0, 4), Opens::Nobody),
    // Broadcast (RFC 919), and before it reserved for later (RFC 1112, 4).
    (v4(255, 255, 255, 255, 32), Opens::Nobody),
    (v4(240, 0, 0, 0, 4), Opens::Operator),
];

const SPECIAL_V6: &[(Ipv6Net, Opens)] = &[
    // Unspecified (RFC 4291, 2.5.2): Linux connects to loopback.
    (v6([0, 0, 0, 0, 0, 0, 0, 0], 128), Opens::Nobody),
    // IPv4 in another form: compatible, mapped (RFC 4291, 2.5.5), translated (RFC 2765, 2.1). A
    // name with an IPv4 address has it as such. Loopback, `::1`, is below.
    (v6([0, 0, 0, 0, 0, 0xffff, 0, 0], 96), Opens::Nobody),
    (v6([0, 0, 0, 0, 0xffff, 0, 0, 0], 96), Opens::Nobody),
    // Loopback (RFC 4291, 2.5.3), and the rest of the compatible addresses.
    (v6([0, 0, 0, 0, 0, 0, 0, 1], 128), Opens::Operator),
    (v6([0, 0, 0, 0, 0, 0, 0, 0], 96), Opens::Nobody),
    // A network's own translation to IPv4 (RFC 8215). The well-known one is judged by its IPv4
    // address, in `is_public`.
    (v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48), Opens::Operator),
    // Protocol assignments (RFC 2928): Teredo, benchmarks, ORCHID and others.
    (v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23), Opens::Operator),
    // Documentation (RFC 3849, RFC 9637).
    (v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32), Opens::Operator),
    (v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20), Opens::Operator),
    // 6to4 (RFC 3056), whose relays are withdrawn (RFC 7526).
    (v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16), Opens::Operator),
    // Multicast (RFC 4291, 2.7).
    (v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8), Opens::Nobody),
];

/// The only addresses of IPv6 that are assigned as global unicast (RFC 4291, 2.4, and IANA's
/// registry of its address space). Outside of it lie unique local addresses (`fc00::/7`, RFC 4193),
/// link local ones (`fe80::/10`), site local ones (`fec0::/10`), segment routing (`5f00::/16`),
/// what is discarded (`100::/64`), and what is not assigned.
const GLOBAL_UNICAST: Ipv6Net = v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);

/// Translation to IPv4 by the network (RFC 6052, 2.1).
const NAT64: Ipv6Net = v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96);
const LOCAL_NAT64: Ipv6Net = v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48);
const TEREDO: Ipv6Net = v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32);
const SIX_TO_FOUR: Ipv6Net = v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16);

/// Where machines get their credentials from. They stay closed, whatever an operator opens.
const METADATA: &[IpAddr] = &[
    // Instances of EC2, and of most other clouds.
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    // Tasks of ECS.
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),
    // Pods of EKS.
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 23)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)),
    // Google Cloud, over IPv6.
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
    // Azure's WireServer, which is a public address.
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    // Alibaba Cloud.
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    // Oracle Cloud.
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
];

/// An address that was checked. The proxy connects to nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checked(IpAddr);

impl Checked {
    pub const fn address(self) -> IpAddr {
        self.0
    }
}

/// The networks that an operator opens to steps.
pub struct Networks(pub Vec<IpNet>);

impl Networks {
    /// The same addresses, if a step may reach every one of them. A name that has some addresses
    /// of which a step may reach only a part is somebody's attempt, or a mistake.
    pub fn check(&self, addresses: &[IpAddr]) -> Option<Vec<Checked>> {
        let check = |address: &IpAddr| self.admits(*address).then_some(Checked(*address));
        addresses.iter().map(check).collect()
    }

    fn admits(&self, address: IpAddr) -> bool {
        let is_metadata = std::iter::once(address)
            .chain(within(address).map(IpAddr::V4))
            .any(|address| METADATA.contains(&address));
        let is_open = || self.0.iter().any(|network| network.contains(&address));
        !is_metadata
            && match special(address) {
                None => true,
                Some(Opens::Operator) => is_open(),
                Some(Opens::Nobody) => false,
            }
    }
}

/// Who may open an address, unless it is a public one.
fn special(address: IpAddr) -> Option<Opens> {
    match address {
        IpAddr::V4(address) => {
            let range = SPECIAL_V4.iter().find(|(net, _)| net.contains(&address));
            range.map(|(_, opens)| *opens)
        }
        IpAddr::V6(address) => {
            if NAT64.contains(&address) {
                let [.., a, b, c, d] = address.octets();
                return special(Ipv4Addr::new(a, b, c, d).into());
            }
            let range = SPECIAL_V6.iter().find(|(net, _)| net.contains(&address));
            let is_global = GLOBAL_UNICAST.contains(&address);
            range
                .map(|(_, opens)| *opens)
                .or_else(|| (!is_global).then_some(Opens::Operator))
        }
    }
}

/// The IPv4 addresses that something on the way may read out of an IPv6 address.
fn within(address: IpAddr) -> impl Iterator<Item = Ipv4Addr> {
    let mut found = Vec::new();
    if let IpAddr::V6(address) = address {
        let [.., c0, c1, c2, c3] = address.octets();
        let [_, _, s0, s1, s2, s3, p6, p7, _, p9, p10, ..] = address.octets();
        let [_, _, _, _, t0, t1, t2, t3, ..] = address.octets();
        // The end: NAT64 with 96 bits, mapped, compatible, translated, and ISATAP.
        found.push(Ipv4Addr::new(c0, c1, c2, c3));
        if LOCAL_NAT64.contains(&address) {
            // RFC 6052, 2.2: a prefix of 48 bits, with a byte left out.
            found.push(Ipv4Addr::new(p6, p7, p9, p10));
        }
        if SIX_TO_FOUR.contains(&address) {
            found.push(Ipv4Addr::new(s0, s1, s2, s3));
        }
        if TEREDO.contains(&address) {
            // RFC 4380, 4: a server, and a client whose bits are turned over.
            found.push(Ipv4Addr::new(t0, t1, t2, t3));
            found.push(Ipv4Addr::new(!c0, !c1, !c2, !c3));
        }
    }
    found.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(texts: &[&str]) -> Networks {
        Networks(texts.iter().map(|text| text.parse().unwrap()).collect())
    }

    fn admits(networks: &Networks, address: &str) -> bool {
        networks.check(&[address.parse().unwrap()]).is_some()
    }

    #[test]
    fn public_addresses_are_open_and_no_other() {
        let none = networks(&[]);
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.167.255.255",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2600::1",
            "2606:4700:4700::1111",
            "2a00:1450::1",
            "64:ff9b::8.8.8.8",
        ] {
            assert!(admits(&none, address), "{address}");
        }
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "10.255.255.255",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::2",
            "::127.0.0.1",
            "::8.8.8.8",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "::ffff:0:127.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b::127.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "64:ff9b:2::1",
            "100::1",
            "100:0:0:1::1",
            "2001::1",
            "2001:0:7f00:1::1",
            "2001:2::1",
            "2001:20::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "2002:808:808::1",
            "3fff::1",
            "4000::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!admits(&none, address), "{address}");
        }
    }

    #[test]
    fn an_operator_opens_networks_and_nothing_beside_them() {
        let own = networks(&["10.1.0.0/16", "fd12::/16", "127.0.0.1/32"]);
        for address in ["10.1.2.3", "fd12::1", "127.0.0.1", "8.8.8.8"] {
            assert!(admits(&own, address), "{address}");
        }
        for address in [
            "10.2.0.1",
            "fd13::1",
            "127.0.0.2",
            "::ffff:10.1.2.3",
            "::10.1.2.3",
            "64:ff9b::10.1.2.3",
        ] {
            assert!(!admits(&own, address), "{address}");
        }
    }

    #[test]
    fn nobody_opens_what_gives_out_credentials_or_is_something_else() {
        let all = networks(&["0.0.0.0/0", "::/0"]);
        assert!(admits(&all, "10.0.0.1") && admits(&all, "fd00::1") && admits(&all, "::1"));
        for address in [
            "169.254.169.254",
            "169.254.170.2",
            "169.254.170.23",
            "168.63.129.16",
            "100.100.100.200",
            "192.0.0.192",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd20:ce::254",
            "::ffff:169.254.169.254",
            "64:ff9b::169.254.169.254",
            "64:ff9b:1::169.254.170.2",
            "64:ff9b:1:a9fe:a9:fe00::",
            "2002:a9fe:a9fe::1",
            "2001:0:a9fe:a9fe::1",
            "2001:0:1:1:0:0:5601:5601",
            "fe80::5efe:169.254.169.254",
            "0.0.0.0",
            "::",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "ff02::1",
        ] {
            assert!(!admits(&all, address), "{address}");
        }
    }

    #[test]
    fn one_closed_address_closes_a_name() {
        let addresses = ["8.8.8.8", "10.0.0.1"].map(|text| text.parse().unwrap());
        assert_eq!(networks(&[]).check(&addresses), None);
        let open = networks(&["10.0.0.0/8"]).check(&addresses).unwrap();
        assert_eq!(open, addresses.map(Checked));
    }
}
