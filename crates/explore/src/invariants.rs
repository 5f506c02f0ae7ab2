//! What must be true whatever happens: the promises that the simulation checks, here in every state and step.

use engine::leader::{Rejection, Subscription};
use engine::replica::{Divergence, Notice};
use engine::{Author, Batch, Event, Index, ProducerError, Refusal, Snapshot};

use crate::budget::Kind;
use crate::client::{Client, Fate};
use crate::leader::{Leader, No};
use crate::log::Log;
use crate::world::{DRAWN, World};

const PREFIX: &str = "every replica's history is a prefix of the committed log";
const ACKNOWLEDGED: &str = "acknowledged means present once, forever";
const DIGESTS: &str = "digests agree at equal indexes";
const TERMS: &str = "terms never go back";
const CONVERGENCE: &str = "after healing, all converge";
const LEADERS: &str = "a leader stops when it must, and only then";
const GOODBYES: &str = "a goodbye comes last";
const AUTHORS: &str = "authors arrive as they were claimed";
const DURABLE: &str = "nothing is published or answered before it is durable";
const ORDER: &str = "floor <= snapshot <= applied <= tail";

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenPromise {
    /// Which promise.
    pub invariant: &'static str,
    /// How.
    pub what: String,
}

fn broken(invariant: &'static str, what: impl Into<String>) -> BrokenPromise {
    BrokenPromise { invariant, what: what.into() }
}

fn keep(holds: bool, invariant: &'static str, what: impl FnOnce() -> String) -> Result<(), BrokenPromise> {
    if holds { Ok(()) } else { Err(broken(invariant, what())) }
}

/// The code asserted something that does not hold.
pub(crate) fn panicked(what: String) -> BrokenPromise {
    broken("nothing panics", what)
}

/// What is true of every state.
pub(crate) fn check(world: &World) -> Result<(), BrokenPromise> {
    let log = &*world.log;
    check_held(world, log)?;
    for (_, leader) in world.running() {
        check_published(log, leader)?;
    }
    let (floor, tail) = (log.floor().index, log.tail().position().index);
    keep(floor <= tail, ORDER, || format!("the store's floor is {floor} and its tail {tail}"))?;
    if let (Some(before), Some(last)) = (log.before_last(), log.last()) {
        let (before, last) = (before.batch.term(), last.batch.term());
        keep(before <= last, TERMS, || format!("a batch of term {last} follows one of term {before}"))?;
    }
    log.last().map_or(Ok(()), |last| check_authors(&last.batch))?;
    if log.has_lost() {
        return Ok(());
    }
    (0..world.client.begun()).try_for_each(|number| check_fate(world, number))
}

fn check_held(world: &World, log: &Log) -> Result<(), BrokenPromise> {
    let Some(held) = world.replica.held() else { return Ok(()) };
    keep(log.has(held) || log.lost(held), PREFIX, || {
        format!("the replica holds {} at {}, which the log does not", held.value(), held.position())
    })
}

fn check_published(log: &Log, leader: &Leader) -> Result<(), BrokenPromise> {
    let (term, published) = (leader.term(), leader.published());
    keep(log.has(published), DURABLE, || {
        format!("the leader of term {term} published up to {}, which is not in the log", published.position())
    })?;
    let (floor, tail) = (leader.floor(), published.position().index);
    keep(floor <= tail, ORDER, || format!("the floor of the leader of term {term} is {floor} and its tail {tail}"))
}

/// The leader draws one operation, and people submit others without saying who they are.
fn check_authors(batch: &Batch) -> Result<(), BrokenPromise> {
    batch.operations().iter().zip(batch.authors().each()).try_for_each(|(operation, author)| {
        let claimed = if *operation == DRAWN { Author::Generator } else { Author::Unnamed };
        keep(author == claimed, AUTHORS, || format!("{operation} is by {author:?} instead of {claimed:?}"))
    })
}

fn check_fate(world: &World, number: usize) -> Result<(), BrokenPromise> {
    let (operation, _) = world.config.operations[number];
    let places = || world.log.places(operation);
    let times = places().count();
    keep(times <= 1, ACKNOWLEDGED, || format!("{operation} is in the log {times} times"))?;
    match world.client.fate(number) {
        Fate::Unborn => keep(times == 0, ACKNOWLEDGED, || format!("{operation} is in the log before it was submitted")),
        Fate::NotDone => keep(times == 0, ACKNOWLEDGED, || format!("{operation} is in the log and was refused")),
        Fate::Done(event) => keep(places().any(|place| place == event), ACKNOWLEDGED, || {
            format!("{operation} was acknowledged as {event:?} and is not there")
        }),
        Fate::Open { expected } => {
            let Some((expected, event)) = expected.zip(places().next()) else { return Ok(()) };
            keep(event.index == expected.next(), ACKNOWLEDGED, || {
                format!("{operation} expected {expected} and came to {}", event.index)
            })
        }
    }
}

/// A leader answers.
pub(crate) fn check_answer(log: &Log, leader: &Leader, answer: &Result<Event, No>) -> Result<(), BrokenPromise> {
    match answer {
        Ok(event) => {
            keep(log.events().any(|durable| durable == *event), DURABLE, || {
                format!("{event:?} was acknowledged and is not in the log")
            })?;
            let closed_at = leader.closed_at();
            keep(closed_at.is_none_or(|tail| event.index <= tail), GOODBYES, || {
                format!("the leader acknowledged {} after its goodbye, which no replica gets from it", event.index)
            })
        }
        Err(No::Rejected(why)) => check_rejection(log, leader, why),
        Err(No::NotCommitted | No::NotKnown) => Ok(()),
    }
}

/// What a refusal rests on is durable.
fn check_rejection(log: &Log, leader: &Leader, why: &Rejection) -> Result<(), BrokenPromise> {
    match why {
        Rejection::Mismatch(mismatch) => {
            let (current, tail) = (mismatch.current, log.tail().position().index);
            keep(current <= tail, DURABLE, || format!("a refusal names index {current}, and the log ends at {tail}"))
        }
        Rejection::Refused(refusal) => {
            let value = match refusal {
                Refusal::Overflow(overflow) => overflow.value,
                Refusal::DivisionByZero { value } | Refusal::NegativeSquareRoot { value } => *value,
            };
            let durable = log.had_value(value) || log.has_lost();
            keep(durable, DURABLE, || format!("a refusal names the value {value}, which the log never had"))
        }
        Rejection::Producer(ProducerError::Unknown { producer, .. }) => {
            // One that was replaced and does not know it yet refuses by what it knew.
            let forgotten = leader.term() == log.term() && log.knows(producer);
            keep(!forgotten, ACKNOWLEDGED, || format!("producer {producer} was forgotten"))
        }
        Rejection::Producer(ProducerError::Stale { .. } | ProducerError::Reused { .. }) => Ok(()),
    }
}

/// What was submitted after something else was answered comes after it in the log.
pub(crate) fn check_order(client: &Client, event: Event) -> Result<(), BrokenPromise> {
    let earlier = (0..client.begun()).filter_map(|number| match client.fate(number) {
        Fate::Done(done) => Some(done.index),
        _ => None,
    });
    let newest = earlier.max().unwrap_or(Index::ZERO);
    keep(event.index > newest, ACKNOWLEDGED, || {
        format!("{event:?} was submitted after {newest} was answered, and comes before it")
    })
}

pub(crate) fn abandoned_is_elsewhere(index: Index) -> BrokenPromise {
    broken(ACKNOWLEDGED, format!("an operation that was given up is said to be at {index}, and is not there"))
}

pub(crate) fn ended_without_a_reason() -> BrokenPromise {
    broken(LEADERS, "the batch does not follow the tail of the log")
}

/// A subscription ends with a goodbye.
pub(crate) fn check_goodbye(leader: &Leader, subscription: &Subscription) -> Result<(), BrokenPromise> {
    let (tail, next) = (leader.closed_at().unwrap_or(Index::ZERO), subscription.next());
    keep(next > tail, GOODBYES, || {
        format!("the goodbye was sent before event {next}; events up to {tail} are published")
    })
}

/// A replica tells something.
pub(crate) fn check_notice(world: &World, notice: &Notice) -> Result<(), BrokenPromise> {
    match notice {
        Notice::Welcomed(welcome) => {
            let (term, before) = (welcome.term, world.replica.welcomed);
            keep(term >= before, TERMS, || format!("the replica followed a leader of term {term} after {before}"))
        }
        Notice::Diverged(divergence) => {
            // A log that forgot has two histories, which a leader tells apart.
            let by_leader = matches!(divergence, Divergence::Verdict { .. });
            let allowed = alters(world) || (by_leader && world.log.has_lost());
            keep(allowed, DIGESTS, || format!("the replica diverged: {divergence}"))
        }
        Notice::CaughtUp(_) => {
            let held = world.replica.held();
            // What a leader sent may arrive when it is gone, and with it the end of its log.
            let there = world.serving().is_none() || held.is_some_and(|held| world.log.has(held));
            keep(there, PREFIX, || {
                let at = held.map(|held| held.position().to_string()).unwrap_or_default();
                format!("the replica called itself live at {at}, which is not in the log")
            })
        }
        _ => Ok(()),
    }
}

/// What a replica holds changed to `held`.
pub(crate) fn check_progress(world: &World, held: Snapshot) -> Result<(), BrokenPromise> {
    let (index, before) = (held.position().index, world.replica.newest_held);
    let allowed = index >= before || alters(world) || world.log.has_lost();
    keep(allowed, TERMS, || format!("the replica went back from {before} to {index}"))
}

fn alters(world: &World) -> bool {
    world.config.limits.iter().any(|(kind, _)| *kind == Kind::Alter)
}

/// A world that was healed is at rest, or it `comes_back` to a state that it was in before and so is never at rest.
pub(crate) fn check_rest(world: &World, comes_back: bool) -> Result<(), BrokenPromise> {
    let fail = |what: String| Err(broken(CONVERGENCE, what));
    let (state, held) = (world.replica.state().name(), world.replica.held());
    if comes_back {
        return fail(format!("the same happens again and again; the replica is {state}"));
    }
    if let Some((_, replaced)) = world.running().find(|(_, leader)| leader.term() < world.log.term()) {
        let term = replaced.term();
        return Err(broken(LEADERS, format!("the leader of term {term} led on after it was replaced")));
    }
    if world.client.is_pending() {
        return fail("the client still waits for an answer".to_owned());
    }
    let tail = world.log.tail();
    if held != Some(tail) || world.replica.state() != engine::replica::State::Live {
        let held = held.map_or_else(|| "nothing".to_owned(), |held| held.position().to_string());
        return fail(format!("the replica is {state} and holds {held}; the log ends at {}", tail.position()));
    }
    let last = world.log.last().map(|commit| commit.batch.operations());
    keep(last == Some(&[DRAWN]), CONVERGENCE, || "nobody takes operations".to_owned())
}
