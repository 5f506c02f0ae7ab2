//! Clients that submit through all trouble and remember what was acknowledged.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use engine::{Identity, Operation, ProducerId};
use follower::grpc::SubmitError;
use follower::{Producer, connect};
use serde_json::Value;
use tokio::task::JoinHandle;
use wire::ReplicaKind;

/// Clients, each of which submits one operation at a time.
const CLIENTS: usize = 3;

/// Longer than any trouble in the test.
const PATIENCE: Duration = Duration::from_secs(180);

/// So that a test of minutes does not fill the log by itself.
const PAUSE: Duration = Duration::from_millis(20);

/// How long the clients may go without an acknowledgment after trouble: their longest wait for an answer, and more.
const RECOVERY: Duration = Duration::from_secs(20);

/// The name under which they submit.
pub(super) const AUTHOR: &str = "client";

/// Running clients.
pub(super) struct Clients {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    /// The newest argument, unique among all clients.
    newest: AtomicI64,
    refused: AtomicU64,
    /// The index of each operation that was acknowledged, by its argument.
    acknowledged: Mutex<HashMap<i64, u64>>,
}

impl Clients {
    pub(super) fn start(url: &str) -> anyhow::Result<Self> {
        let shared = Arc::new(Shared::default());
        let tasks = (0..CLIENTS).map(|_| Ok(tokio::spawn(submit(url.to_owned(), Arc::clone(&shared)))));
        Ok(Self { tasks: tasks.collect::<anyhow::Result<_>>()?, shared })
    }

    /// How many operations were acknowledged.
    pub(super) fn count(&self) -> usize {
        self.shared.acknowledged.lock().unwrap().len()
    }

    /// Waits until operations are acknowledged again, and returns how long that took.
    pub(super) async fn go_on(&self) -> anyhow::Result<Duration> {
        let (start, before) = (Instant::now(), self.count());
        while self.count() <= before + CLIENTS {
            anyhow::ensure!(start.elapsed() < RECOVERY, "nothing was acknowledged for {RECOVERY:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(start.elapsed())
    }

    /// Lets each client end with an answer. Returns the index of each operation that was acknowledged, by its argument.
    pub(super) async fn stop(self) -> HashMap<i64, u64> {
        self.shared.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
        println!("  {} operations were refused by the calculator", self.shared.refused.load(Ordering::Relaxed));
        std::mem::take(&mut *self.shared.acknowledged.lock().unwrap())
    }
}

async fn submit(url: String, shared: Arc<Shared>) {
    let calls = connect(&url, Identity::default()).unwrap().calls();
    let mut producer = Producer::new(calls, || ProducerId::from_random(rand::random())).with_patience(PATIENCE);
    producer.set_author(Some(Identity { id: "1".into(), name: AUTHOR.into(), kind: ReplicaKind::Native }));
    while !shared.stop.load(Ordering::Relaxed) {
        let argument = shared.newest.fetch_add(1, Ordering::Relaxed);
        match producer.submit(Operation::Add(argument), None).await {
            Ok(event) => assert_eq!(shared.acknowledged.lock().unwrap().insert(argument, event.index.0), None),
            // The random operations can bring the value to where an addition overflows.
            Err(SubmitError::Refused(_)) => drop(shared.refused.fetch_add(1, Ordering::Relaxed)),
            Err(error) => panic!("operation {argument}: {error}"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Checks that the log has each operation that was acknowledged, at its index, and none of the clients' operations twice.
/// `export` is what `calculator-leader export` printed.
pub(super) fn check(export: &str, acknowledged: &HashMap<i64, u64>) -> usize {
    let mut found = HashMap::new();
    let mut events = 0;
    for (line, index) in export.lines().zip(1_u64..) {
        let event: Value = serde_json::from_str(line).unwrap();
        assert_eq!(event["index"].as_u64(), Some(index), "an index is missing or repeated");
        events += 1;
        if event["author_name"] == AUTHOR {
            let argument: i64 = event["argument"].as_str().unwrap().parse().unwrap();
            assert_eq!(found.insert(argument, index), None, "operation {argument} was done twice");
        }
    }
    for (argument, index) in acknowledged {
        assert_eq!(found.get(argument), Some(index), "operation {argument} is not where it was acknowledged");
    }
    assert_eq!(found.len(), acknowledged.len(), "each client repeated until it was answered");
    events
}
