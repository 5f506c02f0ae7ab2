//! Leaders: the shipped sequencer with its orderly end and the shipped feed, on the simulated disk.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use engine::{GoodbyeReason, Operation, Term};
use feed::Feed;
use rand::RngExt;
use rand::rngs::StdRng;
use sequencer::Submitter;
use store::AppendError;
use tokio::time::sleep;

use crate::disk::Disk;
use crate::env::Env;
use crate::executor::TaskId;
use crate::history::{Closed, LeaderEnd};

const HEARTBEAT: Duration = Duration::from_millis(400);

/// A replaced leader must notice within this time, even if its disk is slow.
const MUST_KNOW: Duration = Duration::from_secs(2);

/// Numbers the runs of leader processes, from 1. Terms cannot serve: an invariant checks that they differ.
pub(crate) type Life = u64;

pub(crate) struct Leaders {
    env: Rc<Env>,
    disk: Disk,
    alive: RefCell<BTreeMap<Life, Leader>>,
    /// Leaders that were killed. Their answers reach no caller.
    dead: RefCell<BTreeSet<Life>>,
    count: Cell<Life>,
}

struct Leader {
    feed: Feed,
    submitter: Submitter,
    term: Term,
    committer: TaskId,
    heartbeats: TaskId,
    generator: TaskId,
}

impl Leaders {
    pub(crate) fn new(env: &Rc<Env>, disk: &Disk) -> Rc<Self> {
        Rc::new(Self {
            env: Rc::clone(env),
            disk: disk.clone(),
            alive: RefCell::default(),
            dead: RefCell::default(),
            count: Cell::default(),
        })
    }

    /// The newest leader that still runs.
    pub(crate) fn newest(&self) -> Option<Life> {
        self.alive.borrow().keys().next_back().copied()
    }

    /// The leader that started last, running or not.
    pub(crate) fn started(&self) -> Life {
        self.count.get()
    }

    pub(crate) fn lives(&self) -> Vec<Life> {
        self.alive.borrow().keys().copied().collect()
    }

    pub(crate) fn feed(&self, life: Life) -> Option<Feed> {
        self.alive.borrow().get(&life).map(|leader| leader.feed.clone())
    }

    pub(crate) fn submitter(&self, life: Life) -> Option<Submitter> {
        self.alive.borrow().get(&life).map(|leader| leader.submitter.clone())
    }

    pub(crate) fn term(&self, life: Life) -> Option<Term> {
        self.alive.borrow().get(&life).map(|leader| leader.term)
    }

    pub(crate) fn is_led_in(&self, term: Term) -> bool {
        self.alive.borrow().values().any(|leader| leader.term == term)
    }

    pub(crate) fn is_dead(&self, life: Life) -> bool {
        self.dead.borrow().contains(&life)
    }

    pub(crate) fn start(self: &Rc<Self>) {
        let life = self.count.get() + 1;
        self.count.set(life);
        let mut random = self.env.random();
        let opened = self.disk.open_now();
        let term = opened.term;
        self.env.trace(&format!("leader {life} starts at {} in term {term}", opened.tail.position()));
        self.env.history.borrow_mut().terms.push(term);
        let feed = Feed::new(&opened, HEARTBEAT);
        let (submitter, committer) =
            sequencer::start(opened, feed.clone(), source(self.env.random()), self.env.clock());

        let leaders = Rc::clone(self);
        let committer = self.env.spawn(async move {
            if let Some(why) = committer.run().await {
                leaders.step_down(life, &why).await;
            }
        });
        let (env, beating) = (Rc::clone(&self.env), feed.clone());
        let heartbeats = self.env.spawn(async move {
            loop {
                beating.heartbeat(env.timestamp());
                sleep(HEARTBEAT).await;
            }
        });
        let (env, drawing) = (Rc::clone(&self.env), submitter.clone());
        let generator = self.env.spawn(async move {
            while !env.is_calm() && drawing.draw(random.random_range(1..=4)).await {
                sleep(Duration::from_millis(random.random_range(1..=120))).await;
            }
        });
        let leader = Leader { feed, submitter, term, committer, heartbeats, generator };
        self.alive.borrow_mut().insert(life, leader);
    }

    /// Starts another leader on the same log while the old one runs. If `idle`, the old leader's generator stops. If it is
    /// also `cut_off`, the old leader reaches its replicas but not the disk, so it cannot learn that it was replaced.
    pub(crate) fn take_over(self: &Rc<Self>, idle: bool, cut_off: bool) {
        if let Some(old) = self.newest().filter(|_| idle) {
            self.env.trace(&format!("leader {old} is left alone (cut off from the disk: {cut_off})"));
            if let Some(leader) = self.alive.borrow().get(&old) {
                self.env.abort(leader.generator);
                self.disk.look().cut_off.extend(cut_off.then_some(leader.term));
            }
        }
        let before = self.lives();
        self.start();
        let leaders = Rc::clone(self);
        self.env.spawn(async move {
            sleep(MUST_KNOW).await;
            let cut_off = leaders.disk.look().cut_off.clone();
            let lingering = before.into_iter().filter_map(|life| leaders.term(life));
            let lingering = lingering.filter(|term| !cut_off.contains(term));
            leaders.env.history.borrow_mut().lingering.extend(lingering);
        });
    }

    /// Shuts a leader down in order: it commits its queue and says goodbye.
    pub(crate) async fn end(&self, life: Life) {
        self.say_goodbye(life, GoodbyeReason::ShuttingDown).await;
    }

    async fn say_goodbye(&self, life: Life, reason: GoodbyeReason) {
        let (Some(submitter), Some(feed), Some(term)) = (self.submitter(life), self.feed(life), self.term(life)) else {
            return;
        };
        submitter.end(reason).await;
        let tail = feed.published().tail.position().index;
        self.env.trace(&format!("leader {life} said goodbye at {tail}"));
        self.env.history.borrow_mut().closed.push(Closed { term, tail });
    }

    /// Ends a leader that lost the right to write. Its streams continue up to their goodbye.
    async fn step_down(&self, life: Life, why: &AppendError) {
        self.env.trace(&format!("leader {life} steps down: {why}"));
        self.say_goodbye(life, GoodbyeReason::SteppedDown).await;
        let Some(leader) = self.alive.borrow_mut().remove(&life) else { return };
        self.env.abort(leader.heartbeats);
        self.env.abort(leader.generator);
        let disk = self.disk.look();
        let explained = match why {
            AppendError::Fenced(_) => disk.term > leader.term,
            AppendError::OutcomeUnknown(_) => disk.failed.contains(&leader.term),
            AppendError::Replaced(_)
            | AppendError::NotNext(_)
            | AppendError::Unavailable(_)
            | AppendError::Corrupt(_) => false,
        };
        drop(disk);
        let end = LeaderEnd { term: leader.term, why: why.to_string(), explained };
        self.env.history.borrow_mut().ends.push(end);
    }

    /// Kills a leader's process. The caller breaks its streams.
    pub(crate) fn kill(&self, life: Life) {
        let Some(leader) = self.alive.borrow_mut().remove(&life) else { return };
        self.dead.borrow_mut().insert(life);
        for task in [leader.committer, leader.heartbeats, leader.generator] {
            self.env.abort(task);
        }
    }
}

/// Random operations with arguments from 1 to 100. Clients use larger ones.
fn source(mut random: StdRng) -> impl FnMut() -> Operation + Send + 'static {
    move || {
        let (code, argument) = (random.random_range(1..=6), random.random_range(1..=100));
        let operation = Operation::from_code(code, Some(argument)).or_else(|| Operation::from_code(code, None));
        operation.unwrap_or(Operation::Add(argument))
    }
}
