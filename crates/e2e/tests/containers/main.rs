//! The leader and its replicas as containers: killed, cut off, with a full volume. `cargo xtask test-containers` runs it.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests fail by panicking and report by printing")]

mod clients;
mod stack;

use std::fs::File;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clients::Clients;
use stack::{Stack, docker, docker_output, lines};
use tempfile::TempDir;
use wire::pb::{ReplicaStatus, Verdict};

const REPLICAS: usize = 3;

/// More than the volume in `compose.yaml` holds.
const BALLAST_BYTES: u64 = 20 << 20;

/// How long the leader has no network: longer than replicas need to notice, and than the leader's patience with them.
const CUT: Duration = Duration::from_secs(20);

/// How long a full volume is watched: some commits and look-ups of the leader's.
const FULL: Duration = Duration::from_secs(3);

const PROGRAM: &str = "/usr/local/bin/calculator-leader";

/// Prints a line of the report.
fn report(step: &str, since: Instant, seen: &str) {
    println!("{step:32} {:6.1} s  {seen}", since.elapsed().as_secs_f64());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn containers_that_are_killed_cut_off_and_out_of_room_agree_again_and_lose_nothing() {
    let stack = Stack::from_environment().unwrap();
    trouble(&stack).await.unwrap_or_else(|error| panic!("{error:?}"));
}

async fn trouble(stack: &Stack) -> anyhow::Result<()> {
    let start = Instant::now();
    let containers = stack.up(REPLICAS).await?;
    let all: Vec<&String> = containers.iter().collect();
    let leader = stack.leader().await?;
    let health = docker(&["inspect", "--format", "{{.State.Health.Status}}", &leader]).await?;
    ensure!(health.trim() == "healthy", "replicas were started before the leader was healthy: {health}");
    stack.wait_for_replicas(&all, 1).await?;
    report("compose up", start, &format!("a healthy leader, and {REPLICAS} replicas in step"));

    let clients = Clients::start(&stack.url)?;
    clients.go_on().await?;
    a_replica_is_killed(stack, &all).await?;
    the_leader_is_killed(stack, &leader, &all, &clients).await?;
    the_leader_is_cut_off(stack, &leader, &all, &clients).await?;
    the_volume_is_full(stack, &leader, &all, &clients).await?;
    everybody_agrees(stack, &leader, &all, clients).await?;

    let start = Instant::now();
    stack.stop().await?;
    for container in all.iter().copied().chain([&leader]) {
        let code = docker(&["inspect", "--format", "{{.State.ExitCode}}", container]).await?;
        ensure!(code.trim() == "0", "a container did not end in order: {}", code.trim());
    }
    report("compose stop", start, "all ended in order, with code 0");
    Ok(())
}

async fn a_replica_is_killed(stack: &Stack, all: &[&String]) -> anyhow::Result<()> {
    let start = Instant::now();
    docker(&["kill", all[0]]).await?;
    stack.wait_for_replicas(&all[1..], 1).await.context("without the killed one")?;
    docker(&["start", all[0]]).await?;
    let tail = stack.status().await?.tail;
    stack.wait_for_replicas(all, tail).await.context("with the killed one")?;
    report("a replica killed and back", start, "it left the list, and was in step again");
    Ok(())
}

async fn the_leader_is_killed(stack: &Stack, leader: &str, all: &[&String], clients: &Clients) -> anyhow::Result<()> {
    let before = stack.status().await?;
    let start = Instant::now();
    docker(&["kill", leader]).await?;
    let acknowledged = clients.count();
    docker(&["start", leader]).await?;
    let after = stack.wait_for_status("after its start", |status| status.term > before.term).await?;
    ensure!(after.log_id == before.log_id && after.tail >= before.tail, "{before:?} became {after:?}");
    let waited = clients.go_on().await?;
    let replicas = stack.wait_for_replicas(all, after.tail).await?;
    ensure_resumed(&replicas)?;
    let seen = format!(
        "term {} became {}, {acknowledged} operations before it; clients went on after {:.1} s, replicas resumed",
        before.term,
        after.term,
        waited.as_secs_f64()
    );
    report("the leader killed and back", start, &seen);
    Ok(())
}

async fn the_leader_is_cut_off(stack: &Stack, leader: &str, all: &[&String], clients: &Clients) -> anyhow::Result<()> {
    let before = stack.status().await?;
    let start = Instant::now();
    stack.cut_off(leader).await?;
    // Answers that were on their way arrive.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let acknowledged = clients.count();
    tokio::time::sleep(CUT).await;
    ensure!(clients.count() == acknowledged, "operations were acknowledged by a leader without a network");
    ensure!(stack.status().await.is_err(), "a leader without a network answered");
    stack.connect(leader).await?;
    let after = stack.wait_for_status("with its network again", |_| true).await?;
    ensure!(after.term == before.term, "the leader restarted");
    ensure!(after.tail > before.tail, "the leader stood still without a network");
    let waited = clients.go_on().await?;
    let replicas = stack.wait_for_replicas(all, after.tail).await?;
    ensure_resumed(&replicas)?;
    let seen = format!(
        "{} events meanwhile, none acknowledged to clients; they went on after {:.1} s, replicas resumed",
        after.tail - before.tail,
        waited.as_secs_f64()
    );
    report("the leader cut off for 20 s", start, &seen);
    Ok(())
}

async fn the_volume_is_full(stack: &Stack, leader: &str, all: &[&String], clients: &Clients) -> anyhow::Result<()> {
    let files = TempDir::new()?;
    let [ballast, nothing] = ["ballast", "nothing"].map(|name| files.path().join(name));
    File::create(&ballast)?.set_len(BALLAST_BYTES)?;
    File::create(&nothing)?;
    let target = format!("{leader}:/var/lib/calculator/ballast");

    let start = Instant::now();
    let copied = docker_output(&["cp", &ballast.to_string_lossy(), &target]).await?;
    ensure!(!copied.status.success(), "the volume holds more than the ballast");
    let full = stack.wait_for_status("with a full volume", |status| !status.log_problem.is_empty()).await?;
    let acknowledged = clients.count();
    tokio::time::sleep(FULL).await;
    ensure!(clients.count() == acknowledged, "operations were acknowledged without room for them");
    let serves = docker_output(&["exec", leader, PROGRAM, "health"]).await?;
    ensure!(serves.status.success(), "a leader with a full volume should serve: {serves:?}");
    let writes = docker_output(&["exec", leader, PROGRAM, "health", "--write"]).await?;
    ensure!(writes.status.code() == Some(1), "the health check does not tell that the volume is full: {writes:?}");
    stack.wait_for_replicas(all, full.tail).await.context("with a full volume")?;
    docker(&["cp", &nothing.to_string_lossy(), &target]).await?;
    let room = Instant::now();
    stack.wait_for_status("with room again", |status| status.log_problem.is_empty()).await?;
    let noticed = room.elapsed();
    clients.go_on().await?;
    let after = stack.status().await?;
    ensure!(after.term == full.term, "the leader restarted");
    stack.wait_for_replicas(all, after.tail).await?;
    let seen = format!(
        "nothing acknowledged, reads and replicas served; writable {:.1} s after there was room",
        noticed.as_secs_f64()
    );
    report("the volume full, and room again", start, &seen);
    Ok(())
}

async fn everybody_agrees(stack: &Stack, leader: &str, all: &[&String], clients: Clients) -> anyhow::Result<()> {
    let start = Instant::now();
    let acknowledged = clients.stop().await;
    stack.pause_generator().await?;
    // One operation may still be on its way to the log.
    let mut tail = stack.status().await?;
    while std::mem::replace(&mut tail, stack.status().await?).tail != tail.tail {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let (index, digest) = (tail.tail, format!("{:016x}", tail.digest));
    for replica in stack.wait_for_replicas(all, index).await? {
        let position = replica.position.clone().unwrap_or_default();
        ensure!((position.index, position.digest) == (index, tail.digest), "{replica:?} differs from {tail:?}");
    }
    for container in all {
        let lines = lines(container).await?;
        let bad = ["diverged", "violation", "new_log", "stale_leader"];
        let wrong = lines.iter().find(|line| bad.iter().any(|bad| line["type"] == *bad));
        ensure!(wrong.is_none(), "replica {container}: {wrong:?}");
        let last = lines.iter().rfind(|line| line["type"] == "applied" || line["type"] == "snapshot");
        let last = last.with_context(|| format!("replica {container} has applied nothing"))?;
        ensure!(last["index"] == index && last["digest"] == digest, "the replica is at {last}, the leader at {index}");
    }
    let events = clients::check(&docker(&["exec", leader, PROGRAM, "export"]).await?, &acknowledged);
    ensure!(events as u64 == index, "export has {events} events and the log {index}");
    docker(&["exec", leader, PROGRAM, "verify"]).await?;
    let seen = format!(
        "index {index}, digest {digest} everywhere; {} acknowledged operations are in the log, each once",
        acknowledged.len()
    );
    report("all agree", start, &seen);
    Ok(())
}

/// Checks that no replica needed a snapshot.
fn ensure_resumed(replicas: &[ReplicaStatus]) -> anyhow::Result<()> {
    let other = replicas.iter().find(|replica| replica.verdict() != Verdict::Resumed);
    ensure!(other.is_none(), "a replica did not resume: {other:?}");
    Ok(())
}
