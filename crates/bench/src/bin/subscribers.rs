//! Measures the memory that a leader needs for each subscriber.

use std::net::SocketAddr;

use anyhow::Context;
use bytes::Bytes;
use clap::Parser;
use e2e::process::{Leader, Program};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Measures a leader's resident memory before and after many native subscribers come, each with a connection of its own, while
/// nothing happens.
///
/// Build the leader first: cargo build --release -p leader
#[derive(Debug, Parser)]
struct Args {
    /// Subscribers
    #[arg(long, default_values_t = [1_000, 5_000])]
    count: Vec<u32>,
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "printing is what the program is for")]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    program::allow_many_files(8_192)?;
    println!("subscribers   before MiB    after MiB   KiB for each");
    for count in args.count {
        let flags = [
            "--ephemeral",
            "--no-generator",
            "--listen",
            "127.0.0.1:0",
            "--max-per-client",
            "100000",
            "--heartbeat-interval",
            "10s",
        ];
        let leader = Leader::up(Program::start("calculator-leader", &flags)?).await?;
        // What the first ones make the leader allocate for all.
        let warm = subscribe(leader.address, 20).await?;
        let before = leader.program.memory()?;
        let open = subscribe(leader.address, count).await?;
        let expected = count + 20;
        anyhow::ensure!(leader.status().await?.subscribers == expected, "not all subscribe");
        let after = leader.program.memory()?;
        let each = (after - before) / u64::from(count);
        println!(
            "{count:>11} {:>12.1} {:>12.1} {:>14.1}",
            mebibytes(before),
            mebibytes(after),
            f64::from(u32::try_from(each)?) / 1_024.0
        );
        drop((warm, open));
    }
    Ok(())
}

fn mebibytes(bytes: u64) -> f64 {
    f64::from(u32::try_from(bytes >> 10).unwrap_or(u32::MAX)) / 1_024.0
}

/// Opens streams, and waits for the first frame of each. They last until what is returned is dropped.
async fn subscribe(leader: SocketAddr, count: u32) -> anyhow::Result<JoinSet<anyhow::Result<()>>> {
    let mut open = JoinSet::new();
    for number in 0..count {
        let stream = TcpStream::connect(leader).await?;
        let (client, connection) = h2::client::handshake(stream).await?;
        open.spawn(async move { connection.await.context("the connection broke") });
        let request = http::Request::post("http://localhost/calculator.v1.CalculatorService/Subscribe")
            .header("content-type", "application/grpc")
            .body(())?;
        let (answer, mut body) = client.ready().await?.send_request(request, false)?;
        body.send_data(framed(number), true)?;
        let mut frames = answer.await?.into_body();
        frames.data().await.context("no frame came")??;
        open.spawn(async move {
            while let Some(data) = frames.data().await {
                let length = data?.len();
                frames.flow_control().release_capacity(length)?;
            }
            Ok(())
        });
    }
    Ok(open)
}

/// A request of a replica with an id and a name, as they usually are.
fn framed(number: u32) -> Bytes {
    let replica = wire::pb::Replica {
        id: format!("{number:016x}"),
        name: format!("replica-{number:04x}"),
        ..wire::pb::Replica::default()
    };
    let request = wire::pb::SubscribeRequest { replica: Some(replica), ..wire::pb::SubscribeRequest::default() };
    let message = prost::Message::encode_to_vec(&request);
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&[0][..], &length, &message].concat().into()
}
