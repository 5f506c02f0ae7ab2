//! Breaks the replica's own stream on purpose, one fault after the other, and says how each healed.

mod healing;
mod plan;

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use engine::replica::Notice;
use engine::{Replica, Resume, Standing, Struck};
use follower::{FaultyLink, Freezer, Link, LinkError, Observer, SharedInjector, follow};
pub use healing::Healed;
use healing::Healing;
pub use plan::{Fault, FaultList, Plan, UnknownFault};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::output::{Lines, Output};

/// Follows a leader like [`follow`], and injects the faults of `plan`. The first one comes once the replica is live, each
/// other one once the one before has healed; the plan's pause lies between. `connect` makes a link for each life of the
/// replica: one that forgets everything begins a new life.
///
/// # Errors
///
/// That of `connect`.
pub async fn follow_with_faults<L: Link, E>(
    mut plan: Plan,
    connect: impl Fn() -> Result<L, E>,
    output: Output,
) -> Result<Infallible, E> {
    let breaker = Breaker::new(output.lines().clone());
    let mut watcher = Watcher { output, breaker: breaker.clone() };
    loop {
        let link = FaultyLink::new(connect()?, breaker.injector.clone());
        tokio::select! {
            never = breaker.freezer.run(follow(Replica::new(rand::random()), link, &mut watcher)) => match never {},
            () = breaker.inject_until_forgotten(&mut plan) => {}
        }
    }
}

/// What was injected.
#[derive(Clone, Copy, Debug)]
pub enum Injected<'a> {
    /// A fault struck a batch.
    Struck(&'a Struck),
    /// The link was cut for a time.
    Cut(Duration),
    /// The replica was frozen for a time.
    Frozen(Duration),
    /// The time is over.
    Over(Fault),
    /// The replica forgot everything.
    Forgotten,
}

/// Injects the faults. All clones are one.
#[derive(Clone)]
struct Breaker {
    injector: SharedInjector,
    freezer: Freezer,
    lines: Lines,
    state: Rc<RefCell<State>>,
    /// Says that `state` changed.
    changed: Rc<Notify>,
}

#[derive(Default)]
struct State {
    /// Whether the replica was live once.
    was_live: bool,
    /// The fault that was injected and has not healed.
    healing: Option<Healing>,
}

impl Breaker {
    fn new(lines: Lines) -> Self {
        Self {
            injector: SharedInjector::default(),
            freezer: Freezer::default(),
            lines,
            state: Rc::default(),
            changed: Rc::default(),
        }
    }

    /// Injects fault after fault, and returns when the replica is to forget everything.
    async fn inject_until_forgotten(&self, plan: &mut Plan) {
        loop {
            while !self.is_whole() {
                self.changed.notified().await;
            }
            sleep(plan.pause()).await;
            let fault = plan.next_fault();
            self.state.borrow_mut().healing = Some(Healing::new(fault));
            match fault {
                Fault::Link(fault) => self.injector.lock().inject(fault),
                Fault::Cut(time) => {
                    self.lines.injected(Injected::Cut(time));
                    self.injector.lock().take_down();
                    sleep(time).await;
                    self.injector.lock().bring_up();
                    self.end(fault);
                }
                Fault::Freeze(time) => {
                    self.lines.injected(Injected::Frozen(time));
                    self.freezer.freeze();
                    sleep(time).await;
                    self.end(fault);
                    self.freezer.thaw();
                }
                Fault::Forget => {
                    self.lines.injected(Injected::Forgotten);
                    self.begin_healing();
                    return;
                }
            }
        }
    }

    fn is_whole(&self) -> bool {
        let state = self.state.borrow();
        state.was_live && state.healing.is_none()
    }

    /// The time of a fault is over.
    fn end(&self, fault: Fault) {
        self.lines.injected(Injected::Over(fault));
        self.begin_healing();
    }

    fn begin_healing(&self) {
        if let Some(healing) = &mut self.state.borrow_mut().healing {
            healing.begin(Instant::now());
        }
    }

    /// Tells what struck a batch since the last call.
    fn pass_struck(&self) {
        loop {
            let struck = self.injector.lock().poll_struck();
            match struck {
                // These have lines already.
                Some(Struck::TakenDown | Struck::BroughtUp) => {}
                Some(struck) => {
                    self.lines.injected(Injected::Struck(&struck));
                    self.begin_healing();
                }
                None => break,
            }
        }
    }

    fn handle_notice(&self, notice: &Notice, replica: &Replica) {
        let mut state = self.state.borrow_mut();
        state.was_live |= matches!(notice, Notice::CaughtUp(_));
        let healed = state.healing.as_mut().and_then(|healing| healing.handle_notice(notice, replica, Instant::now()));
        if let Some(healed) = healed {
            self.lines.healed(healed);
            state.healing = None;
        }
        self.changed.notify_one();
    }
}

/// Writes what happens to the replica, and what was done to it before that.
struct Watcher {
    output: Output,
    breaker: Breaker,
}

impl Observer for Watcher {
    fn notice(&mut self, notice: Notice, replica: &Replica) {
        self.breaker.pass_struck();
        self.output.notice(notice.clone(), replica);
        self.breaker.handle_notice(&notice, replica);
    }

    fn link_failed(&mut self, error: &LinkError) {
        self.output.link_failed(error);
    }

    fn waiting(&mut self, pause: Duration) {
        self.output.waiting(pause);
    }

    fn standing(&mut self, standing: Standing, at: Resume) {
        self.output.standing(standing, at);
    }
}
