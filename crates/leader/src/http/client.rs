//! Who a client is, by its address, and how much one address may have.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::HeaderMap;
use ipnet::IpNet;

/// Where proxies write who called them, one after the other.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// The client of a request. The server adds it to the extensions of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Client(IpAddr);

impl Client {
    /// The client at `address`. Clients of one IPv6 network of 64 bits count as one, because a host can have all of its
    /// addresses.
    #[must_use]
    pub fn at(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
            address => address,
        })
    }
}

/// The proxies whose word is taken for who called them. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Arc<Vec<IpNet>>);

impl TrustedProxies {
    /// Trusts proxies with an address in one of `networks`.
    #[must_use]
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self(Arc::new(networks))
    }

    pub(crate) fn trust(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The client of a request that came from `peer`: the last address in `x-forwarded-for` that is no trusted proxy. What
    /// stands before it could be anybody's invention.
    pub(crate) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> Client {
        let mut client = peer;
        if self.trust(peer) {
            let lines = headers.get_all(FORWARDED_FOR).iter().filter_map(|line| line.to_str().ok());
            let named: Vec<&str> = lines.flat_map(|line| line.split(',')).collect();
            for named in named.into_iter().rev() {
                let Some(address) = address(named.trim()) else { break };
                client = address;
                if !self.trust(address) {
                    break;
                }
            }
        }
        Client::at(client)
    }
}

/// An address, maybe with a port, as proxies write it.
fn address(text: &str) -> Option<IpAddr> {
    let with_port = || text.parse().map(|address: std::net::SocketAddr| address.ip()).ok();
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    text.parse().ok().or_else(with_port).or_else(bracketed)
}

/// Counts what clients have open. Cheap to clone: all clones are the same.
#[derive(Clone, Debug)]
pub struct PerClient {
    limit: usize,
    /// A std lock: held for one look-up. Holds only clients that have something open.
    open: Arc<Mutex<BTreeMap<Client, usize>>>,
}

/// One of what a client has open, until it is dropped.
#[derive(Debug)]
pub struct Admitted {
    client: Client,
    open: Arc<Mutex<BTreeMap<Client, usize>>>,
}

impl PerClient {
    /// Admits at most `limit` for each client.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, open: Arc::default() }
    }

    /// Admits one more of `client`, unless it has as many as it may.
    pub fn admit(&self, client: Client) -> Option<Admitted> {
        let mut open = locked(&self.open);
        let count = open.entry(client).or_default();
        if *count >= self.limit {
            return None;
        }
        *count += 1;
        drop(open);
        Some(Admitted { client, open: Arc::clone(&self.open) })
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut open = locked(&self.open);
        if let Some(count) = open.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.client);
            }
        }
    }
}

fn locked(open: &Mutex<BTreeMap<Client, usize>>) -> MutexGuard<'_, BTreeMap<Client, usize>> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn client(peer: &str, forwarded: &[&str]) -> Client {
        let proxies = TrustedProxies::new(vec!["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()]);
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append(FORWARDED_FOR, HeaderValue::from_str(line).unwrap());
        }
        proxies.client(peer.parse().unwrap(), &headers)
    }

    #[test]
    fn the_client_is_the_last_address_that_no_trusted_proxy_has() {
        let at = |address: &str| Client::at(address.parse().unwrap());
        for (peer, forwarded, expected) in [
            ("192.0.2.1", &[][..], "192.0.2.1"),
            // Whoever is no trusted proxy cannot be somebody else.
            ("192.0.2.1", &["198.51.100.7"], "192.0.2.1"),
            ("10.1.2.3", &[], "10.1.2.3"),
            ("10.1.2.3", &["198.51.100.7"], "198.51.100.7"),
            ("::ffff:10.1.2.3", &["198.51.100.7"], "198.51.100.7"),
            ("10.1.2.3", &["203.0.113.9, 198.51.100.7"], "198.51.100.7"),
            ("10.1.2.3", &["203.0.113.9", "198.51.100.7,10.4.5.6"], "198.51.100.7"),
            ("10.1.2.3", &["10.4.5.6"], "10.4.5.6"),
            ("::1", &["198.51.100.7:4711"], "198.51.100.7"),
            ("::1", &["[2001:db8::7]:4711"], "2001:db8::"),
            ("::1", &["198.51.100.7, [2001:db8::7]"], "2001:db8::"),
            // What cannot be understood ends the search.
            ("10.1.2.3", &["203.0.113.9, unknown"], "10.1.2.3"),
            ("10.1.2.3", &["203.0.113.9, nonsense, 10.4.5.6"], "10.4.5.6"),
        ] {
            assert_eq!(client(peer, forwarded), at(expected), "{peer} {forwarded:?}");
        }
    }

    #[test]
    fn addresses_of_one_network_count_as_one_client() {
        let at = |address: &str| Client::at(address.parse().unwrap());
        assert_eq!(at("2001:db8:0:1::1"), at("2001:db8:0:1:ffff::"));
        assert_ne!(at("2001:db8:0:1::1"), at("2001:db8:0:2::1"));
        assert_eq!(at("::ffff:192.0.2.1"), at("192.0.2.1"));
        assert_ne!(at("192.0.2.1"), at("192.0.2.2"));
    }

    #[test]
    fn a_client_has_at_most_its_share_and_gets_it_back() {
        let counted = PerClient::new(2);
        let (one, other) = (Client::at([192, 0, 2, 1].into()), Client::at([192, 0, 2, 2].into()));
        let first = counted.admit(one).unwrap();
        let _second = counted.admit(one).unwrap();
        assert!(counted.admit(one).is_none());
        let others = counted.admit(other);
        assert!(others.is_some());
        drop(first);
        assert!(counted.admit(one).is_some());
        drop(others);
        assert_eq!(locked(&counted.open).len(), 1, "clients without anything open are forgotten");
    }
}
