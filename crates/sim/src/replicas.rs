//! Replicas: the shipped session loop on simulated links, and an observer that records what they see.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use engine::replica::{Divergence, Notice, State};
use engine::{Replica, Resume, Snapshot, Standing, Term};
use follower::{FaultyLink, Freezer, LinkError, Observer, SharedInjector, follow};
use rand::RngExt;
use tokio::time::sleep;

use crate::clients::Claim;
use crate::disk::Disk;
use crate::env::Env;
use crate::executor::TaskId;
use crate::history::Seen;
use crate::leaders::Leaders;
use crate::network::{Network, SimLink};

pub(crate) struct Replicas {
    env: Rc<Env>,
    disk: Disk,
    leaders: Rc<Leaders>,
    network: Rc<Network>,
    all: RefCell<Vec<Place>>,
    /// What can be done to each replica from outside.
    hands: Vec<Hands>,
}

#[derive(Clone, Default)]
struct Hands {
    injector: SharedInjector,
    freezer: Freezer,
}

#[derive(Clone, Copy)]
struct Place {
    task: Option<TaskId>,
    state: State,
    held: Option<Snapshot>,
}

impl Replicas {
    pub(crate) fn new(
        env: &Rc<Env>,
        disk: &Disk,
        leaders: &Rc<Leaders>,
        network: &Rc<Network>,
        count: usize,
    ) -> Rc<Self> {
        let place = Place { task: None, state: State::Waiting, held: None };
        Rc::new(Self {
            env: Rc::clone(env),
            disk: disk.clone(),
            leaders: Rc::clone(leaders),
            network: Rc::clone(network),
            all: RefCell::new(vec![place; count]),
            hands: (0..count).map(|_| Hands::default()).collect(),
        })
    }

    pub(crate) fn count(&self) -> usize {
        self.all.borrow().len()
    }

    pub(crate) fn standing(&self) -> Vec<(State, Option<Snapshot>)> {
        self.all.borrow().iter().map(|place| (place.state, place.held)).collect()
    }

    /// Starts replica `number`, with the state that it saved, if any.
    pub(crate) fn start(self: &Rc<Self>, number: usize, saved: Option<Snapshot>) {
        let seed = self.env.random().random();
        let replica = match saved {
            Some(saved) => Replica::restore(seed, saved),
            None => Replica::new(seed),
        };
        let Hands { injector, freezer } = self.hands.get(number).cloned().unwrap_or_default();
        let link = FaultyLink::new(SimLink::new(&self.network, number), injector);
        let mut watcher = Watcher { replicas: Rc::clone(self), number, follows: None };
        watcher.see(Seen::Started);
        let task = self.env.spawn(async move {
            freezer.run(follow(replica, link, &mut watcher)).await;
        });
        if let Some(place) = self.all.borrow_mut().get_mut(number) {
            *place = Place { task: Some(task), state: State::Waiting, held: saved };
        }
    }

    /// Cuts a replica's link at the replica's end for a while.
    pub(crate) fn take_down(self: &Rc<Self>, number: usize, time: Duration) {
        let Some(Hands { injector, .. }) = self.hands.get(number).cloned() else { return };
        self.env.trace(&format!("replica {number}'s link is down for {time:?}"));
        injector.lock().take_down();
        self.env.spawn(async move {
            sleep(time).await;
            injector.lock().bring_up();
        });
    }

    /// Freezes a replica for a while.
    pub(crate) fn freeze(self: &Rc<Self>, number: usize, time: Duration) {
        let Some(Hands { freezer, .. }) = self.hands.get(number).cloned() else { return };
        self.env.trace(&format!("replica {number} is frozen for {time:?}"));
        freezer.freeze();
        self.env.spawn(async move {
            sleep(time).await;
            freezer.thaw();
        });
    }

    pub(crate) fn restart(self: &Rc<Self>, number: usize, keeps_state: bool, pause: Duration) {
        self.env.trace(&format!("replica {number} is killed (keeps its state: {keeps_state})"));
        let place = self.all.borrow().get(number).copied();
        let Some(Place { task: Some(task), held, .. }) = place else { return };
        self.env.abort(task);
        if let Some(place) = self.all.borrow_mut().get_mut(number) {
            place.task = None;
            place.state = State::Waiting;
        }
        let replicas = Rc::clone(self);
        self.env.spawn(async move {
            sleep(pause).await;
            replicas.start(number, held.filter(|_| keeps_state));
        });
    }
}

struct Watcher {
    replicas: Rc<Replicas>,
    number: usize,
    follows: Option<Term>,
}

impl Watcher {
    fn see(&self, seen: Seen) {
        if let Some(replica) = self.replicas.env.history.borrow_mut().seen.get_mut(self.number) {
            replica.push(seen);
        }
    }

    fn see_held(&self, replica: &Replica) {
        let Some(held) = replica.snapshot() else { return };
        self.see(Seen::Held { log: held.log(), position: held.position(), value: held.value() });
    }
}

impl Observer for Watcher {
    fn notice(&mut self, notice: Notice, replica: &Replica) {
        let number = self.number;
        match &notice {
            Notice::Applied { value_before, batch } => {
                let end = batch.end();
                self.replicas.env.trace(&format!("replica {number} applied {} to {end}", batch.first()));
                for (event, author) in batch.events(*value_before).zip(batch.authors().each()) {
                    self.see(Seen::Applied(event));
                    if !Claim::of(event.operation).is(author) {
                        self.see(Seen::WrongAuthor { event, author: format!("{author:?}") });
                    }
                }
                self.see_held(replica);
            }
            Notice::SnapshotLoaded { snapshot } => {
                self.replicas.env.trace(&format!(
                    "replica {number} loaded {} with {}",
                    snapshot.position(),
                    snapshot.value()
                ));
                self.see_held(replica);
            }
            Notice::Welcomed(welcome) => {
                self.follows = Some(welcome.term);
                self.see(Seen::Welcomed { log: welcome.log, term: welcome.term });
            }
            Notice::CaughtUp(_) => {
                let position = replica.position();
                let disk = self.replicas.disk.look();
                let on_disk = position.index.0 == 0 || disk.commits.iter().any(|commit| commit.batch.end == position);
                drop(disk);
                // Frames may arrive after their leader is gone and a power cut took the end of its log.
                let leads = replica.welcome().is_some_and(|welcome| self.replicas.leaders.is_led_in(welcome.term));
                let on_disk = on_disk || !leads;
                self.see(Seen::CaughtUp { position, on_disk });
            }
            Notice::Goodbye(goodbye) => {
                self.replicas.env.trace(&format!("replica {number} got {goodbye:?}"));
                if let Some(term) = self.follows {
                    self.see(Seen::Goodbye { term, held: replica.position().index });
                }
            }
            Notice::Diverged(divergence) => {
                self.replicas.env.trace(&format!("replica {number} diverged: {divergence}"));
                let by_digest = !matches!(divergence, Divergence::Verdict { .. });
                self.see(Seen::Diverged { by_digest });
            }
            Notice::StateChanged { from, to } => {
                self.replicas.env.trace(&format!("replica {number} goes from {} to {}", from.name(), to.name()));
            }
            other => self.replicas.env.trace(&format!("replica {number}: {other:?}")),
        }
        if let Some(place) = self.replicas.all.borrow_mut().get_mut(number) {
            place.state = replica.state();
            place.held = replica.snapshot();
        }
    }

    fn link_failed(&mut self, _error: &LinkError) {}

    fn standing(&mut self, standing: Standing, at: Resume) {
        self.replicas.env.trace(&format!("replica {} stands {standing:?} at {}", self.number, at.position));
    }
}
