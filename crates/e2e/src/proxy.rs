//! nginx and HAProxy in front of a leader.

use std::fs;
use std::net::SocketAddr;

use anyhow::{Context, bail};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::process::{Program, START, free_address, installed};

/// The time without data after which the proxies close a connection, in seconds. Their defaults are a minute.
pub const TIMEOUT_SECONDS: u32 = 3;

/// A running nginx or HAProxy. It ends when this is dropped.
#[derive(Debug)]
pub struct Proxy {
    program: Program,
    /// Takes HTTP/1.1, with the proxy's default settings.
    pub http: SocketAddr,
    /// Takes cleartext HTTP/2, for native replicas.
    pub http2: SocketAddr,
    /// Takes HTTP/1.1 and passes on the client's `Host`.
    pub keeps_host: SocketAddr,
    /// Like `http` and `http2`, but below `/calc/` only; there is nothing at the root.
    pub below: Option<[SocketAddr; 2]>,
    /// Holds the configuration and the proxy's files; deleted with it.
    _directory: TempDir,
}

impl Proxy {
    /// Starts nginx in front of `leader`.
    ///
    /// # Errors
    ///
    /// If it is not installed or does not start.
    pub async fn nginx(leader: SocketAddr) -> anyhow::Result<Self> {
        let nginx = installed("NGINX", &["nginx"])?;
        let (directory, [http, http2, keeps_host, below_http, below_http2]) = prepare()?;
        let here = directory.path().display();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {here}/{kind};\n"))
            .concat();
        let configuration = format!(
            r"
            # One process, so that killing it leaves nothing behind.
            master_process off;
            daemon off;
            pid {here}/pid;
            error_log stderr warn;
            events {{ worker_connections 256; }}
            http {{
                access_log off;
                {temporary}
                proxy_read_timeout {TIMEOUT_SECONDS}s;
                proxy_send_timeout {TIMEOUT_SECONDS}s;
                grpc_read_timeout {TIMEOUT_SECONDS}s;
                grpc_send_timeout {TIMEOUT_SECONDS}s;
                send_timeout {TIMEOUT_SECONDS}s;
                client_body_timeout {TIMEOUT_SECONDS}s;
                server {{
                    listen {http};
                    location / {{ proxy_pass http://{leader}; }}
                }}
                server {{
                    listen {below_http};
                    location / {{ return 404; }}
                    location /calc/ {{ proxy_pass http://{leader}/; }}
                }}
                server {{
                    listen {http2} http2;
                    location / {{ grpc_pass grpc://{leader}; }}
                }}
                server {{
                    listen {below_http2} http2;
                    location / {{ return 404; }}
                    location /calc/ {{
                        rewrite ^/calc(/.*)$ $1 break;
                        grpc_pass grpc://{leader};
                    }}
                }}
                server {{
                    listen {keeps_host};
                    location / {{
                        proxy_set_header Host $host;
                        proxy_pass http://{leader};
                    }}
                }}
            }}"
        );
        let file = directory.path().join("nginx.conf");
        fs::write(&file, configuration)?;
        let mut command = Command::new(nginx);
        command.arg("-e").arg("stderr").arg("-p").arg(directory.path()).arg("-c").arg(&file);
        let below = Some([below_http, below_http2]);
        let program = Program::spawn(&mut command)?;
        Self { program, http, http2, keeps_host, below, _directory: directory }.up().await
    }

    /// Starts HAProxy in front of `leader`.
    ///
    /// # Errors
    ///
    /// If it is not installed or does not start.
    pub async fn haproxy(leader: SocketAddr) -> anyhow::Result<Self> {
        let haproxy = installed("HAPROXY", &["haproxy"])?;
        let (directory, [http, http2, keeps_host, ..]) = prepare()?;
        let configuration = format!(
            "
global
    maxconn 256
defaults
    mode http
    timeout connect {TIMEOUT_SECONDS}s
    timeout client {TIMEOUT_SECONDS}s
    timeout server {TIMEOUT_SECONDS}s
frontend page
    bind {http}
    bind {keeps_host}
    default_backend leader
frontend native
    bind {http2} proto h2
    default_backend leader_h2
backend leader
    server leader {leader}
backend leader_h2
    server leader {leader} proto h2
"
        );
        let file = directory.path().join("haproxy.cfg");
        fs::write(&file, configuration)?;
        let mut command = Command::new(haproxy);
        // Without a master process, in the foreground.
        command.arg("-db").arg("-f").arg(&file);
        let program = Program::spawn(&mut command)?;
        Self { program, http, http2, keeps_host, below: None, _directory: directory }.up().await
    }

    /// Waits until it listens on all its addresses.
    async fn up(self) -> anyhow::Result<Self> {
        let listening = async {
            for address in [self.http, self.http2, self.keeps_host] {
                while TcpStream::connect(address).await.is_err() {
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                }
            }
        };
        if tokio::time::timeout(START, listening).await.is_err() {
            bail!("the proxy does not listen:\n{}", self.program.lines().join("\n"));
        }
        Ok(self)
    }
}

fn prepare() -> anyhow::Result<(TempDir, [SocketAddr; 5])> {
    let mut addresses = [SocketAddr::from(([127, 0, 0, 1], 0)); 5];
    for address in &mut addresses {
        *address = free_address()?;
    }
    Ok((tempfile::tempdir().context("cannot create a folder for a proxy's files")?, addresses))
}
