//! Leaders that are killed, while they lead and while they create their log.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use e2e::process::{Leader, Program, ReplicaProcess, free_address, run_to_end};
use engine::{Event, Operation, ProducerId, Submission};
use follower::grpc::SubmitError;
use follower::{Calls, Producer, Submit};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use tempfile::TempDir;

use super::{ALONE, calls, check_verified, wait_for_tail};

/// How often the leader is killed while it leads. Every fourth time the next leader is killed too, while it opens the log.
const KILLS: u32 = 100;

/// Clients, each of which submits one operation at a time.
const CLIENTS: usize = 4;

/// An answer to a client.
struct Acknowledged {
    /// Unique among all operations.
    argument: i64,
    index: u64,
    value: i64,
    /// When the attempt that was answered began, in microseconds since 1970.
    attempted_at_us: u64,
}

/// Remembers when the newest attempt began, and counts those without an answer.
struct Attempts {
    calls: Calls,
    newest_us: Arc<AtomicU64>,
    unanswered: Arc<AtomicU64>,
}

impl Submit for Attempts {
    async fn submit(&self, submission: Submission) -> Result<Event, SubmitError> {
        self.newest_us.store(now_us(), Ordering::Relaxed);
        let answer = self.calls.submit(submission).await;
        if answer.is_err() {
            self.unanswered.fetch_add(1, Ordering::Relaxed);
        }
        answer
    }
}

/// Microseconds since 1970, by the clock of the leader's commit times.
fn now_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros().try_into().unwrap()
}

/// Adds unique numbers until `stop` is set, and returns what was acknowledged.
async fn submit_until(
    url: String,
    numbers: Arc<AtomicI64>,
    unanswered: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
) -> Vec<Acknowledged> {
    let newest_us = Arc::new(AtomicU64::new(0));
    let attempts = Attempts { calls: calls(&url), newest_us: Arc::clone(&newest_us), unanswered };
    let mut producer =
        Producer::new(attempts, || ProducerId::from_random(rand::random())).with_patience(Duration::from_secs(60));
    let mut acknowledged = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let argument = numbers.fetch_add(1, Ordering::Relaxed);
        let event = producer.submit(Operation::Add(argument), None).await.unwrap();
        let attempted_at_us = newest_us.load(Ordering::Relaxed);
        acknowledged.push(Acknowledged { argument, index: event.index.0, value: event.value, attempted_at_us });
    }
    acknowledged
}

/// An event as `calculator-leader export` prints it.
struct Exported {
    argument: i64,
    value: String,
    digest: String,
    committed_at_us: u64,
}

/// The whole log, from the first event and without gaps.
async fn export(directory: &str) -> Vec<Exported> {
    let output = run_to_end("calculator-leader", &["export", "--data-dir", directory]).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    let events = lines.lines().zip(1_u64..).map(|(line, index)| {
        let event: Value = serde_json::from_str(line).unwrap();
        assert_eq!(event["index"].as_u64(), Some(index), "an index is missing or repeated");
        assert_eq!(event["operation"], "ADD");
        Exported {
            argument: event["argument"].as_str().unwrap().parse().unwrap(),
            value: event["value"].as_str().unwrap().to_owned(),
            digest: event["digest"].as_str().unwrap().to_owned(),
            committed_at_us: event["committed_at_us"].as_u64().unwrap(),
        }
    });
    events.collect()
}

/// Checks that a replica stayed on the log, got each event once, and needed one snapshot.
fn check_replica(replica: &ReplicaProcess, log: &[Exported]) {
    let mut at = None;
    let mut lives = 0;
    for line in replica.program.lines() {
        let Ok(line) = serde_json::from_str::<Value>(&line) else { continue };
        let index = line["index"].as_u64();
        match line["type"].as_str().unwrap() {
            "diverged" | "violation" | "new_log" | "stale_leader" => panic!("{line}"),
            "standing" => assert_eq!(line["standing"], "in_step", "{line}"),
            "live" => {
                let verdict = if lives == 0 { "fresh" } else { "resumed" };
                assert!(line["verdict"].as_str().unwrap().contains(verdict), "{line} as live number {}", lives + 1);
                lives += 1;
            }
            "snapshot" => {
                assert_eq!(at, None, "a second snapshot: {line}");
                at = index;
            }
            "applied" => {
                let before = index.unwrap() - line["events"].as_u64().unwrap();
                assert_eq!(at, Some(before), "an event was missed or applied twice: {line}");
                at = index;
            }
            _ => {}
        }
        if let (Some(index @ 1..), Some(digest)) = (index, line["digest"].as_str()) {
            let event = &log[usize::try_from(index).unwrap() - 1];
            assert_eq!(digest, event.digest, "{line}");
            if let Some(value) = line["value"].as_str() {
                assert_eq!(value, event.value, "{line}");
            }
        }
    }
    assert_eq!(at, Some(log.len() as u64));
    assert!(lives > 1, "the replica never resumed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_kills_lose_nothing_and_do_nothing_twice() {
    let _alone = ALONE.lock().await;
    let seed = std::env::var("CALCULATOR_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    println!("CALCULATOR_SEED={seed} repeats the pauses, though not what the machine does in them");
    let mut random = StdRng::seed_from_u64(seed);
    let directory = TempDir::new().unwrap();
    let data = directory.path().to_str().unwrap();
    let listen = free_address().unwrap().to_string();
    let flags = ["--data-dir", data, "--no-generator", "--snapshot-every", "500", "--retain", "1000000"];
    let arguments = [flags.as_slice(), &["--heartbeat-interval", "100ms"]].concat();
    let mut leader = Leader::start_on(&listen, &arguments).await.unwrap();
    let url = leader.url();

    let replicas: Vec<_> = (1..=3).map(|n| ReplicaProcess::start(&url, &format!("replica-{n}")).unwrap()).collect();
    for replica in &replicas {
        replica.program.wait_for(|line| line.contains(r#""type":"live""#).then_some(())).await.unwrap();
    }
    let numbers = Arc::new(AtomicI64::new(1));
    let (unanswered, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| submit_until(url.clone(), Arc::clone(&numbers), Arc::clone(&unanswered), Arc::clone(&stop)))
        .map(tokio::spawn)
        .collect();

    let (start, mut slowest, mut killed_opening) = (Instant::now(), Duration::ZERO, 0);
    for kill in 1..=KILLS {
        tokio::time::sleep(Duration::from_millis(random.random_range(20..=200))).await;
        leader.program.kill().await.unwrap();
        if kill % 4 == 0 {
            let opening = Program::start("calculator-leader", &[&["--listen", &listen], arguments.as_slice()].concat());
            tokio::time::sleep(Duration::from_millis(random.random_range(0..=20))).await;
            opening.unwrap().kill().await.unwrap();
            killed_opening += 1;
        }
        let restart = Instant::now();
        leader = Leader::start_on(&listen, &arguments).await.unwrap();
        slowest = slowest.max(restart.elapsed());
    }
    let took = start.elapsed();
    stop.store(true, Ordering::Relaxed);
    let mut acknowledged = Vec::new();
    for client in clients {
        acknowledged.extend(client.await.unwrap());
    }
    let status = leader.status().await.unwrap();
    assert!(status.term > u64::from(KILLS), "{status:?}");
    for replica in &replicas {
        wait_for_tail(replica, status.tail, &format!("{:016x}", status.digest)).await;
    }
    leader.program.kill().await.unwrap();

    check_verified(&run_to_end("calculator-leader", &["verify", "--data-dir", data]).await.unwrap());
    let log = export(data).await;
    assert_eq!(log.len() as u64, status.tail);
    let mut found = HashMap::new();
    for (event, index) in log.iter().zip(1_u64..) {
        if let Some(before) = found.insert(event.argument, index) {
            panic!("operation {} was done twice, at {before} and at {index}", event.argument);
        }
    }
    let mut answers_lost = 0;
    for Acknowledged { argument, index, value, attempted_at_us } in &acknowledged {
        assert_eq!(found.get(argument), Some(index), "operation {argument} is not where it was acknowledged");
        let event = &log[usize::try_from(*index).unwrap() - 1];
        assert_eq!(event.value, value.to_string(), "operation {argument} came to another value");
        // It was committed before the answered attempt began, so by an earlier attempt.
        answers_lost += u64::from(event.committed_at_us < *attempted_at_us);
    }
    // Clients repeat every operation until it is answered, so the log has nothing else.
    assert_eq!(acknowledged.len(), log.len());
    for replica in &replicas {
        check_replica(replica, &log);
    }
    println!(
        "{KILLS} kills while leading and {killed_opening} while opening in {:.1} s; {} operations acknowledged, {} events in the log; \
         {} attempts failed, of which {answers_lost} were in the log and only their answers were lost; \
         slowest restart {slowest:?}",
        took.as_secs_f64(),
        acknowledged.len(),
        log.len(),
        unanswered.load(Ordering::Relaxed),
    );
    assert!(acknowledged.len() > 1_000, "too few operations between the kills to prove anything");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_killed_while_it_creates_its_log_does_not_stop_the_next_one() {
    let _alone = ALONE.lock().await;
    let listen = free_address().unwrap().to_string();
    let mut left_behind = BTreeMap::<_, u32>::new();
    for pause in (0..150).map(|n| Duration::from_micros(n * 20)) {
        let directory = TempDir::new().unwrap();
        let arguments = ["--data-dir", directory.path().to_str().unwrap(), "--no-generator"];
        let making = Program::start("calculator-leader", &[&["--listen", &listen], arguments.as_slice()].concat());
        let deadline = Instant::now() + Duration::from_secs(10);
        while !directory.path().join("log.sqlite").exists() {
            assert!(Instant::now() < deadline, "no log was created");
        }
        // The runtime's own clock counts in milliseconds.
        std::thread::sleep(pause);
        making.unwrap().kill().await.unwrap();
        let mut files: Vec<_> = fs::read_dir(directory.path())
            .unwrap()
            .map(|file| file.unwrap())
            .map(|file| (file.file_name(), file.metadata().unwrap().len()))
            .collect();
        files.sort();
        *left_behind.entry(files).or_default() += 1;
        let leader = Leader::start_on(&listen, &arguments).await.unwrap();
        calls(&leader.url()).submit(Operation::Add(1)).await.unwrap();
        leader.program.kill().await.unwrap();
    }
    println!("killed beginnings left behind:");
    for (files, times) in left_behind {
        println!("{times:>4} times {files:?}");
    }
}
