//! The flags of limits.

use std::num::NonZeroU32;

use bytesize::ByteSize;
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

    /// Open connections; further ones are closed at once. Those of --admin-listen are not refused
    #[arg(long, default_value = "20000", value_name = "N", value_parser = at_least_one)]
    max_connections: usize,

    /// Connections, and streams, of one client address (those that watch the replicas are streams, too). Clients of one IPv6 network of 64 bits count as one
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

    /// Size of a request's head (8KiB to 1MiB)
    #[arg(long, default_value = "16KiB", value_name = "SIZE", value_parser = size::<{ 8 << 10 }, { 1 << 20 }>)]
    max_head_bytes: u32,

    /// Size of a request (1KiB to 64MiB)
    #[arg(long, default_value = "64KiB", value_name = "SIZE", value_parser = size::<{ 1 << 10 }, { 64 << 20 }>)]
    max_request_bytes: u32,

    /// Memory for what all streams together hold until their connections take it; 4 KiB for each stream if that is more
    /// (1MiB to 2GiB)
    #[arg(long, default_value = "24MiB", value_name = "SIZE", value_parser = size::<{ 1 << 20 }, { 2 << 30 }>)]
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

/// A size in bytes, from `MIN` to `MAX`.
fn size<const MIN: u32, const MAX: u32>(text: &str) -> Result<u32, String> {
    let size: ByteSize = text.parse().map_err(|_| "choose a size such as 64KiB or 65536".to_owned())?;
    let shown = |bytes: u32| ByteSize::b(bytes.into()).display().iec().to_string();
    let size = u32::try_from(size.as_u64()).ok().filter(|size| (MIN..=MAX).contains(size));
    size.ok_or_else(|| format!("choose from {} to {}", shown(MIN), shown(MAX)))
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
            ["--max-request-bytes", "1GiB"],
            ["--max-request-bytes", "many"],
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
