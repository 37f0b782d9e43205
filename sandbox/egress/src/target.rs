//! Which host and port a request asks for.

use std::fmt;
use std::net::IpAddr;

use hyper::Uri;
use hyper::http::uri::Scheme;
use sealfleet_domain::egress::{HTTPS, HostName};

use crate::refusal::Refusal;

/// The port of `http://` addresses.
pub const HTTP: u16 = 80;

/// A port of a host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    pub host: HostName,
    pub port: u16,
}

impl Target {
    /// Of a `CONNECT`, which has an authority and nothing else (RFC 9112, 3.2.3).
    pub fn of_connect(uri: &Uri) -> Result<Self, Refusal> {
        match (uri.scheme(), uri.authority(), uri.path_and_query()) {
            (None, Some(authority), None) => Self::parse(authority.as_str(), None),
            _ => Err(Refusal::Request(
                "the target of CONNECT is `HOST:PORT` and nothing else",
            )),
        }
    }

    /// Of a request in absolute form (RFC 9112, 3.2.2).
    pub fn of_absolute(uri: &Uri) -> Result<Self, Refusal> {
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else {
            return Err(Refusal::Request(
                "this is the egress proxy of a sandbox, not a web server; set HTTPS_PROXY and \
                 HTTP_PROXY to its address, and ask for the address that you want to reach",
            ));
        };
        if *scheme != Scheme::HTTP {
            return Err(Refusal::Request(
                "this proxy takes `http://` addresses; for `https://` and all else, ask for a \
                 tunnel by CONNECT",
            ));
        }
        Self::parse(authority.as_str(), Some(HTTP))
    }

    /// Whether an authority of an `https://` address is this one.
    pub fn is_https(&self, authority: &str) -> bool {
        Self::parse(authority, Some(HTTPS)).is_ok_and(|target| target == *self)
    }

    fn parse(authority: &str, default: Option<u16>) -> Result<Self, Refusal> {
        if authority.contains('@') {
            return Err(Refusal::Request(
                "an address with a user name or a password is not forwarded; send them in the \
                 Authorization header",
            ));
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (authority, None),
        };
        let host = parse_host(host).ok_or(Refusal::Request(
            "the host is neither a DNS name nor an IP address",
        ))?;
        let port = match port {
            None => default,
            Some(text) => parse_port(text),
        };
        let port = port.ok_or(Refusal::Request("a port is a number from 1 to 65535"))?;
        Ok(Self { host, port })
    }

    /// As a `Host` header has it, for a scheme with this port of its own.
    pub fn host_header(&self, default: u16) -> String {
        if self.port == default {
            Bracketed(&self.host).to_string()
        } else {
            self.to_string()
        }
    }
}

/// `HOST:PORT`.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", Bracketed(&self.host), self.port)
    }
}

struct Bracketed<'a>(&'a HostName);

impl fmt::Display for Bracketed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            HostName::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
            host => host.fmt(f),
        }
    }
}

/// Brackets are for IPv6, and IPv6 has brackets (RFC 3986, 3.2.2).
fn parse_host(text: &str) -> Option<HostName> {
    let is_bracketed = text.starts_with('[');
    (is_bracketed == text.contains(':')).then(|| text.parse().ok())?
}

fn parse_port(text: &str) -> Option<u16> {
    let is_number = (1..=5).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_digit());
    let port = is_number.then(|| text.parse().ok())?;
    port.filter(|port| *port > 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_authority_is_a_host_and_a_port() {
        for (text, expected) in [
            ("a.example:443", "a.example:443"),
            ("A.Example.:8443", "a.example:8443"),
            ("1.2.3.4:80", "1.2.3.4:80"),
            ("[2600::1]:443", "[2600::1]:443"),
            ("[::ffff:1.2.3.4]:443", "1.2.3.4:443"),
        ] {
            let target = Target::parse(text, None).unwrap();
            assert_eq!(target.to_string(), expected);
        }
        let default = Target::parse("[2600::1]", Some(80)).unwrap();
        assert_eq!(default.host_header(HTTP), "[2600::1]");
        let other = Target::parse("a.example:8080", Some(80)).unwrap();
        assert_eq!(other.host_header(HTTP), "a.example:8080");
    }

    #[test]
    fn what_is_ambiguous_is_refused() {
        for text in [
            "",
            ":443",
            "a.example",
            "a.example:",
            "a.example:0",
            "a.example:65536",
            "a.example:99999999999999999999",
            "a.example:+443",
            "a.example:443:443",
            "a.example: 443",
            "2600::1:443",
            "[2600::1]",
            "[2600::1]443",
            "[2600::1",
            "[a.example]:443",
            "[1.2.3.4]:443",
            "[fe80::1%25eth0]:443",
            "user@a.example:443",
            "user:password@a.example:443",
            "a.example\0:443",
            "a.example%00:443",
            "a.example/:443",
            "0x7f000001:443",
            "2130706433:443",
            "127.1:443",
            "017700000001:443",
        ] {
            assert!(Target::parse(text, None).is_err(), "{text:?}");
        }
    }

    #[test]
    fn an_https_authority_may_leave_out_its_port() {
        let target = Target::parse("a.example:443", None).unwrap();
        for text in ["a.example", "A.Example.", "a.example:443"] {
            assert!(target.is_https(text), "{text}");
        }
        for text in [
            "",
            "b.example",
            "a.example:80",
            "a.example:",
            "u@a.example",
            "a.example/x",
        ] {
            assert!(!target.is_https(text), "{text}");
        }
        assert_eq!(target.host_header(HTTPS), "a.example");
        let other = Target::parse("a.example:8443", None).unwrap();
        assert!(!other.is_https("a.example") && other.is_https("a.example:8443"));
    }

    proptest! {
        /// Whatever is taken reads back as itself, so that what was checked is what is reached.
        #[test]
        fn a_target_reads_back_as_itself(text in "(\\[)?[a-zA-Z0-9.:%@_-]{0,24}(\\])?(:[0-9]{0,6})?") {
            if let Ok(target) = Target::parse(&text, Some(80)) {
                let again = Target::parse(&target.to_string(), None);
                prop_assert_eq!(again.ok(), Some(target));
            }
        }

        #[test]
        fn no_text_is_too_strange(text in "\\PC{0,64}") {
            let _ = Target::parse(&text, Some(80));
        }
    }
}
