//! Leaders: the shipped sequencer, generator's draws and feed on the simulated disk, and the ways in which they end.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use engine::{Goodbye, GoodbyeReason, Term, Timestamp};
use feed::Feed;
use leader::sequencer::{self, Submitter};
use rand::RngExt;
use store::AppendError;
use tokio::time::{Instant, sleep};

use crate::executor::TaskId;
use crate::history::{Closed, LeaderEnd};
use crate::world::World;

const HEARTBEAT: Duration = Duration::from_millis(400);

/// Within this time a leader that was replaced must know, also one that is slowed down by its disk.
const MUST_KNOW: Duration = Duration::from_secs(2);

/// One run of a leader's process, numbered from 1. A leader's term need not tell it apart from others: that is to be
/// checked.
pub(crate) type Life = u64;

/// All leaders.
#[derive(Default)]
pub(crate) struct Leaders {
    alive: RefCell<BTreeMap<Life, Leader>>,
    /// Those that ended without a word: their answers reach nobody.
    dead: RefCell<BTreeSet<Life>>,
    count: Cell<Life>,
}

struct Leader {
    feed: Feed,
    submitter: Submitter,
    term: Term,
    writer: TaskId,
    others: Vec<TaskId>,
}

impl Leaders {
    /// The one that started last, if it still runs.
    pub(crate) fn newest(&self) -> Option<Life> {
        self.alive.borrow().keys().next_back().copied()
    }

    /// The one that started last.
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
}

impl World {
    pub(crate) fn start_leader(self: &Rc<Self>) {
        let life = self.leaders.count.get() + 1;
        self.leaders.count.set(life);
        let mut random = self.random();
        let opened = self.disk.open_now();
        let term = opened.term;
        self.trace(&format!("leader {life} starts at {} in term {term}", opened.tail.position()));
        self.history.borrow_mut().terms.push(term);
        let feed = Feed::new(&opened, HEARTBEAT);
        let started = Instant::now();
        let base = self.timestamp().0;
        let clock = move || Timestamp(base + u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX));
        let (submitter, writer) = sequencer::new(opened, feed.clone(), random.random(), clock);

        let world = Rc::clone(self);
        let writer = self.executor.spawn(async move {
            if let Some(error) = writer.run().await {
                world.step_down(life, &error);
            }
        });
        let (beating, drawing) = (feed.clone(), submitter.clone());
        let world = Rc::clone(self);
        let heartbeats = self.executor.spawn(async move {
            loop {
                beating.heartbeat(world.timestamp());
                sleep(HEARTBEAT).await;
            }
        });
        let world = Rc::clone(self);
        let generator = self.executor.spawn(async move {
            while !world.calm.get() && drawing.draw(random.random_range(1..=4)).await {
                sleep(Duration::from_millis(random.random_range(1..=120))).await;
            }
        });
        let leader = Leader { feed, submitter, term, writer, others: vec![heartbeats, generator] };
        self.leaders.alive.borrow_mut().insert(life, leader);
    }

    /// Every leader's process is killed; what was written stays.
    pub(crate) fn kill_leaders(self: &Rc<Self>, hosts_vanish: bool) {
        for life in self.leaders.lives() {
            self.trace(&format!("leader {life} is killed"));
            self.end_leader(life, hosts_vanish);
        }
    }

    /// The machine loses power: whatever was not synced may be gone.
    pub(crate) fn lose_power(self: &Rc<Self>, hosts_vanish: bool) {
        self.kill_leaders(hosts_vanish);
        let before = self.disk.look().commits.clone();
        let gone = self.disk.lose_power();
        self.trace(&format!("power is lost, and {gone} commits"));
        let lost = before.into_iter().rev().take(gone).collect::<Vec<_>>();
        self.history.borrow_mut().lost.extend(lost);
    }

    /// A leader is told to stop, says goodbye and ends.
    pub(crate) fn stop_leader(self: &Rc<Self>) {
        let Some(life) = self.leaders.newest() else { return };
        let (Some(submitter), Some(feed)) = (self.leaders.submitter(life), self.leaders.feed(life)) else { return };
        self.trace(&format!("leader {life} is told to stop"));
        let world = Rc::clone(self);
        self.executor.spawn(async move {
            // The shipped leader gives up on the flush after a while too.
            let _ = tokio::time::timeout(Duration::from_millis(500), submitter.close()).await;
            world.say_goodbye(life, &feed, GoodbyeReason::ShuttingDown);
            sleep(Duration::from_millis(300)).await;
            world.end_leader(life, false);
        });
    }

    fn say_goodbye(&self, life: Life, feed: &Feed, reason: GoodbyeReason) {
        let Some(term) = self.leaders.term(life).filter(|_| !feed.is_closed()) else { return };
        feed.close(Goodbye { reason, retry_after: Duration::from_millis(200) });
        let tail = feed.published().tail.position().index;
        self.trace(&format!("leader {life} says goodbye at {tail}"));
        self.history.borrow_mut().closed.push(Closed { term, tail });
    }

    /// Another leader starts on the same log while the old one runs. `idle`: nobody asks the old one for anything any more.
    /// `cut_off`: it does not reach the disk either, so that it cannot know; but it reaches its replicas.
    pub(crate) fn take_over(self: &Rc<Self>, idle: bool, cut_off: bool) {
        if let Some(old) = self.leaders.newest().filter(|_| idle) {
            self.trace(&format!("leader {old} is left alone (cut off from the disk: {cut_off})"));
            if let Some(leader) = self.leaders.alive.borrow_mut().get_mut(&old)
                && let Some(generator) = leader.others.pop()
            {
                self.executor.abort(generator);
                self.disk.look().cut_off.extend(cut_off.then_some(leader.term));
            }
        }
        let before = self.leaders.lives();
        self.start_leader();
        let world = Rc::clone(self);
        self.executor.spawn(async move {
            sleep(MUST_KNOW).await;
            let cut_off = world.disk.look().cut_off.clone();
            let lingering = before.into_iter().filter_map(|life| world.leaders.term(life));
            let lingering = lingering.filter(|term| !cut_off.contains(term));
            world.history.borrow_mut().lingering.extend(lingering);
        });
    }

    /// A leader ends by itself.
    fn step_down(self: &Rc<Self>, life: Life, error: &AppendError) {
        self.trace(&format!("leader {life} steps down: {error}"));
        let Some(feed) = self.leaders.feed(life) else { return };
        self.say_goodbye(life, &feed, GoodbyeReason::SteppedDown);
        let Some(leader) = self.leaders.alive.borrow_mut().remove(&life) else { return };
        for task in leader.others {
            self.executor.abort(task);
        }
        let disk = self.disk.look();
        let explained = match error {
            AppendError::Fenced(_) => disk.term > leader.term,
            AppendError::OutcomeUnknown(_) => disk.failed.contains(&leader.term),
            AppendError::Replaced(_)
            | AppendError::NotNext(_)
            | AppendError::Unavailable(_)
            | AppendError::Corrupt(_) => false,
        };
        drop(disk);
        let end = LeaderEnd { term: leader.term, why: error.to_string(), explained };
        self.history.borrow_mut().ends.push(end);
    }

    /// A leader's process is gone, and its streams with it; if its host vanishes, nobody tells the replicas.
    fn end_leader(self: &Rc<Self>, life: Life, host_vanishes: bool) {
        let Some(leader) = self.leaders.alive.borrow_mut().remove(&life) else { return };
        self.leaders.dead.borrow_mut().insert(life);
        self.executor.abort(leader.writer);
        for task in leader.others {
            self.executor.abort(task);
        }
        self.network.drop_streams_of(self, life, host_vanishes);
    }
}
