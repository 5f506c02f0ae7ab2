//! Measures a leader under load, with subscribers in this process.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use engine::replica::Notice;
use engine::{Position, Replica, Snapshot};
use follower::{Observer, connect, follow};
use futures_util::StreamExt;
use tokio::sync::watch;
use tokio::task::JoinSet;
use wire::{Identity, ReplicaKind};

use crate::process::Leader;

/// A load for a leader.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Random operations a second.
    pub rate: u32,
    /// Duration, in seconds.
    pub seconds: u32,
    /// Replicas that follow the leader.
    pub subscribers: usize,
    /// Callers that watch the replicas.
    pub watchers: usize,
}

/// The result of a load.
#[derive(Clone, Copy, Debug)]
pub struct LoadFigures {
    /// Events that the replicas applied, with their digests checked; the sum over all replicas.
    pub delivered: u64,
    /// The time until the last replica converged.
    pub took: Duration,
    /// The leader's processor time in it.
    pub leader_cpu: Duration,
    /// The position of all replicas at the end.
    pub end: Position,
    /// The rosters that those who watch got; the sum over all of them.
    pub rosters: u64,
}

impl LoadFigures {
    /// Events a second; the sum over all replicas.
    #[must_use]
    pub fn delivered_per_second(&self) -> f64 {
        self.events() / self.took.as_secs_f64()
    }

    /// Events for each second of the leader's processor time.
    #[must_use]
    pub fn delivered_per_cpu_second(&self) -> f64 {
        self.events() / self.leader_cpu.as_secs_f64()
    }

    #[expect(clippy::cast_precision_loss, reason = "rounded for people anyway")]
    fn events(&self) -> f64 {
        self.delivered as f64
    }
}

/// Counts the events that a replica applies, and publishes its snapshot.
struct Counter {
    delivered: Arc<AtomicU64>,
    held: watch::Sender<Option<Snapshot>>,
}

impl Observer for Counter {
    fn notice(&mut self, notice: Notice, replica: &Replica) {
        if let Notice::Applied { batch, .. } = &notice {
            self.delivered.fetch_add(batch.operations().len() as u64, Ordering::Relaxed);
        }
        self.held.send_replace(replica.snapshot());
    }
}

/// Starts a leader that generates operations, lets replicas follow it, and waits until all have converged.
///
/// # Errors
///
/// If the leader does not start, or the replicas do not end at the same position with the same value.
pub async fn run(load: Load) -> anyhow::Result<LoadFigures> {
    let count = u64::from(load.rate) * u64::from(load.seconds);
    let leader = Leader::start(&["--rate", &load.rate.to_string(), "--count", &count.to_string()]).await?;
    let delivered = Arc::new(AtomicU64::new(0));
    let (start, cpu_before) = (Instant::now(), leader.program.cpu()?);
    let mut followers = Vec::new();
    for number in 0..load.subscribers {
        let identity = Identity { id: number.to_string(), name: format!("load-{number}"), kind: ReplicaKind::Native };
        let link = connect(&leader.url(), identity)?;
        let (held, holds) = watch::channel(None);
        let mut counter = Counter { delivered: Arc::clone(&delivered), held };
        let task = tokio::spawn(async move {
            follow(Replica::new(number as u64), link, &mut counter).await;
        });
        followers.push((task, holds));
    }

    let rosters = Arc::new(AtomicU64::new(0));
    let mut watching = JoinSet::new();
    for _ in 0..load.watchers {
        let calls = connect(&leader.url(), Identity::default())?.calls();
        let got = Arc::clone(&rosters);
        watching.spawn(async move {
            let Ok(mut coming) = calls.watch_replicas(Identity::default()).await else { return };
            while coming.next().await.is_some_and(|roster| roster.is_ok()) {
                got.fetch_add(1, Ordering::Relaxed);
            }
        });
    }

    let patience = Duration::from_secs(u64::from(load.seconds) * 4 + 30);
    let mut ends = Vec::new();
    for (_, holds) in &mut followers {
        let at_end = |held: &Option<Snapshot>| held.is_some_and(|held| held.position().index.0 >= count);
        let left = patience.saturating_sub(start.elapsed());
        let held = tokio::time::timeout(left, holds.wait_for(at_end)).await.context("a replica did not converge")??;
        ends.extend(*held);
    }
    let (took, leader_cpu) = (start.elapsed(), leader.program.cpu()?.saturating_sub(cpu_before));
    for (task, _) in followers {
        task.abort();
    }
    ensure!(ends.len() == load.subscribers, "a replica holds nothing");
    ensure!(ends.windows(2).all(|pair| pair[0] == pair[1]), "the replicas do not hold the same: {ends:?}");
    let end = ends.first().context("no replica")?.position();
    ensure!(end.index.0 == count, "the log is longer than the load");
    let rosters = rosters.load(Ordering::Relaxed);
    ensure!(load.watchers == 0 || rosters > 0, "no roster came");
    Ok(LoadFigures { delivered: delivered.load(Ordering::Relaxed), took, leader_cpu, end, rosters })
}
