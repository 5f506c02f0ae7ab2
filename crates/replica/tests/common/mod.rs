//! A leader in this process.
#![allow(unreachable_pub, reason = "a module of each test binary")]

use std::num::NonZeroU64;
use std::time::Duration;

use leader::config::{Config, Generator, Storage};
use leader::http::access::Access;
use leader::http::limits::Limits;
use tokio::net::TcpListener;

/// Starts a leader that serves until the test ends, and returns its URL.
pub async fn leader(generator: Generator) -> String {
    let config = Config {
        storage: Storage::Memory,
        generator,
        count: None,
        seed: 1,
        control: None,
        max_rate: 1_000,
        retain: NonZeroU64::new(1_000_000).unwrap(),
        retain_bytes: None,
        heartbeat_interval: Duration::from_millis(200),
        max_subscribers: 100,
        access: Access::default(),
        tokens: Default::default(),
        lines: None,
        traces: Default::default(),
        trusted_proxies: Default::default(),
        limits: Limits::default(),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(leader::run(config, listener, std::future::pending()));
    url
}
