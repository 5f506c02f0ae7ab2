//! `GetStatus`: the leader's state and health.

use store::Damage;
use wire::convert::log_id_bytes;
use wire::pb;

use super::{Calculator, millis};

pub(super) fn answer(calculator: &Calculator) -> pb::GetStatusResponse {
    let published = calculator.feed.published();
    let position = published.tail.position();
    pb::GetStatusResponse {
        log_id: log_id_bytes(published.tail.log()),
        term: published.term.0,
        tail: position.index.0,
        digest: position.digest.0,
        value: published.tail.value(),
        floor: published.floor.0,
        subscribers: u32::try_from(calculator.membership.streams()).unwrap_or(u32::MAX),
        durability: pb::Durability::from(calculator.feed.durability()).into(),
        uptime_ms: millis(calculator.started.elapsed()),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        log_problem: calculator.submitter.health().problem().unwrap_or_default(),
        log_damage: damage_text(&calculator.log.damage()),
    }
}

fn damage_text(damage: &[Damage]) -> String {
    const LISTED: usize = 10;
    let mut places: Vec<String> = damage.iter().take(LISTED).map(ToString::to_string).collect();
    if damage.len() > LISTED {
        places.push(format!("and {} more places", damage.len() - LISTED));
    }
    places.join("; ")
}
