//! The environment that all actors share: an executor, a clock, randomness, and the history of the world.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::time::Duration;

use engine::Timestamp;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::Instant;

use crate::executor::{Executor, TaskId};
use crate::history::{History, Nature};

/// The environment of all actors. No borrow of its cells lives across an await.
pub(crate) struct Env {
    executor: Executor,
    started: Instant,
    /// Draws the actors' seeds. Each actor has a seed of its own, so a draw in one actor changes no other.
    seeds: RefCell<StdRng>,
    nature: Nature,
    /// Set when the world is healed: links have no faults, and clients submit nothing new.
    calm: Cell<bool>,
    pub(crate) history: RefCell<History>,
}

impl Env {
    /// Starts the world's clock. `random` decides the order of tasks and the seeds of actors.
    pub(crate) fn new(mut random: StdRng, nature: Nature, replicas: usize) -> Self {
        Self {
            executor: Executor::new(random.random()),
            started: Instant::now(),
            seeds: RefCell::new(random),
            nature,
            calm: Cell::new(false),
            history: RefCell::new(History::new(nature, replicas)),
        }
    }

    pub(crate) fn executor(&self) -> &Executor {
        &self.executor
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + 'static) -> TaskId {
        self.executor.spawn(task)
    }

    pub(crate) fn abort(&self, task: TaskId) {
        self.executor.abort(task);
    }

    pub(crate) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    pub(crate) fn timestamp(&self) -> Timestamp {
        Timestamp(u64::try_from(self.now().as_micros()).unwrap_or(u64::MAX))
    }

    /// A clock like [`timestamp`](Self::timestamp) for code that needs a `Send` closure.
    pub(crate) fn clock(&self) -> impl Fn() -> Timestamp + Send + 'static {
        let started = self.started;
        move || Timestamp(u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    pub(crate) fn random(&self) -> StdRng {
        StdRng::seed_from_u64(self.seeds.borrow_mut().random())
    }

    pub(crate) fn nature(&self) -> Nature {
        self.nature
    }

    pub(crate) fn is_calm(&self) -> bool {
        self.calm.get()
    }

    pub(crate) fn calm_down(&self) {
        self.calm.set(true);
    }

    pub(crate) fn trace(&self, what: &str) {
        let now = self.now();
        self.history.borrow_mut().trace(now, what);
    }
}
