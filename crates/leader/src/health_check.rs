//! `calculator-leader health`: asks a leader whether it is healthy, for health checks where there is neither a shell nor curl.

use std::io::Write;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use crate::cli::tasks::HealthArgs;
use crate::http::listen::{Listen, Scheme, loopback_if_unspecified};

/// How long a leader may take to answer. A healthy one takes milliseconds; a machine that is overloaded takes longer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest answer that is read, in bytes.
const LONGEST_ANSWER: usize = 64 << 10;

/// Asks the leader at the address in `args`, and writes its answer to `out`.
///
/// # Errors
///
/// If it does not answer in time, or answers that it is not healthy.
pub fn check(args: &HealthArgs, out: &mut impl Write) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    let path = if args.write { "/healthz/write" } else { "/healthz" };
    let address = args.address.clone().map_or_else(configured, Ok)?;
    let answer = runtime.block_on(ask(&address, path))?;
    writeln!(out, "{answer}").context("cannot write the answer")
}

/// Where the leader of the same environment has a port without TLS.
fn configured() -> anyhow::Result<Listen> {
    let set = ["CALCULATOR_ADMIN_LISTEN", "CALCULATOR_LISTEN"].map(|name| std::env::var(name).unwrap_or_default());
    let ports = set.iter().flat_map(|ports| ports.split(',')).filter(|port| !port.is_empty());
    let ports: Vec<Listen> = ports.map(str::parse).collect::<Result<_, _>>()?;
    let cleartext = ports.into_iter().find(|port| port.scheme() != Some(Scheme::Https));
    cleartext.map_or_else(|| Ok("127.0.0.1:8080".parse()?), Ok)
}

/// The leader's answer, without the line break at its end.
async fn ask(address: &Listen, path: &str) -> anyhow::Result<String> {
    let (status, answer) = timeout(PATIENCE, get(address, path))
        .await
        .with_context(|| format!("the leader on {address} does not answer within {PATIENCE:?}"))?
        .with_context(|| format!("the leader on {address} does not answer"))?;
    if status != StatusCode::OK {
        bail!("the leader on {address} is not healthy ({status}): {answer}");
    }
    Ok(answer)
}

async fn get(address: &Listen, path: &str) -> anyhow::Result<(StatusCode, String)> {
    let mut addresses: Vec<_> = lookup_host(address.to_string()).await?.map(loopback_if_unspecified).collect();
    // As the leader does when it listens on a name.
    addresses.sort_by_key(|address| IpAddr::is_ipv6(&address.ip()));
    let stream = TcpStream::connect(&addresses[..]).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It ends with the runtime. If it fails, so does the request.
    tokio::spawn(connection);
    let request = Request::get(path).header(header::HOST, address.to_string()).body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = Limited::new(response.into_body(), LONGEST_ANSWER).collect().await;
    let body = body.map_err(|error| anyhow::anyhow!("its answer cannot be read: {error}"))?.to_bytes();
    Ok((status, String::from_utf8_lossy(&body).trim_end().to_owned()))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// What `ask` returns if a server answers with `answer`, and the request that the server got.
    async fn asked(answer: &str) -> (anyhow::Result<String>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: Listen = listener.local_addr().unwrap().to_string().parse().unwrap();
        let answer = answer.to_owned();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let length = stream.read(&mut request).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8_lossy(&request[..length]).into_owned()
        });
        let outcome = ask(&address, "/healthz/write").await;
        (outcome, server.await.unwrap())
    }

    #[tokio::test]
    async fn only_a_200_is_healthy_and_the_leaders_words_are_passed_on() {
        let (outcome, request) = asked("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n").await;
        assert_eq!(outcome.unwrap(), "ok");
        assert!(request.starts_with("GET /healthz/write HTTP/1.1\r\nhost: 127.0.0.1:"), "{request}");
        let (outcome, _) = asked("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 9\r\n\r\ndisk full").await;
        let error = outcome.unwrap_err().to_string();
        assert!(error.ends_with("is not healthy (503 Service Unavailable): disk full"), "{error}");
        let (outcome, _) = asked("SSH-2.0-x\r\n").await;
        assert!(outcome.unwrap_err().to_string().ends_with("does not answer"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_that_hangs_is_not_waited_for() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: Listen = listener.local_addr().unwrap().to_string().parse().unwrap();
        let error = ask(&address, "/healthz").await.unwrap_err().to_string();
        assert!(error.ends_with("does not answer within 5s"), "{error}");
    }
}
