//! The address to listen on, as `--listen` takes it.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use tokio::net::{TcpListener, lookup_host};

/// A host and a port. A port alone means the loopback address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// What is spoken there, if it was given as `http://` or `https://`.
    scheme: Option<Scheme>,
    host: String,
    port: u16,
}

/// What is spoken on a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Cleartext.
    Http,
    /// TLS.
    Https,
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "http",
            Self::Https => "https",
        })
    }
}

impl Listen {
    /// The host, as it was given: a name or an address.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// What is spoken there, if that was given.
    #[must_use]
    pub fn scheme(&self) -> Option<Scheme> {
        self.scheme
    }

    /// Listens on the first address of the host that is free.
    ///
    /// # Errors
    ///
    /// If none is free; the error lists each address that was tried.
    pub async fn bind(&self) -> anyhow::Result<TcpListener> {
        const ADVICE: &str = "choose another address or port with --listen, such as 127.0.0.1:8080 or 0.0.0.0:8080";

        let found = lookup_host((self.host.as_str(), self.port)).await;
        let found = found.map_err(|error| anyhow::anyhow!("cannot listen on {self}: {error}; {ADVICE}"))?;
        let mut addresses: Vec<SocketAddr> = found.collect();
        // Replicas call 127.0.0.1 by default, and names of this machine often resolve to ::1 too.
        addresses.sort_by_key(SocketAddr::is_ipv6);
        addresses.dedup();
        let mut refusals = Vec::new();
        for address in &addresses {
            match TcpListener::bind(address).await {
                Ok(listener) => return Ok(listener),
                Err(error) => refusals.push(if addresses.len() == 1 && address.to_string() == self.to_string() {
                    error.to_string()
                } else {
                    format!("{address}: {error}")
                }),
            }
        }
        anyhow::bail!("cannot listen on {self}: {}; {ADVICE}", refusals.join("; "))
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.parse() {
            Ok(IpAddr::V6(host)) => write!(f, "[{host}]:{}", self.port),
            _ => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// Why a text is not an address to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidListen {
    /// The text before `://` is not a scheme of ours.
    #[error("write no scheme, or http:// for cleartext, or https:// for TLS, as in https://0.0.0.0:8443")]
    Scheme,
    /// There is no port.
    #[error("there is no port; write it as in localhost:8080, 0.0.0.0:8080, [::1]:8080 or 8080")]
    NoPort,
    /// The port is not a number up to 65535.
    #[error("the port must be a number from 0 to 65535, as in localhost:8080")]
    Port,
    /// The host is neither a name nor an address.
    #[error("the host must be a name or an address, as in localhost:8080, 0.0.0.0:8080 or [::1]:8080")]
    Host,
}

impl FromStr for Listen {
    type Err = InvalidListen;

    fn from_str(text: &str) -> Result<Self, InvalidListen> {
        let (scheme, text) = match text.split_once("://") {
            Some(("http", rest)) => (Some(Scheme::Http), rest),
            Some(("https", rest)) => (Some(Scheme::Https), rest),
            Some(_) => return Err(InvalidListen::Scheme),
            None => (None, text),
        };
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let (host, port) = if is_number { ("", text) } else { text.rsplit_once(':').ok_or(InvalidListen::NoPort)? };
        // In an IPv6 address without brackets, the last group looks like a port.
        if text.parse::<Ipv6Addr>().is_ok() || text.ends_with(']') {
            return Err(InvalidListen::NoPort);
        }
        let port = port.parse().ok().filter(|_| !port.starts_with('+')).ok_or(InvalidListen::Port)?;
        let host = match host.strip_prefix('[').map(|host| host.strip_suffix(']')) {
            Some(Some(host)) => host.parse::<Ipv6Addr>().map_err(|_| InvalidListen::Host)?.to_string(),
            Some(None) => return Err(InvalidListen::Host),
            None if host.is_empty() => Ipv4Addr::LOCALHOST.to_string(),
            None if host.contains(|c: char| !(c.is_alphanumeric() || "-._".contains(c))) => {
                return Err(InvalidListen::Host);
            }
            None => host.to_owned(),
        };
        Ok(Self { scheme, host, port })
    }
}

/// The address at which a browser on this machine finds what listens on `address`.
#[must_use]
pub fn url(scheme: Scheme, address: SocketAddr) -> String {
    format!("{scheme}://{}", loopback_if_unspecified(address))
}

/// Where a program on this machine reaches what listens on `address`.
#[must_use]
pub fn loopback_if_unspecified(address: SocketAddr) -> SocketAddr {
    let host = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(host, address.port())
}

/// What to do when connections cannot be accepted.
#[must_use]
pub fn advice(error: &io::Error) -> &'static str {
    match error.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
        Some(rustix::io::Errno::MFILE) => "this process has reached its limit of open files: raise `ulimit -n`",
        Some(rustix::io::Errno::NFILE) => "the system has reached its limit of open files",
        _ => "trying again",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_to_listen_on_are_parsed() {
        for (text, scheme, host) in [
            ("https://0.0.0.0:8443", Some(Scheme::Https), "0.0.0.0:8443"),
            ("http://8080", Some(Scheme::Http), "127.0.0.1:8080"),
            ("localhost:1", None, "localhost:1"),
        ] {
            let listen: Listen = text.parse().unwrap();
            assert_eq!((listen.scheme(), listen.to_string().as_str()), (scheme, host), "{text}");
        }
        for (text, parsed) in [
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("localhost:8080", "localhost:8080"),
            ("my-host.example:0", "my-host.example:0"),
            (":8080", "127.0.0.1:8080"),
            ("8080", "127.0.0.1:8080"),
            ("[::1]:8080", "[::1]:8080"),
            ("[::]:8080", "[::]:8080"),
        ] {
            assert_eq!(text.parse::<Listen>().unwrap().to_string(), parsed, "{text}");
        }
    }

    #[test]
    fn other_texts_are_refused_with_an_example() {
        for (text, problem) in [
            ("", InvalidListen::NoPort),
            ("localhost", InvalidListen::NoPort),
            ("127.0.0.1", InvalidListen::NoPort),
            ("::1", InvalidListen::NoPort),
            ("[::1]", InvalidListen::NoPort),
            ("localhost:", InvalidListen::Port),
            ("localhost:http", InvalidListen::Port),
            ("localhost:70000", InvalidListen::Port),
            ("70000", InvalidListen::Port),
            (":+80", InvalidListen::Port),
            ("ftp://localhost:8080", InvalidListen::Scheme),
            ("HTTP://localhost:8080", InvalidListen::Scheme),
            ("http://localhost:8080/calc", InvalidListen::Port),
            ("https://localhost", InvalidListen::NoPort),
            ("::1:8080x:80", InvalidListen::Host),
            ("[localhost]:80", InvalidListen::Host),
            ("[::1:80", InvalidListen::Host),
            ("a b:80", InvalidListen::Host),
        ] {
            assert_eq!(text.parse::<Listen>(), Err(problem), "{text}");
            let example = if problem == InvalidListen::Scheme { "https://0.0.0.0:8443" } else { "localhost:8080" };
            assert!(problem.to_string().contains(example));
        }
    }

    #[test]
    fn the_address_of_the_page_opens_in_a_browser() {
        let url = |address: &str| url(Scheme::Http, address.parse().unwrap());
        assert_eq!(super::url(Scheme::Https, "0.0.0.0:8443".parse().unwrap()), "https://127.0.0.1:8443");
        assert_eq!(url("127.0.0.1:8080"), "http://127.0.0.1:8080");
        assert_eq!(url("192.0.2.1:80"), "http://192.0.2.1:80");
        assert_eq!(url("0.0.0.0:8080"), "http://127.0.0.1:8080");
        assert_eq!(url("[::]:8080"), "http://[::1]:8080");
    }

    #[tokio::test]
    async fn names_are_resolved_and_each_address_is_tried() {
        let listener = "localhost:0".parse::<Listen>().unwrap().bind().await.unwrap();
        assert!(listener.local_addr().unwrap().ip().is_loopback());
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = Listen { scheme: None, host: "127.0.0.1".to_owned(), port }.bind().await.unwrap_err().to_string();
        assert!(error.starts_with(&format!("cannot listen on 127.0.0.1:{port}: Address")), "{error}");
        let error = Listen { scheme: None, host: "no-such-host.invalid".to_owned(), port: 1 }
            .bind()
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("no-such-host.invalid:1") && error.contains("--listen"), "{error}");
    }
}
