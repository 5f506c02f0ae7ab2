//! Runs tasks in an order that a seed decides.
//!
//! One thread polls one task at a time, drawn at random from all that are ready. Time is tokio's paused clock: it jumps to
//! the next timer when no task is ready. The order of wake-ups has no effect, so the world does not depend on choices that
//! libraries make at random.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TaskId(u64);

type Task = Pin<Box<dyn Future<Output = ()>>>;

/// Cheap to clone: all clones are the same executor.
#[derive(Clone)]
pub(crate) struct Executor {
    inner: Rc<Inner>,
}

struct Inner {
    /// `None` while the task is being polled.
    tasks: RefCell<BTreeMap<TaskId, Option<Task>>>,
    next: Cell<u64>,
    random: RefCell<StdRng>,
    ready: Arc<Ready>,
}

/// The tasks that are ready. Wakers must be `Send`, hence the locks.
#[derive(Default)]
struct Ready {
    tasks: Mutex<BTreeSet<TaskId>>,
    root: Mutex<Option<Waker>>,
}

impl Ready {
    fn tasks(&self) -> MutexGuard<'_, BTreeSet<TaskId>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn root(&self) -> MutexGuard<'_, Option<Waker>> {
        self.root.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct TaskWaker {
    task: TaskId,
    ready: Arc<Ready>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.ready.tasks().insert(self.task);
        if let Some(root) = self.ready.root().as_ref() {
            root.wake_by_ref();
        }
    }
}

impl Executor {
    pub(crate) fn new(seed: u64) -> Self {
        let inner = Inner {
            tasks: RefCell::default(),
            next: Cell::new(0),
            random: RefCell::new(StdRng::seed_from_u64(seed)),
            ready: Arc::default(),
        };
        Self { inner: Rc::new(inner) }
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + 'static) -> TaskId {
        let id = TaskId(self.inner.next.get());
        self.inner.next.set(id.0 + 1);
        self.inner.tasks.borrow_mut().insert(id, Some(Box::pin(task)));
        self.inner.ready.tasks().insert(id);
        id
    }

    /// Ends a task at whichever await it stands.
    pub(crate) fn abort(&self, task: TaskId) {
        // Dropped after the borrow ends, because dropping a task may abort other tasks.
        let dropped = self.inner.tasks.borrow_mut().remove(&task);
        drop(dropped);
    }

    /// Runs all tasks until `main` ends.
    pub(crate) async fn run<R: 'static>(&self, main: impl Future<Output = R> + 'static) -> R {
        let result = Rc::new(RefCell::new(None));
        let done = Rc::clone(&result);
        self.spawn(async move {
            let value = main.await;
            *done.borrow_mut() = Some(value);
        });
        // Tokio's cooperative budget would otherwise make timers and channels pending in a long poll.
        tokio::task::coop::unconstrained(poll_fn(|context| {
            *self.inner.ready.root() = Some(context.waker().clone());
            loop {
                if let Some(value) = result.borrow_mut().take() {
                    return Poll::Ready(value);
                }
                let Some(task) = self.pick() else { return Poll::Pending };
                self.poll(task);
            }
        }))
        .await
    }

    fn pick(&self) -> Option<TaskId> {
        let mut ready = self.inner.ready.tasks();
        let at = match ready.len() {
            0 => return None,
            1 => 0,
            many => self.inner.random.borrow_mut().random_range(0..many),
        };
        let task = ready.iter().nth(at).copied()?;
        ready.remove(&task);
        Some(task)
    }

    fn poll(&self, id: TaskId) {
        // The task may have ended since it was woken.
        let Some(mut task) = self.inner.tasks.borrow_mut().get_mut(&id).and_then(Option::take) else { return };
        let waker = Waker::from(Arc::new(TaskWaker { task: id, ready: Arc::clone(&self.inner.ready) }));
        let ended = task.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
        let mut tasks = self.inner.tasks.borrow_mut();
        if ended {
            tasks.remove(&id);
        } else if let Some(place) = tasks.get_mut(&id) {
            *place = Some(task);
            return;
        }
        // The task ended, or was aborted while it ran.
        drop(tasks);
        drop(task);
    }
}
