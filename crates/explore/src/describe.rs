//! A way through a world, in words.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::action::Action;
use crate::heal;
use crate::invariants::BrokenPromise;
use crate::sights::Sights;
use crate::world::World;

/// Carries out the steps of `way` and then those of `healing`, and describes each with the state that it leads to.
pub(crate) fn path(mut world: World, way: &[Action], healing: &[Action]) -> Vec<String> {
    let mut lines = Vec::new();
    for action in way {
        let number = lines.len() + 1;
        lines.push(line(number, &mut world, *action, |world| world.carry_out(*action, &mut Sights::default())));
    }
    if !healing.is_empty() {
        lines.push("From here on nothing fails:".to_owned());
        world = heal::begin(&world);
    }
    for (number, action) in (way.len() + 1..).zip(healing) {
        lines.push(line(number, &mut world, *action, |world| heal::carry_out(world, *action)));
    }
    lines
}

fn line(
    number: usize,
    world: &mut World,
    action: Action,
    carry_out: impl FnOnce(&mut World) -> Result<(), BrokenPromise>,
) -> String {
    let carried_out = catch_unwind(AssertUnwindSafe(|| carry_out(world)));
    let broke = !matches!(carried_out, Ok(Ok(())));
    let state = if broke { "the promise is broken".to_owned() } else { state(world) };
    format!("{number:>3}. {action} [{state}]")
}

fn state(world: &World) -> String {
    let tail = world.log.tail();
    let mut words = vec![format!("log {}..{}", world.log.floor().index, tail.position().index)];
    for (_, leader) in world.running() {
        words.push(format!("leader of term {} at {}", leader.term(), leader.published().position().index));
    }
    let held = world.replica.held().map_or_else(|| "nothing".to_owned(), |held| held.position().index.to_string());
    words.push(format!("replica {} with {held}", world.replica.state().name()));
    words.join(", ")
}
