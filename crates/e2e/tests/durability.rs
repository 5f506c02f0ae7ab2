//! What was acknowledged outlives the leader: processes that are killed, a disk that is full, a log that is long.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests fail by panicking and report by printing")]

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use e2e::fill::{fill, recover};
use e2e::process::{Leader, Program, Replica, bin_dir, free_address, run_to_end};
use engine::{Event, Operation, ProducerId, Submission};
use follower::grpc::SubmitError;
use follower::{Calls, Producer, Submit, connect};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::sync::Mutex;
use tonic::transport::Channel;
use wire::pb::{ReadEventsRequest, operation};
use wire::{Identity, ReplicaKind};

/// One test at a time: they measure time, and kill at moments that a busy machine would all move to the same place.
static ALONE: Mutex<()> = Mutex::const_new(());

fn calls(url: &str) -> Calls<Channel> {
    let identity = Identity { id: "test".into(), name: "test".into(), kind: ReplicaKind::Native };
    connect(url, identity).unwrap().calls()
}

/// How often the leader is killed while it leads. Every fourth time the next one is killed, too, while it opens the log.
const KILLS: u32 = 100;

/// Who submits, each one operation at a time.
const CLIENTS: usize = 4;

/// What a client was told.
struct Acknowledged {
    /// No other operation has this argument.
    argument: i64,
    index: u64,
    value: i64,
    /// When the attempt began that was answered.
    attempted_at_us: u64,
}

/// Notes when the newest attempt began, and how many were not answered.
struct Attempts {
    calls: Calls<Channel>,
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

/// By the clock that the leader notes commits with.
fn now_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros().try_into().unwrap()
}

/// Adds numbers that nobody else adds until told to stop, and returns what was acknowledged.
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

/// One event of the log as `calculator-leader export` prints it.
struct Exported {
    argument: i64,
    value: String,
    digest: String,
    committed_at_us: u64,
}

/// The whole log, which must have no hole and start with the first event.
async fn export(directory: &str) -> Vec<Exported> {
    let output = run_to_end("calculator-leader", &["export", "--data-dir", directory]).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    let events = lines.lines().zip(1_u64..).map(|(line, index)| {
        let event: Value = serde_json::from_str(line).unwrap();
        assert_eq!(event["index"].as_u64(), Some(index), "an index is missing or there twice");
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

fn check_verified(output: &Output) {
    let (said, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{error}");
    println!("{said}");
}

/// Waits until a replica holds the end of the log.
async fn wait_for_tail(replica: &Replica, tail: u64, digest: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while replica.held().get(&tail).is_none_or(|(held, _)| held != digest) {
        let last = replica.program.lines().pop();
        assert!(Instant::now() < deadline, "a replica did not get to index {tail}, digest {digest}; it said {last:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Everything that a replica said: it never left the log, never got an event twice or missed one, and needed one snapshot.
fn check_replica(replica: &Replica, log: &[Exported]) {
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
    assert!(lives > 1, "the replica never had to resume");
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

    let replicas: Vec<_> = (1..=3).map(|n| Replica::start(&url, &format!("replica-{n}")).unwrap()).collect();
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
        // It was committed before the attempt that was answered, so by an earlier one.
        answers_lost += u64::from(event.committed_at_us < *attempted_at_us);
    }
    // Every operation was repeated until it was answered, so nothing else is in the log.
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
    assert!(acknowledged.len() > 1_000, "too little was done between the kills to prove anything");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_killed_while_it_makes_its_log_leaves_nothing_in_the_way() {
    let _alone = ALONE.lock().await;
    let listen = free_address().unwrap().to_string();
    let mut left_behind = BTreeMap::<_, u32>::new();
    for pause in (0..150).map(|n| Duration::from_micros(n * 20)) {
        let directory = TempDir::new().unwrap();
        let arguments = ["--data-dir", directory.path().to_str().unwrap(), "--no-generator"];
        let making = Program::start("calculator-leader", &[&["--listen", &listen], arguments.as_slice()].concat());
        let deadline = Instant::now() + Duration::from_secs(10);
        while !directory.path().join("log.sqlite").exists() {
            assert!(Instant::now() < deadline, "no log was begun");
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

/// A small disk: a tmpfs that only processes of its own mount namespace see, and that lives as long as this.
struct SmallDisk {
    /// Keeps the namespace while no leader runs in it.
    holder: Program,
    directory: PathBuf,
    /// How `nsenter` gets in.
    enter: &'static [&'static str],
}

impl SmallDisk {
    /// Mounts one at `directory`. With a user namespace of its own anybody may do that; where those are not allowed, root may.
    async fn mount(directory: &Path) -> Self {
        let ways: [(&[&str], &[&str]); 2] = [
            (&["--user", "--map-root-user", "--mount"], &["--user", "--preserve-credentials", "--mount"]),
            (&["--mount"], &["--mount"]),
        ];
        let script = r#"mount -t tmpfs -o size=2m,mode=700 tmpfs "$0" && echo mounted && exec sleep 600"#;
        let mut said = Vec::new();
        for (unshare, enter) in ways {
            let mut command = Command::new("unshare");
            let holder = Program::spawn(command.args(unshare).args(["sh", "-c", script]).arg(directory));
            let holder = holder.expect("the program `unshare` of util-linux is needed");
            let answer = |line: &str| match line {
                "mounted" => Some(true),
                line => (line.contains("mount:") || line.contains("unshare:")).then_some(false),
            };
            if holder.wait_for(answer).await.unwrap() {
                let disk = Self { holder, directory: directory.to_owned(), enter };
                let devices = (fs::metadata(directory).unwrap().dev(), fs::metadata(disk.inside()).unwrap().dev());
                assert_ne!(devices.0, devices.1, "the small disk is not mounted where it should be");
                return disk;
            }
            said.extend(holder.lines());
        }
        panic!("this test mounts a small tmpfs, for which it must be allowed user namespaces, or be root: {said:?}");
    }

    /// Where the disk is for those outside.
    fn inside(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id().unwrap()));
        root.join(self.directory.strip_prefix("/").unwrap())
    }

    /// `calculator-leader` with the log that is on the disk. From outside SQLite would not find it, because it resolves links.
    fn leader(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.arg("--target").arg(self.holder.id().unwrap().to_string()).args(self.enter);
        command.arg(bin_dir().canonicalize().unwrap().join("calculator-leader"));
        command.args(arguments).arg("--data-dir").arg(&self.directory).kill_on_drop(true);
        command
    }

    fn start_leader(&self, listen: &str) -> Program {
        let mut command = self.leader(&["--listen", listen, "--no-generator"]);
        Program::spawn(&mut command).expect("the program `nsenter` of util-linux is needed")
    }

    /// Leaves no room at all.
    fn fill_up(&self) {
        let mut ballast = fs::File::create(self.inside().join("ballast")).unwrap();
        let full = loop {
            if let Err(error) = ballast.write_all(&[0; 1024]) {
                break error;
            }
        };
        assert_eq!(full.kind(), ErrorKind::StorageFull, "{full}");
    }

    fn make_room(&self) {
        fs::remove_file(self.inside().join("ballast")).unwrap();
    }
}

/// Submits numbers one by one and remembers which were acknowledged, in order: what the log must be.
struct Client {
    calls: Calls<Channel>,
    next: i64,
    acknowledged: Vec<i64>,
}

impl Client {
    async fn submit(&mut self) -> Result<(), SubmitError> {
        let argument = self.next;
        self.next += 1;
        let event = self.calls.submit(Operation::Add(argument)).await?;
        self.acknowledged.push(argument);
        assert_eq!(event.index.0, self.acknowledged.len() as u64, "something is in the log that was not acknowledged");
        assert_eq!(event.value, self.acknowledged.iter().sum::<i64>());
        Ok(())
    }

    /// Submits until the disk is full. What SQLite had room for already is still taken.
    async fn submit_until_full(&mut self) {
        for _ in 0..100 {
            match self.submit().await {
                Ok(()) => {}
                Err(SubmitError::NotCommitted(reason)) => return assert!(reason.contains("disk is full"), "{reason}"),
                Err(error) => panic!("{error}"),
            }
        }
        panic!("a full disk takes a hundred operations");
    }

    /// The log is what was acknowledged and nothing else; it is read back from the disk.
    async fn check(&self, leader: &Leader) {
        let status = leader.status().await.unwrap();
        assert_eq!(status.tail, self.acknowledged.len() as u64);
        assert_eq!(status.value, self.acknowledged.iter().sum::<i64>());
        let request = ReadEventsRequest { first_index: 1, page_size: 10_000 };
        let page = leader.client().await.unwrap().read_events(request).await.unwrap().into_inner();
        let log: Vec<i64> = page
            .operations
            .into_iter()
            .map(|operation| match operation.kind {
                Some(operation::Kind::Add(argument)) => argument,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(log, self.acknowledged);
    }
}

/// A fresh replica gets to the end of the log.
async fn follow_to_the_end(leader: &Leader, name: &str) -> Replica {
    let replica = Replica::start(&leader.url(), name).unwrap();
    let status = leader.status().await.unwrap();
    wait_for_tail(&replica, status.tail, &format!("{:016x}", status.digest)).await;
    replica
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_stops_acknowledging_keeps_serving_and_recovers() {
    let _alone = ALONE.lock().await;
    let mount_point = TempDir::new().unwrap();
    let disk = SmallDisk::mount(mount_point.path()).await;
    let listen = free_address().unwrap().to_string();
    let leader = Leader::up(disk.start_leader(&listen)).await.unwrap();
    let name = fs::read_to_string(format!("/proc/{}/comm", leader.program.id().unwrap())).unwrap();
    assert_eq!(name.trim(), "calculator-lead", "killing the child must kill the leader");
    let mut client = Client { calls: calls(&leader.url()), next: 1, acknowledged: Vec::new() };
    for _ in 0..10 {
        client.submit().await.unwrap();
    }

    disk.fill_up();
    client.submit_until_full().await;
    for _ in 0..3 {
        assert!(matches!(client.submit().await, Err(SubmitError::NotCommitted(_))));
    }
    let problem = leader.status().await.unwrap().log_problem;
    assert!(problem.contains("disk is full"), "{problem:?}");
    leader.program.wait_for(|line| line.contains("operations are not taken").then_some(())).await.unwrap();
    client.check(&leader).await;
    let replica = follow_to_the_end(&leader, "fresh").await;

    disk.make_room();
    let room = Instant::now();
    while let Err(error) = client.submit().await {
        assert!(matches!(error, SubmitError::NotCommitted(_)), "{error}");
        assert!(room.elapsed() < Duration::from_secs(5), "with room on the disk: {error}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!("an operation was taken {:?} after there was room", room.elapsed());
    assert_eq!(leader.status().await.unwrap().log_problem, "");
    leader.program.wait_for(|line| line.contains("the log can be written again").then_some(())).await.unwrap();
    client.check(&leader).await;
    let status = leader.status().await.unwrap();
    wait_for_tail(&replica, status.tail, &format!("{:016x}", status.digest)).await;

    disk.fill_up();
    client.submit_until_full().await;
    leader.program.kill().await.unwrap();
    let mut without_room = disk.start_leader(&listen);
    let full = |line: &str| line.contains("disk is full").then(|| line.to_owned());
    let said = without_room.wait_for(full).await.unwrap();
    assert!(!without_room.ended().await.unwrap().success());
    println!("a leader that starts on a full disk says {said:?}");

    disk.make_room();
    let leader = Leader::up(disk.start_leader(&listen)).await.unwrap();
    client.calls = calls(&leader.url());
    client.check(&leader).await;
    client.submit().await.unwrap();
    client.check(&leader).await;
    let status = leader.status().await.unwrap();
    wait_for_tail(&replica, status.tail, &format!("{:016x}", status.digest)).await;
    leader.program.kill().await.unwrap();
    let verified = disk.leader(&["verify"]).output().await.unwrap();
    check_verified(&verified);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_million_events_are_recovered_in_under_a_second() {
    // Just before the next snapshot is due, so that as many events as can be are replayed.
    const EVENTS: u64 = 10_099_000;

    let _alone = ALONE.lock().await;
    let directory = TempDir::new().unwrap();
    let data = directory.path().to_str().unwrap();
    let start = Instant::now();
    let filled = fill(directory.path(), EVENTS, 1_000).await.unwrap();
    println!("made a log of {EVENTS} events in {:.1} s", start.elapsed().as_secs_f64());
    let arguments = ["--data-dir", data, "--retain", "1000000000", "--no-generator"];

    let mut end = (EVENTS, filled.position().digest.0, filled.value());
    for life in 1..=4 {
        let recovered = recover(&arguments).await.unwrap();
        println!("start {life}: the first answer came {:?} after the start of the process", recovered.took);
        let status = recovered.status;
        assert_eq!((status.tail, status.digest, status.value), end);
        // The first one finds a log that was closed properly; the others take over from one that was killed.
        assert!(recovered.took < Duration::from_secs(1), "{:?}", recovered.took);
        let calls = calls(&recovered.leader.url());
        for n in 0..300 {
            let operation = if n % 2 == 0 { Operation::Subtract(1) } else { Operation::Add(1) };
            calls.submit(operation).await.unwrap();
        }
        let status = recovered.leader.status().await.unwrap();
        assert_eq!(status.tail, end.0 + 300);
        end = (status.tail, status.digest, status.value);
        recovered.leader.program.kill().await.unwrap();
    }
    let sizes: BTreeMap<_, _> = fs::read_dir(data)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name(), entry.metadata().unwrap().len()))
        .collect();
    println!("{sizes:?}");
}
