//! The script of a world: its actors, its faults, and how it heals.

use std::rc::Rc;
use std::time::Duration;

use engine::replica::State;
use engine::{Durability, LogId, Snapshot};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use store::testing::Setup;
use tokio::time::sleep;

use crate::clients::Clients;
use crate::disk::{Disk, DiskFaults};
use crate::env::Env;
use crate::history::{Answer, Healed, History, Nature, Outcome};
use crate::leaders::{Leaders, Life};
use crate::network::Network;
use crate::replicas::Replicas;
use crate::{WorldReport, invariants};

/// How long a healed world may take to converge: several times the sum of the longest backoff, a client's longest patience
/// and the time until a link counts as stale.
const CONVERGENCE: Duration = Duration::from_secs(90);

/// How long after healing delayed submissions may still arrive.
const STRAGGLERS: Duration = Duration::from_secs(15);

/// How long a leader keeps running after its goodbye, so that its streams can end.
const STREAMS_END: Duration = Duration::from_millis(300);

struct World {
    env: Rc<Env>,
    disk: Disk,
    leaders: Rc<Leaders>,
    network: Rc<Network>,
    replicas: Rc<Replicas>,
    clients: Rc<Clients>,
}

pub(crate) fn run(seed: u64) -> WorldReport {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let Ok(runtime) = runtime else { unreachable!("a runtime without I/O needs nothing from the system") };
    runtime.block_on(async move {
        let world = begin(seed);
        let (env, script) = (Rc::clone(&world.env), Rc::clone(&world));
        let mut history = env.executor().run(live(script)).await;
        history.log = world.disk.look().commits.clone();
        let violations = invariants::check(&history);
        let done = |answer: &&Answer| matches!(answer.outcome, Outcome::Done(_));
        WorldReport {
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
    let count = random.random_range(2..=4);
    let durability = if nature.forgetful_disk { Durability::Os } else { Durability::Fsync };
    let (retain, snapshot_every) = (random.random_range(20..=600), random.random_range(5..=60));
    // A third of the logs is bounded by bytes, often more strictly than by events.
    let retain_bytes = if random.random_bool(0.33) { random.random_range(500..=20_000) } else { u64::MAX };
    let setup = Setup { retain, retain_bytes, snapshot_every };
    let disk = Disk::new(random.random(), LogId(random.random()), durability, setup);
    let env = Rc::new(Env::new(random, nature, count));
    env.trace(&format!("seed {seed}: {count} replicas, {durability}, {setup:?}, {nature:?}"));
    let leaders = Leaders::new(&env, &disk);
    let network = Network::new(&env, &leaders, count);
    let replicas = Replicas::new(&env, &disk, &leaders, &network, count);
    let clients = Clients::new(&env, &disk, &leaders, &network);
    Rc::new(World { env, disk, leaders, network, replicas, clients })
}

/// Starts all actors, injects faults for a while, then heals.
async fn live(world: Rc<World>) -> History {
    let mut random = world.env.random();
    world.env.spawn(world.disk.clone().watch_terms());
    world.leaders.start();
    for number in 0..world.replicas.count() {
        world.replicas.start(number, None);
    }
    for number in 0..random.random_range(1..=3) {
        world.clients.start(number);
    }
    let end = Duration::from_secs(random.random_range(8..=25));
    while world.env.now() < end {
        sleep(Duration::from_millis(random.random_range(50..=1_500))).await;
        world.inject_fault(&mut random);
    }
    world.heal(&mut random).await;
    world.env.history.replace(History::new(world.env.nature(), 0))
}

impl World {
    /// Injects a fault, repairs the disk, or starts a leader if none runs.
    fn inject_fault(self: &Rc<Self>, random: &mut StdRng) {
        if self.leaders.newest().is_none() {
            self.leaders.start();
            return;
        }
        let replica = random.random_range(0..self.replicas.count());
        let time = Duration::from_millis(random.random_range(50..=4_000));
        match random.random_range(0..19) {
            0 | 1 => self.kill_leaders(random.random_bool(0.3)),
            2 => self.lose_power(random.random_bool(0.3)),
            3 => self.stop_leader(),
            4 | 5 => self.leaders.take_over(random.random_bool(0.5), random.random_bool(0.5)),
            6 | 7 => self.network.partition(replica, self.env.now() + time),
            8 => self.network.partition_clients(self.env.now() + time),
            9 | 10 => self.network.cut(replica, random.random_bool(0.3)),
            11 => {
                self.env.trace("the disk is full");
                self.disk.look().faults.full = true;
                let world = Rc::clone(self);
                self.env.spawn(async move {
                    sleep(time).await;
                    world.disk.look().faults.full = false;
                    world.env.trace("the disk has room again");
                });
            }
            12 => {
                self.env.trace("the disk is slow");
                self.disk.look().faults.slow = time / 10;
            }
            13 => {
                let written = random.random_bool(0.5);
                self.env.trace(&format!("the disk will fail once (written: {written})"));
                self.disk.look().faults.fails_next = Some(written);
            }
            14 => {
                self.env.trace("the disk cannot be read");
                self.disk.look().faults.unreadable = true;
                let world = Rc::clone(self);
                self.env.spawn(async move {
                    sleep(time / 2).await;
                    world.disk.look().faults.unreadable = false;
                });
            }
            15 => {
                let keeps_state = random.random_bool(0.6);
                self.replicas.restart(replica, keeps_state, time / 4);
            }
            16 => self.replicas.take_down(replica, time),
            17 => self.replicas.freeze(replica, time),
            _ => {
                self.disk.sync();
                self.disk.look().faults.slow = Duration::ZERO;
            }
        }
    }

    /// Kills every leader's process. The disk keeps what was written. If the hosts vanish, replicas see no end of stream.
    fn kill_leaders(&self, hosts_vanish: bool) {
        for life in self.leaders.lives() {
            self.env.trace(&format!("leader {life} is killed"));
            self.kill_leader(life, hosts_vanish);
        }
    }

    fn kill_leader(&self, life: Life, host_vanishes: bool) {
        self.leaders.kill(life);
        self.network.drop_streams_of(life, host_vanishes);
    }

    /// Kills every leader and takes some or all of the unsynced commits from the disk.
    fn lose_power(&self, hosts_vanish: bool) {
        self.kill_leaders(hosts_vanish);
        let before = self.disk.look().commits.clone();
        let gone = self.disk.lose_power();
        self.env.trace(&format!("power is lost, and with it {gone} commits"));
        let lost = before.into_iter().rev().take(gone).collect::<Vec<_>>();
        self.env.history.borrow_mut().lost.extend(lost);
    }

    /// Stops a leader in order: it says goodbye and ends.
    fn stop_leader(self: &Rc<Self>) {
        let Some(life) = self.leaders.newest() else { return };
        self.env.trace(&format!("leader {life} shuts down"));
        let world = Rc::clone(self);
        self.env.spawn(async move {
            world.leaders.end(life).await;
            sleep(STREAMS_END).await;
            world.kill_leader(life, false);
        });
    }

    async fn heal(&self, random: &mut StdRng) {
        self.env.trace("healed");
        self.env.calm_down();
        self.network.heal();
        self.disk.look().faults = DiskFaults::default();
        if self.leaders.lives().len() != 1
            || self.leaders.newest() != Some(self.leaders.started())
            || random.random_bool(0.5)
        {
            // A replaced leader goes. The newest leader may stay if it is the only one, and must then recover unaided.
            self.kill_leaders(false);
            sleep(Duration::from_millis(100)).await;
            self.leaders.start();
        }
        sleep(STRAGGLERS).await;
        if self.leaders.newest().is_none() {
            // A shutdown from before healing may have ended the leader since. `invariants::leaders` judges every other end.
            self.leaders.start();
        }
        // A new operation shows whether a leader still commits and every replica still follows.
        let takes_operations = self.clients.submit_last().await;
        let give_up = self.env.now() + CONVERGENCE;
        let healed = loop {
            let tail = self.disk.look().tail();
            let healed =
                Healed { tail, replicas: self.replicas.standing(), waiting: self.clients.busy(), takes_operations };
            let converged = healed.waiting == 0
                && healed
                    .replicas
                    .iter()
                    .all(|(state, held): &(State, Option<Snapshot>)| *state == State::Live && *held == Some(tail));
            if converged || self.env.now() > give_up {
                break healed;
            }
            sleep(Duration::from_millis(50)).await;
        };
        self.env.trace(&format!("ends at {} with {}", healed.tail.position(), healed.tail.value()));
        self.env.history.borrow_mut().healed = Some(healed);
    }
}
