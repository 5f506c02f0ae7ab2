//! The flags of limits.

use std::num::NonZeroU32;

use ipnet::IpNet;

use crate::http::client::TrustedProxies;
use crate::http::limits::Limits;

/// The flags of limits.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Limits")]
pub struct LimitArgs {
    /// Streams to serve at a time; further subscribers get a goodbye that says when to try again
    #[arg(long, default_value = "10000", value_name = "N")]
    pub max_subscribers: usize,

    /// Open connections on one port; further ones are closed at once
    #[arg(long, default_value = "20000", value_name = "N", value_parser = at_least_one)]
    max_connections: usize,

    /// Connections, and streams, of one client address. Clients of one IPv6 network of 64 bits count as one
    #[arg(long, default_value = "1000", value_name = "N", value_parser = at_least_one)]
    max_per_client: usize,

    /// Address or network of proxies, such as 10.0.0.0/8, whose X-Forwarded-For names the client; may be given several times
    #[arg(long = "trusted-proxy", env = "CALCULATOR_TRUSTED_PROXY", value_name = "NETWORK", value_delimiter = ',')]
    #[arg(value_parser = network)]
    trusted_proxies: Vec<IpNet>,

    /// Concurrent calls on one HTTP/2 connection
    #[arg(long, default_value = "1024", value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_calls_per_connection: u32,

    /// Operations a second that all callers together may submit
    #[arg(long, default_value = "100000", value_name = "N")]
    max_submits: NonZeroU32,

    /// Operations a second that one producer may submit, or one client address if it names no producer
    #[arg(long, default_value = "10000", value_name = "N")]
    max_submits_per_producer: NonZeroU32,

    /// Bytes in the head of a request (8192 to 1048576)
    #[arg(long, default_value = "16384", value_name = "BYTES")]
    #[arg(value_parser = clap::value_parser!(u32).range(8_192..=1_048_576))]
    max_head_bytes: u32,

    /// Bytes in a request (1024 to 67108864)
    #[arg(long, default_value = "65536", value_name = "BYTES")]
    #[arg(value_parser = clap::value_parser!(u32).range(1_024..=67_108_864))]
    max_request_bytes: u32,

    /// Bytes that all streams together may hold until their connections take them, as far as 4 KiB for each allow (1048576
    /// to 4294967295)
    #[arg(long, default_value = "25165824", value_name = "BYTES")]
    #[arg(value_parser = clap::value_parser!(u32).range(1_048_576..))]
    max_send_buffers: u32,
}

impl LimitArgs {
    pub(super) fn limits(&self) -> Limits {
        Limits {
            connections: self.max_connections,
            per_client: self.max_per_client,
            calls: self.max_calls_per_connection,
            head_bytes: self.max_head_bytes,
            request_bytes: self.max_request_bytes as usize,
            submits: self.max_submits,
            submits_of_one: self.max_submits_per_producer,
            send_buffers: self.max_send_buffers as usize,
            ..Limits::default()
        }
    }

    pub(super) fn trusted_proxies(&self) -> TrustedProxies {
        TrustedProxies::new(self.trusted_proxies.clone())
    }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|number| *number > 0).ok_or_else(|| "choose a whole number, at least 1".to_owned())
}

/// A network, or an address alone.
fn network(text: &str) -> Result<IpNet, String> {
    let address = || text.parse().map(|address: std::net::IpAddr| address.into());
    text.parse()
        .or_else(|_| address())
        .map_err(|_| "give an address or a network, such as 10.0.0.0/8 or ::1".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn without_flags_the_limits_are_the_defaults() {
        let args = Cli::try_parse_from(["calculator-leader"]).unwrap().lead.limits;
        assert_eq!(args.limits(), Limits::default());
    }

    #[test]
    fn numbers_out_of_range_and_texts_that_are_no_network_are_refused() {
        for flags in [
            ["--max-connections", "0"],
            ["--max-per-client", "0"],
            ["--max-calls-per-connection", "0"],
            ["--max-submits", "0"],
            ["--max-submits-per-producer", "-1"],
            ["--max-head-bytes", "10"],
            ["--max-request-bytes", "1e9"],
            ["--max-send-buffers", "0"],
            ["--trusted-proxy", "proxy.example"],
            ["--trusted-proxy", "10.0.0.0/33"],
        ] {
            assert!(Cli::try_parse_from(["calculator-leader"].iter().chain(&flags)).is_err(), "{flags:?}");
        }
        let flags = ["calculator-leader", "--trusted-proxy", "10.0.0.0/8,::1", "--trusted-proxy", "192.0.2.7"];
        let proxies = Cli::try_parse_from(flags).unwrap().lead.limits.trusted_proxies();
        for trusted in ["10.9.8.7", "::1", "192.0.2.7"] {
            assert!(proxies.trust(trusted.parse().unwrap()), "{trusted}");
        }
        assert!(!proxies.trust("192.0.2.8".parse().unwrap()));
    }
}
