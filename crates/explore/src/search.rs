//! Breadth first through every state of a world.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use crate::action::Action;
use crate::config::WorldConfig;
use crate::invariants::{self, BrokenPromise};
use crate::sights::Sights;
use crate::world::World;
use crate::{describe, heal};

/// How far to search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// How many failures may happen in all.
    pub failures: u8,
    /// End the search after about this many states, complete or not.
    pub states: usize,
    /// End the search after this time, complete or not.
    pub time: Duration,
}

/// What came of a search.
#[derive(Clone, Debug)]
pub struct Exploration {
    /// How many states were visited. Each was judged, and healed to see whether it comes to rest.
    pub states: usize,
    /// How many steps were taken from them.
    pub steps: u64,
    /// The longest of the shortest ways to a state, in steps.
    pub depth: u16,
    /// How many different states were met while healing.
    pub healing: usize,
    /// The most steps that a healed world took until it was at rest.
    pub rest: u16,
    /// Whether no state is left out.
    pub complete: bool,
    /// What was met.
    pub sights: Sights,
    /// How long it took.
    pub took: Duration,
    /// What was broken, and how to get there.
    pub broken: Option<Broken>,
}

/// A promise that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Which one, and how.
    pub violation: BrokenPromise,
    /// The shortest way there, a line for each step.
    pub path: Vec<String>,
}

/// Visits every state of the world of `config` within `bound`, nearest first, until a promise is broken.
#[must_use]
pub fn explore(config: &'static WorldConfig, bound: Bound) -> Exploration {
    let started = Instant::now();
    let first = || World::new(config, bound.failures);
    let mut search = Search::new(first());
    let found = search.run(started, bound);
    let complete = search.queue.is_empty() && found.is_none();
    let broken = found
        .map(|Found { violation, way, healing }| Broken { path: describe::path(first(), &way, &healing), violation });
    Exploration {
        states: search.reached.len(),
        steps: search.steps,
        depth: search.depth,
        healing: search.rests.len(),
        rest: search.longest_rest,
        complete,
        sights: search.sights,
        took: started.elapsed(),
        broken,
    }
}

/// Fingerprints are as good as random already.
#[derive(Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _bytes: &[u8]) {
        unreachable!("only fingerprints are hashed");
    }

    fn write_u128(&mut self, print: u128) {
        #[expect(clippy::cast_possible_truncation, reason = "half of a fingerprint is enough to find it")]
        let half = print as u64;
        self.0 = half;
    }
}

type Prints = BuildHasherDefault<AsIs>;

struct Search {
    seen: HashSet<u128, Prints>,
    /// For each state, in the order in which they were found: the state before it, and the step from there.
    reached: Vec<(u32, Action)>,
    /// States whose steps are not taken yet, each with its number and its distance from the first.
    queue: VecDeque<(u32, u16, World)>,
    /// For each state that was met while healing, how many steps it takes to rest.
    rests: HashMap<u128, u16, Prints>,
    longest_rest: u16,
    steps: u64,
    depth: u16,
    sights: Sights,
}

/// A broken promise.
struct Found {
    violation: BrokenPromise,
    /// The steps that lead there.
    way: Vec<Action>,
    /// The steps of healing that follow.
    healing: Vec<Action>,
}

impl Search {
    fn new(first: World) -> Self {
        Self {
            seen: HashSet::from_iter([first.print()]),
            // The first state comes from nowhere; its step is never looked at.
            reached: vec![(0, Action::Start)],
            queue: VecDeque::from([(0, 0, first)]),
            rests: HashMap::default(),
            longest_rest: 0,
            steps: 0,
            depth: 0,
            sights: Sights::default(),
        }
    }

    fn run(&mut self, started: Instant, bound: Bound) -> Option<Found> {
        let mut actions = Vec::new();
        while let Some((number, distance, world)) = self.queue.pop_front() {
            if self.reached.len() >= bound.states || (number % 1_024 == 0 && started.elapsed() >= bound.time) {
                self.queue.push_front((number, distance, world));
                return None;
            }
            self.depth = distance;
            world.actions(&mut actions);
            for &action in &actions {
                let mut next = world.clone();
                self.steps += 1;
                if let Err(violation) = catch(|| next.carry_out(action, &mut self.sights)) {
                    return Some(Found { violation, way: self.way_to(number, action), healing: Vec::new() });
                }
                if !self.seen.insert(next.print()) {
                    continue;
                }
                if let Err((violation, healing)) = self.heal(&next) {
                    return Some(Found { violation, way: self.way_to(number, action), healing });
                }
                let Ok(found) = u32::try_from(self.reached.len()) else { return None };
                self.reached.push((number, action));
                self.queue.push_back((found, distance + 1, next));
            }
        }
        None
    }

    /// Heals a world, and sees whether it comes to rest as it should. What was met while healing another one is not gone
    /// through again.
    fn heal(&mut self, world: &World) -> Result<(), (BrokenPromise, Vec<Action>)> {
        let mut world = heal::begin(world);
        let (mut way, mut prints) = (Vec::new(), Vec::new());
        let mut rest = 0;
        // It ends: there are only so many states, and none is met twice.
        loop {
            let comes_back = match self.rests.entry(world.print()) {
                Entry::Occupied(known) => {
                    rest = *known.get();
                    break;
                }
                Entry::Vacant(new) => {
                    let print = *new.key();
                    let comes_back = prints.contains(&print);
                    prints.push(print);
                    comes_back
                }
            };
            let Some(action) = heal::next(&world).filter(|_| !comes_back) else {
                invariants::check_rest(&world, comes_back).map_err(|violation| (violation, way))?;
                break;
            };
            way.push(action);
            if let Err(violation) = catch(|| heal::carry_out(&mut world, action)) {
                return Err((violation, way));
            }
        }
        for print in prints.into_iter().rev() {
            self.rests.insert(print, rest);
            rest += 1;
        }
        self.longest_rest = self.longest_rest.max(rest);
        Ok(())
    }

    /// The steps from the first state to the state `number`, and then `last`.
    fn way_to(&self, number: u32, last: Action) -> Vec<Action> {
        let mut way = vec![last];
        let mut at = number;
        while at != 0 {
            let (before, action) = self.reached[at as usize];
            way.push(action);
            at = before;
        }
        way.reverse();
        way
    }
}

/// An assertion that fails in the code under test is a broken promise.
fn catch<T>(does: impl FnOnce() -> Result<T, BrokenPromise>) -> Result<T, BrokenPromise> {
    catch_unwind(AssertUnwindSafe(does)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(invariants::panicked(text.unwrap_or_else(|| "something panicked".to_owned())))
    })
}
