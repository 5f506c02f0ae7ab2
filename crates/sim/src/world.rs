//! The world: what is in it, what befalls it, and how it is healed.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use engine::replica::State;
use engine::{Durability, LogId, Snapshot, Timestamp};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::{Instant, sleep};

use crate::Report;
use crate::disk::Disk;
use crate::executor::Executor;
use crate::history::{Healed, History, Nature};
use crate::leader::Leaders;
use crate::network::Network;
use crate::replica::{self, Replicas};
use crate::{client, invariants};

/// How long a world may take to converge once it is healed: the longest backoff, the longest patience of a client and a
/// stale link fit in several times.
const CONVERGENCE: Duration = Duration::from_secs(90);

/// How long after healing submissions that were held up may still arrive.
const STRAGGLERS: Duration = Duration::from_secs(15);

/// Everything. Tasks share it by `Rc`; nothing is borrowed across an await.
pub(crate) struct World {
    pub(crate) executor: Executor,
    pub(crate) disk: Disk,
    pub(crate) network: Network,
    pub(crate) leaders: Leaders,
    pub(crate) replicas: Replicas,
    pub(crate) history: RefCell<History>,
    pub(crate) nature: Nature,
    /// Set when the world is healed: no link misbehaves any more, and clients ask for nothing new.
    pub(crate) calm: Cell<bool>,
    /// Clients that have not come to their end.
    pub(crate) clients: Cell<usize>,
    started: Instant,
    /// For seeds of parts; each has its own, so that one more draw here changes nothing there.
    seeds: RefCell<StdRng>,
}

impl World {
    pub(crate) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    pub(crate) fn timestamp(&self) -> Timestamp {
        Timestamp(u64::try_from(self.now().as_micros()).unwrap_or(u64::MAX))
    }

    pub(crate) fn random(&self) -> StdRng {
        StdRng::seed_from_u64(self.seeds.borrow_mut().random())
    }

    pub(crate) fn trace(&self, what: &str) {
        let now = self.now();
        self.history.borrow_mut().trace(now, what);
    }
}

/// Runs the world of `seed` from beginning to end.
pub(crate) fn run(seed: u64) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let Ok(runtime) = runtime else { unreachable!("a runtime without I/O needs nothing from the system") };
    runtime.block_on(async move {
        let world = begin(seed);
        let executor = world.executor.clone();
        let mut history = executor.run(live(Rc::clone(&world))).await;
        history.log = world.disk.look().commits.clone();
        let violations = invariants::check(&history);
        let done = |answer: &&crate::history::Answer| matches!(answer.outcome, crate::history::Outcome::Done(_));
        Report {
            seed,
            nature: history.nature,
            events: world.disk.look().tail().position().index.0,
            acknowledged: history.answers.iter().filter(done).count() as u64,
            leaders: history.terms.len() as u64,
            trace: history.take_trace(),
            violations,
        }
    })
}

fn begin(seed: u64) -> Rc<World> {
    let mut random = StdRng::seed_from_u64(seed);
    let nature = Nature {
        forgetful_disk: random.random_bool(0.25),
        scrambling_links: random.random_bool(0.4),
        altering_links: random.random_bool(0.25),
    };
    let replicas = random.random_range(2..=4);
    let durability = if nature.forgetful_disk { Durability::Os } else { Durability::Fsync };
    let (retain, snapshot_every) = (random.random_range(20..=600), random.random_range(5..=60));
    let disk = Disk::new(random.random(), LogId(random.random()), durability, retain, snapshot_every);
    let mut history = History::new(nature, replicas);
    history
        .trace(Duration::ZERO, &format!("seed {seed}: {replicas} replicas, {durability}, retain {retain}, {nature:?}"));
    Rc::new(World {
        executor: Executor::new(random.random()),
        disk,
        network: Network::new(replicas),
        leaders: Leaders::default(),
        replicas: Replicas::new(replicas),
        history: RefCell::new(history),
        nature,
        calm: Cell::new(false),
        clients: Cell::new(0),
        started: Instant::now(),
        seeds: RefCell::new(random),
    })
}

/// The life of the world.
async fn live(world: Rc<World>) -> History {
    let mut random = world.random();
    world.executor.spawn(world.disk.clone().watch_terms());
    world.start_leader();
    for number in 0..world.replicas.count() {
        replica::start(&world, number, None);
    }
    for number in 0..random.random_range(1..=3) {
        client::start(&world, number);
    }
    let end = Duration::from_secs(random.random_range(8..=25));
    while world.now() < end {
        sleep(Duration::from_millis(random.random_range(50..=1_500))).await;
        befall(&world, &mut random);
    }
    heal(&world, &mut random).await;
    let nature = world.nature;
    world.history.replace(History::new(nature, 0))
}

/// One thing happens.
fn befall(world: &Rc<World>, random: &mut StdRng) {
    // However bad it gets, somebody starts a leader again.
    if world.leaders.newest().is_none() {
        world.start_leader();
        return;
    }
    let replica = random.random_range(0..world.replicas.count());
    let time = Duration::from_millis(random.random_range(50..=4_000));
    match random.random_range(0..17) {
        0 | 1 => world.kill_leaders(random.random_bool(0.3)),
        2 => world.lose_power(random.random_bool(0.3)),
        3 => world.stop_leader(),
        4 | 5 => world.take_over(random.random_bool(0.5), random.random_bool(0.5)),
        6 | 7 => world.network.partition(replica, world.now() + time),
        8 => world.network.partition_clients(world.now() + time),
        9 | 10 => world.network.cut(world, replica, random.random_bool(0.3)),
        11 => {
            world.trace("the disk is full");
            world.disk.look().faults.full = true;
            let task = Rc::clone(world);
            world.executor.spawn(async move {
                sleep(time).await;
                task.disk.look().faults.full = false;
                task.trace("the disk has room again");
            });
        }
        12 => {
            world.trace("the disk is slow");
            world.disk.look().faults.slow = time / 10;
        }
        13 => {
            let written = random.random_bool(0.5);
            world.trace(&format!("the disk will fail once (written: {written})"));
            world.disk.look().faults.fails_next = Some(written);
        }
        14 => {
            world.trace("the disk cannot be read");
            world.disk.look().faults.unreadable = true;
            let task = Rc::clone(world);
            world.executor.spawn(async move {
                sleep(time / 2).await;
                task.disk.look().faults.unreadable = false;
            });
        }
        15 => {
            let keeps_state = random.random_bool(0.6);
            replica::restart(world, replica, keeps_state, time / 4);
        }
        _ => {
            world.disk.sync();
            world.disk.look().faults.slow = Duration::ZERO;
        }
    }
}

async fn heal(world: &Rc<World>, random: &mut StdRng) {
    world.trace("healed");
    world.calm.set(true);
    world.network.heal();
    world.disk.look().faults = crate::disk::DiskFaults::default();
    if world.leaders.lives().len() != 1
        || world.leaders.newest() != Some(world.leaders.started())
        || random.random_bool(0.5)
    {
        // Whoever lingers from before a takeover goes. One that leads alone may stay: it has to go on by itself.
        world.kill_leaders(false);
        sleep(Duration::from_millis(100)).await;
        world.start_leader();
    }
    sleep(STRAGGLERS).await;
    if world.leaders.newest().is_none() {
        // It had been told to stop just before. One that ended for no reason is another invariant's matter.
        world.start_leader();
    }
    // Something new shows who does not follow, or lead, any more.
    let takes_operations = client::put_last(world).await;
    let give_up = world.now() + CONVERGENCE;
    let healed = loop {
        let tail = world.disk.look().tail();
        let healed =
            Healed { tail, replicas: world.replicas.standing(), waiting: world.clients.get(), takes_operations };
        let converged = healed.waiting == 0
            && healed
                .replicas
                .iter()
                .all(|(state, held): &(State, Option<Snapshot>)| *state == State::Live && *held == Some(tail));
        if converged || world.now() > give_up {
            break healed;
        }
        sleep(Duration::from_millis(50)).await;
    };
    world.trace(&format!("ends at {} with {}", healed.tail.position(), healed.tail.value()));
    world.history.borrow_mut().healed = Some(healed);
}
