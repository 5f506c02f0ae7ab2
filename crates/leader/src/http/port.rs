//! The ports that a leader serves: what is spoken and what is answered on each.

use std::net::SocketAddr;

use anyhow::bail;
use tokio::net::TcpListener;

use super::listen::{Listen, Scheme};
use super::tls::{Tls, TlsFiles};

/// A port.
#[derive(Debug)]
pub struct Port {
    pub(crate) listener: TcpListener,
    /// `None`: cleartext.
    pub(crate) tls: Option<Tls>,
    pub(crate) answers: Answers,
}

/// What a port answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answers {
    /// Calls, the page, health, and metrics unless another port has them.
    Everyone,
    /// Metrics and health.
    Operators,
}

/// All ports of a leader.
#[derive(Debug)]
pub struct Ports(pub(crate) Vec<Port>);

impl From<TcpListener> for Ports {
    /// One cleartext port for everything.
    fn from(listener: TcpListener) -> Self {
        Self(vec![Port { listener, tls: None, answers: Answers::Everyone }])
    }
}

impl Ports {
    /// Listens on each of `listen`, with TLS if there are `files` and it does not ask for cleartext, and on `admin` in
    /// cleartext for operators.
    ///
    /// # Errors
    ///
    /// If a file cannot be used, a port is taken, or a port asks for what there is not.
    pub async fn bind(listen: &[Listen], files: Option<TlsFiles>, admin: Option<&Listen>) -> anyhow::Result<Self> {
        let uses_tls = |listen: &Listen| match listen.scheme() {
            Some(scheme) => scheme == Scheme::Https,
            None => files.is_some(),
        };
        if files.is_none()
            && let Some(listen) = listen.iter().chain(admin).find(|listen| uses_tls(listen))
        {
            bail!("https://{listen} needs --tls-cert and --tls-key");
        }
        if files.is_some() && !listen.iter().any(uses_tls) {
            bail!(
                "--tls-cert has no use: each --listen asks for cleartext; leave http:// out of the one that speaks TLS"
            );
        }
        let tls = files.clone().map(Tls::load).transpose()?;
        let mut ports = Vec::new();
        for listen in listen {
            let tls = tls.clone().filter(|_| uses_tls(listen));
            ports.push(Port { listener: listen.bind().await?, tls, answers: Answers::Everyone });
        }
        if let Some(admin) = admin {
            let tls = tls.filter(|_| admin.scheme() == Some(Scheme::Https));
            ports.push(Port { listener: admin.bind().await?, tls, answers: Answers::Operators });
        }
        Ok(Self(ports))
    }

    /// Where the ports are, in the order in which they were given.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.0.iter().filter_map(Port::address).collect()
    }

    pub(crate) fn have_one_for_operators(&self) -> bool {
        self.0.iter().any(|port| port.answers == Answers::Operators)
    }

    /// The address of a port for everyone on which what is sent can be read by other machines.
    #[must_use]
    pub fn exposed(&self) -> Option<SocketAddr> {
        let cleartext = self.0.iter().filter(|port| port.answers == Answers::Everyone && port.tls.is_none());
        cleartext.filter_map(Port::address).find(|address| !address.ip().is_loopback())
    }

    /// Whether all ports for everyone are reached from this machine only.
    pub(crate) fn are_local(&self) -> bool {
        self.0
            .iter()
            .filter(|port| port.answers == Answers::Everyone)
            .all(|port| port.address().is_some_and(|address| address.ip().is_loopback()))
    }
}

impl Port {
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.listener.local_addr().ok()
    }

    pub(crate) fn scheme(&self) -> Scheme {
        if self.tls.is_some() { Scheme::Https } else { Scheme::Http }
    }
}
