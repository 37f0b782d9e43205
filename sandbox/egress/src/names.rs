//! How a name becomes addresses.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Semaphore;

/// Look-ups at once. Each takes a thread until the system has answered.
const LOOKUPS: usize = 16;

/// A source of addresses.
#[async_trait]
pub trait Names: Send + Sync {
    /// All addresses of a name, best first. The name is complete: no domain is to be tried after
    /// it.
    async fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// The names of the host: `/etc/hosts`, then DNS as resolv.conf(5) says.
///
/// The search list of resolv.conf is not used. It would make another name of the one that the
/// policy allows. glibc leaves it out for a name that ends with a dot, and then does not find the
/// name in `/etc/hosts` either, so that file is read here.
pub struct SystemNames {
    hosts: PathBuf,
    lookups: Arc<Semaphore>,
}

impl Default for SystemNames {
    fn default() -> Self {
        Self::with_hosts(Path::new("/etc/hosts"))
    }
}

impl SystemNames {
    /// Reads this file in place of `/etc/hosts`.
    #[must_use]
    pub fn with_hosts(hosts: &Path) -> Self {
        Self {
            hosts: hosts.to_owned(),
            lookups: Arc::new(Semaphore::new(LOOKUPS)),
        }
    }
}

#[async_trait]
impl Names for SystemNames {
    async fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let turn = Arc::clone(&self.lookups).acquire_owned().await;
        let (hosts, name) = (self.hosts.clone(), name.to_owned());
        // A caller that has waited long enough leaves, the thread cannot: it keeps its turn.
        let lookup = move || {
            let _turn = turn;
            let listed = std::fs::read_to_string(hosts).unwrap_or_default();
            match listed_in(&listed, &name) {
                listed if listed.is_empty() => asked(&name),
                listed => Ok(listed),
            }
        };
        tokio::task::spawn_blocking(lookup).await?
    }
}

/// Asks DNS.
fn asked(name: &str) -> io::Result<Vec<IpAddr>> {
    let addresses = (format!("{name}."), 0).to_socket_addrs()?;
    Ok(addresses.map(|address: SocketAddr| address.ip()).collect())
}

/// The addresses that hosts(5) has for a name.
fn listed_in(hosts: &str, name: &str) -> Vec<IpAddr> {
    let listed = hosts.lines().filter_map(|line| {
        let entry = line.split('#').next().unwrap_or_default();
        let mut words = entry.split_ascii_whitespace();
        let address = words.next()?.parse().ok()?;
        let is_it = |word: &str| word.eq_ignore_ascii_case(name);
        words.any(is_it).then_some(address)
    });
    listed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_hosts_is_read_as_hosts_5_says() {
        let hosts = "127.0.0.1 localhost\n\
                     # 10.0.0.1 git.example\n\
                     10.0.0.2\tGit.Example git # git.test\n\
                     fd00::2 git.example\n\
                     nonsense git.example\n\n";
        let expected: Vec<IpAddr> = vec!["10.0.0.2".parse().unwrap(), "fd00::2".parse().unwrap()];
        assert_eq!(listed_in(hosts, "git.example"), expected);
        assert_eq!(listed_in(hosts, "git"), expected[..1]);
        assert!(listed_in(hosts, "git.test").is_empty());
        assert!(listed_in(hosts, "example").is_empty());
    }

    #[tokio::test]
    async fn a_listed_name_needs_no_dns() {
        let directory = tempfile::tempdir().unwrap();
        let hosts = directory.path().join("hosts");
        std::fs::write(&hosts, "192.0.2.7 listed.test").unwrap();
        let names = SystemNames::with_hosts(&hosts);
        let found = names.addresses("listed.test").await.unwrap();
        assert_eq!(found, ["192.0.2.7".parse::<IpAddr>().unwrap()]);
    }
}
