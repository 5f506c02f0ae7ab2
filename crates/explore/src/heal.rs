//! How a world comes to rest once nothing fails any more: the link is calm, one leader leads, and everybody gets a turn.

use crate::action::Action;
use crate::budget::Budget;
use crate::invariants::BrokenPromise;
use crate::log::Luck;
use crate::sights::Sights;
use crate::world::{Calm, World};

/// From now on nothing fails.
pub(crate) fn begin(world: &World) -> World {
    World { calm: Calm::Healing, budget: Budget::calm(), ..world.clone() }
}

/// Carries out what [`next`] says.
///
/// # Errors
///
/// The promise that the step breaks.
pub(crate) fn carry_out(world: &mut World, action: Action) -> Result<(), BrokenPromise> {
    world.calm = match (world.calm, action) {
        (_, Action::Draw(_)) => Calm::PutLast,
        (_, Action::Beat(_)) => Calm::Beaten,
        (calm, _) => calm,
    };
    world.carry_out(action, &mut Sights::default())
}

/// The next step on the way to rest, which depends on the state alone; `None` at rest.
pub(crate) fn next(world: &World) -> Option<Action> {
    leaders(world).or_else(|| log(world)).or_else(|| client(world)).or_else(|| replica(world)).or_else(|| last(world))
}

/// Whoever was replaced or told to stop ends, and one that leads starts if there is none.
fn leaders(world: &World) -> Option<Action> {
    for (seat, leader) in world.running() {
        if world.can_notice(leader) {
            return Some(Action::Notice(seat));
        }
        if leader.said_goodbye() {
            return Some(Action::Exit(seat));
        }
        if leader.is_ending() {
            return Some(Action::Goodbye(seat));
        }
    }
    let has_seat = world.leaders.iter().any(Option::is_none);
    (world.newest().is_none() && has_seat).then_some(Action::Start)
}

fn log(world: &World) -> Option<Action> {
    world.running().find_map(|(seat, leader)| {
        if leader.is_committing() {
            return Some(Action::Commit(seat));
        }
        (leader.can_write() && leader.has_open_batch()).then_some(Action::Append(seat, Luck::Written))
    })
}

fn client(world: &World) -> Option<Action> {
    let client = &world.client;
    if client.has_answer() {
        return Some(Action::Answer);
    }
    if !client.calls().is_empty() {
        return world.newest().map(|(seat, _)| Action::Arrive { call: 0, seat });
    }
    if world.waits_in_vain() {
        return Some(Action::NoAnswer { in_vain: true });
    }
    (client.is_pending() && client.awaits().is_none()).then_some(Action::Send)
}

fn replica(world: &World) -> Option<Action> {
    let Some(stream) = &world.stream else {
        return world.newest().map(|(seat, _)| Action::Connect(seat));
    };
    if !stream.frames.is_empty() {
        Some(Action::Deliver)
    } else if stream.has_ended() {
        Some(Action::Closed)
    } else if stream.hangs {
        world.replica.has_deadline().then_some(Action::Timeout)
    } else {
        world.can_push().then_some(Action::Push)
    }
}

/// Something new shows who does not follow, or lead, any more.
fn last(world: &World) -> Option<Action> {
    let (seat, _) = world.newest()?;
    match world.calm {
        Calm::No | Calm::Healing => Some(Action::Draw(seat)),
        Calm::PutLast => Some(Action::Beat(seat)),
        Calm::Beaten => None,
    }
}
