//! A leader process under load.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests fail by panicking and report by printing")]

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use e2e::crowd::{Crowd, Size};
use e2e::fill::fill;
use e2e::lags::Followers;
use e2e::load::{Load, run};
use e2e::process::{Leader, Program};
use e2e::readers::measure;
use engine::Replica;
use engine::replica::Notice;
use follower::{Observer, connect, follow};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use wire::pb::SubscribeRequest;
use wire::pb::calculator_service_client::CalculatorServiceClient;
use wire::{Identity, ReplicaKind};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_subscribers_converge_after_a_hundred_thousand_events_a_second() {
    let load = Load { rate: 100_000, seconds: 10, subscribers: 20, watchers: 0 };
    let measured = run(load).await.unwrap();
    println!(
        "{} events delivered and verified in {:.1} s: {:.0} a second; the leader used {:.2} s of processor time, {:.0} events for each",
        measured.delivered,
        measured.took.as_secs_f64(),
        measured.delivered_per_second(),
        measured.leader_cpu.as_secs_f64(),
        measured.delivered_per_cpu_second(),
    );
    // A replica that joins by a snapshot gets the events before it, a fraction of a second's worth, as no events.
    assert!(measured.delivered >= 20 * 100_000 * 8, "only {} were delivered", measured.delivered);
    // Low enough for a busy machine. It fails if every subscriber needs an encoding of its own.
    assert!(measured.delivered_per_cpu_second() > 500_000.0);
}

/// The worst lag since the replica was live.
#[derive(Clone, Default)]
struct Lag {
    worst: Arc<Mutex<Duration>>,
    live: bool,
}

impl Observer for Lag {
    fn notice(&mut self, notice: Notice, replica: &Replica) {
        match notice {
            Notice::CaughtUp(_) => self.live = true,
            Notice::Applied { .. } if self.live => {
                let mut worst = self.worst.lock().unwrap();
                *worst = worst.max(replica.lag().unwrap_or_default());
            }
            _ => {}
        }
    }
}

/// The longest time that the machine oversleeps: a delay that is not the leader's.
async fn worst_stall(until: Instant) -> Duration {
    let nap = Duration::from_millis(5);
    let mut worst = Duration::ZERO;
    while Instant::now() < until {
        let start = Instant::now();
        tokio::time::sleep(nap).await;
        worst = worst.max(start.elapsed().saturating_sub(nap));
    }
    worst
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscribers_that_never_read_slow_nobody_and_cost_bounded_memory() {
    let leader = Leader::start(&["--rate", "10000"]).await.unwrap();
    let mut lag = Lag::default();
    let worst = Arc::clone(&lag.worst);
    let identity = Identity { id: "1".into(), name: "healthy".into(), kind: ReplicaKind::Native };
    let link = connect(&leader.url(), identity).unwrap();
    let healthy = tokio::spawn(async move {
        follow(Replica::new(1), link, &mut lag).await;
    });

    // One over HTTP/2 with a connection that is served and a stream that is never polled,
    let channel = tonic::transport::Endpoint::from_shared(leader.url()).unwrap().connect().await.unwrap();
    let never_polled = CalculatorServiceClient::new(channel).subscribe(SubscribeRequest::default()).await.unwrap();
    // and one over HTTP/1.1 with a socket that is never read.
    let mut never_read = tokio::net::TcpStream::connect(leader.address).await.unwrap();
    let request = "POST /calculator.v1.CalculatorService/Subscribe HTTP/1.1\r\nHost: test\r\n\
                   Content-Type: application/grpc-web+proto\r\nContent-Length: 5\r\n\r\n\0\0\0\0\0";
    never_read.write_all(request.as_bytes()).await.unwrap();

    // Measures what it grows after it has started.
    while leader.status().await.unwrap().tail < 50_000 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let memory_before = leader.program.memory().unwrap();
    let stall = worst_stall(Instant::now() + Duration::from_secs(60)).await;
    let memory_after = leader.program.memory().unwrap();
    let worst = *worst.lock().unwrap();
    println!(
        "worst lag of the healthy one {worst:?} (the machine stalled {stall:?}); the leader's memory went from {} to {} MiB",
        memory_before >> 20,
        memory_after >> 20
    );
    healthy.abort();
    assert!(worst > Duration::ZERO, "the healthy one applied nothing");
    assert!(worst < Duration::from_millis(100) + stall, "worst lag {worst:?}, of which the machine's stall {stall:?}");
    // The log itself grows by some 15 MiB of batches and the ring to its 16 MiB; each subscriber may buffer 1 MiB.
    assert!(memory_after - memory_before.min(memory_after) < 48 << 20, "{memory_before} to {memory_after}");
    drop((never_polled, never_read));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn healthy_replicas_notice_nothing_of_a_crowd_that_does_no_good() {
    // With the leader's own limits; the crowd comes from many addresses.
    let flags = ["--ephemeral", "--listen", "127.0.0.1:0", "--rate", "1000"];
    let leader = Leader::up(Program::start("calculator-leader", &flags).unwrap()).await.unwrap();
    let followers = Followers::start(&leader.url(), 10).unwrap();
    let size = Size { idle: 1_000, slow: 200, half_open: 200, resetting: 5 };
    let crowd = Crowd::start(leader.address, size).unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let _ = followers.take();
    let stall = worst_stall(Instant::now() + Duration::from_secs(10)).await;
    let (lags, done) = (followers.take(), crowd.done());
    println!("{lags:?} (the machine stalled {stall:?}); {done:?}");
    assert!(done.open > 1_300 && done.read > 1_000 && done.resets > 1_000, "the crowd is not there: {done:?}");
    assert!(lags.batches > 10 * 1_000, "{lags:?}");
    assert!(lags.p99 < Duration::from_millis(100) + stall, "{lags:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_hundred_replicas_that_catch_up_slow_no_writer_and_cost_bounded_memory() {
    let directory = TempDir::new().unwrap();
    fill(directory.path(), 30_000, 1).await.unwrap();
    let measured = measure(directory.path(), 300, true, Duration::from_secs(3)).await.unwrap();
    println!("{measured:#?}");
    assert!(measured.bytes_per_second > 100_000, "the readers catch up meanwhile");
    assert_eq!(measured.had.ended, 0, "nobody is cut off");
    let (alone, beside) = (measured.alone.p50, measured.beside.p50);
    assert!(beside < alone * 4 + Duration::from_millis(3), "{beside:?} beside readers, {alone:?} alone");
    assert!(measured.memory_peak < measured.memory_alone + (100 << 20), "{}", measured.memory_peak >> 20);
}
