//! How far replicas are behind their leader while they follow.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use engine::Replica;
use engine::replica::Notice;
use follower::{Observer, connect, follow};
use tokio::task::JoinSet;
use wire::{Identity, ReplicaKind};

/// Replicas that follow until this is dropped, and the lag of each batch that they apply.
#[derive(Debug)]
pub struct Followers {
    lags: Lags,
    _tasks: JoinSet<()>,
}

#[derive(Clone, Debug, Default)]
struct Lags(Arc<Mutex<Vec<Duration>>>);

impl Observer for Lags {
    fn notice(&mut self, notice: Notice, replica: &Replica) {
        if let (Notice::Applied { .. }, Some(lag)) = (notice, replica.lag()) {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(lag);
        }
    }
}

/// The lags of a time.
#[derive(Clone, Copy, Debug)]
pub struct LagFigures {
    /// The number of batches.
    pub batches: usize,
    /// The median.
    pub p50: Duration,
    /// The 99th percentile.
    pub p99: Duration,
    /// The longest.
    pub longest: Duration,
}

impl Followers {
    /// Lets `count` replicas follow the leader at `url`.
    ///
    /// # Errors
    ///
    /// If `url` is no address.
    pub fn start(url: &str, count: usize) -> anyhow::Result<Self> {
        let (lags, mut tasks) = (Lags::default(), JoinSet::new());
        for number in 0..count {
            let identity =
                Identity { id: format!("{number}"), name: format!("healthy-{number}"), kind: ReplicaKind::Native };
            let (link, mut lags) = (connect(url, identity)?, lags.clone());
            tasks.spawn(async move { match follow(Replica::new(number as u64), link, &mut lags).await {} });
        }
        Ok(Self { lags, _tasks: tasks })
    }

    /// The lags since the last call.
    #[must_use]
    pub fn take(&self) -> LagFigures {
        let mut lags = std::mem::take(&mut *self.lags.0.lock().unwrap_or_else(PoisonError::into_inner));
        lags.sort_unstable();
        let at = |percent: usize| lags.get(lags.len() * percent / 100).copied().unwrap_or_default();
        LagFigures { batches: lags.len(), p50: at(50), p99: at(99), longest: lags.last().copied().unwrap_or_default() }
    }
}
