//! The address of a leader, as people give it.

use std::net::IpAddr;
use std::str::FromStr;

use http::Uri;
use thiserror::Error;

/// The port that leaders listen on by default. A URL without a port means 80, as everywhere.
const DEFAULT_PORT: u16 = 8080;

/// The address of a leader: `http://HOST[:PORT][/PATH]`, or `https://` with TLS. A proxy may serve the leader below a path.
///
/// `HOST:PORT` is enough for a leader without TLS. A `HOST` alone means port 8080, which is the leader's default, and a `PORT`
/// alone means this machine.
///
/// ```
/// use follower::{Address, AddressProblem};
///
/// let address: Address = "localhost".parse()?;
/// assert_eq!(address.uri(), "http://localhost:8080/");
///
/// let error = "ftp://localhost".parse::<Address>().unwrap_err();
/// assert_eq!(error.problem, AddressProblem::Scheme);
/// # Ok::<(), follower::InvalidAddress>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address(Uri);

/// A text cannot be used as the address of a leader.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{address:?} cannot be used as the address of a leader: {problem}")]
pub struct InvalidAddress {
    /// The text, without a user name and password.
    pub address: String,
    /// What is wrong with it.
    pub problem: AddressProblem,
}

impl InvalidAddress {
    pub(crate) fn new(address: &str, problem: AddressProblem) -> Self {
        Self { address: without_credentials(address), problem }
    }
}

/// Why an address is refused. The message says what to give instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AddressProblem {
    /// It has no host.
    #[error("give a host and a port such as localhost:8080, or a URL such as http://127.0.0.1:8080")]
    NotAUrl,
    /// It needs TLS, but nothing is known to verify the leader with.
    #[error(
        "this system has no root certificates: install them (Debian: ca-certificates), or give those of the leader"
    )]
    NoRoots,
    /// It has another scheme.
    #[error("it has to begin with http:// or https://")]
    Scheme,
    /// The port is not a number from 1 to 65,535.
    #[error("the port has to be a number from 1 to 65535")]
    Port,
    /// It holds a user name.
    #[error("a leader takes no user name or password: leave out what is before the @")]
    Credentials,
    /// It has a query.
    #[error("leave out the ? and what follows it")]
    Query,
    /// It has a fragment.
    #[error("leave out the # and what follows it")]
    Fragment,
}

impl Address {
    /// The address as a URI, whose path has no slash at its end.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.0
    }

    /// Whether what is sent can be read on its way by other machines.
    #[must_use]
    pub fn is_exposed(&self) -> bool {
        let host = self.0.host().unwrap_or_default();
        let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
        let local = host == "localhost" || host.ends_with(".localhost") || address.is_ok_and(|ip| ip.is_loopback());
        self.0.scheme_str() != Some("https") && !local
    }
}

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(address: &str) -> Result<Self, Self::Err> {
        parse(address).map(Self).map_err(|problem| InvalidAddress::new(address, problem))
    }
}

fn parse(address: &str) -> Result<Uri, AddressProblem> {
    let (scheme, rest) = address.split_once("://").unwrap_or(("http", address));
    let bare = rest.len() == address.len();
    let scheme = scheme.to_ascii_lowercase();
    if scheme != "http" && scheme != "https" {
        return Err(AddressProblem::Scheme);
    }
    // `Uri` drops a fragment, and ignores a port that it cannot parse.
    if rest.contains('#') {
        return Err(AddressProblem::Fragment);
    }
    if rest.contains('?') {
        return Err(AddressProblem::Query);
    }
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if authority.contains('@') {
        return Err(AddressProblem::Credentials);
    }
    // A number alone is a port of this machine, as in the leader's flags. As a host it would mean an address such as
    // 0.0.70.180.
    if bare && let Ok(port) = rest.parse::<u16>() {
        return format!("http://127.0.0.1:{port}").parse().map_err(|_| AddressProblem::NotAUrl);
    }
    let path = path.trim_end_matches('/');
    let uri: Uri = format!("{scheme}://{authority}{path}").parse().map_err(|_| AddressProblem::NotAUrl)?;
    let host = uri.host().filter(|host| !host.is_empty()).ok_or(AddressProblem::NotAUrl)?;
    match authority.strip_prefix(host) {
        Some("") if bare => format!("http://{host}:{DEFAULT_PORT}{path}").parse().map_err(|_| AddressProblem::NotAUrl),
        Some("") => Ok(uri),
        Some(port) if port.strip_prefix(':').and_then(|port| port.parse().ok()).is_some_and(|port: u16| port > 0) => {
            Ok(uri)
        }
        _ => Err(AddressProblem::Port),
    }
}

/// The address without what stands before its last `@`: messages end up in logs, where no password belongs.
fn without_credentials(address: &str) -> String {
    let start = address.find("://").map_or(0, |at| at + 3);
    let end = address[start..].find(['/', '?', '#']).map_or(address.len(), |at| start + at);
    match address[start..end].rfind('@') {
        Some(at) => format!("{}…{}", &address[..start], &address[start + at..]),
        None => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_a_port_and_a_path() {
        for (address, uri) in [
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080/"),
            ("http://leader", "http://leader/"),
            ("HTTP://leader:80/", "http://leader:80/"),
            ("https://leader", "https://leader/"),
            ("HTTPS://leader:8443/calc/", "https://leader:8443/calc"),
            ("http://[::1]:8080", "http://[::1]:8080/"),
            ("http://example.com/calc", "http://example.com/calc"),
            ("127.0.0.1:8080", "http://127.0.0.1:8080/"),
            ("leader:9000/calc", "http://leader:9000/calc"),
            ("leader", "http://leader:8080/"),
            ("9000", "http://127.0.0.1:9000/"),
            ("[::1]", "http://[::1]:8080/"),
            ("http://example.com:81/a/b%20c//", "http://example.com:81/a/b%20c"),
        ] {
            assert_eq!(address.parse::<Address>().unwrap().uri(), uri, "{address}");
        }
    }

    #[test]
    fn an_address_that_cannot_be_used_is_refused_with_the_problem() {
        use AddressProblem::{Credentials, Fragment, NotAUrl, Port, Query, Scheme};
        for (address, problem) in [
            ("", NotAUrl),
            (":8080", NotAUrl),
            ("user@leader:8080", Credentials),
            ("http://", NotAUrl),
            ("http://:8080", NotAUrl),
            ("http:///calc", NotAUrl),
            ("http://a b", NotAUrl),
            ("https://", NotAUrl),
            ("https://example.com:0", Port),
            ("ftp://example.com", Scheme),
            ("http://example.com:", Port),
            ("http://example.com:0", Port),
            ("http://example.com:99999", Port),
            ("http://user:pw@example.com", Credentials),
            ("http://@example.com", Credentials),
            ("http://example.com/calc?x=1", Query),
            ("http://example.com?", Query),
            ("http://example.com/#f", Fragment),
        ] {
            let error = address.parse::<Address>().unwrap_err();
            assert_eq!(error.problem, problem, "{address}");
        }
    }

    #[test]
    fn cleartext_to_another_machine_is_exposed() {
        let exposed = |address: &str| address.parse::<Address>().unwrap().is_exposed();
        for address in
            ["8080", "localhost", "http://127.3.2.1/calc", "http://[::1]:80", "a.localhost", "https://a.example"]
        {
            assert!(!exposed(address), "{address}");
        }
        for address in ["leader", "http://192.0.2.1", "http://localhost.example", "http://[2001:db8::1]"] {
            assert!(exposed(address), "{address}");
        }
    }

    #[test]
    fn a_refusal_does_not_repeat_a_password() {
        let error = "http://user:pw@d@example.com/calc".parse::<Address>().unwrap_err();
        assert_eq!(error.address, "http://…@example.com/calc");
        let error = "ftp://user:secret@example.com".parse::<Address>().unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
