//! A bound so small that an unoptimised build gets through it in seconds.

use std::time::Duration;

use explore::config::WORLDS;
use explore::{Bound, Sight, Sights, explore};

#[test]
fn the_nearest_states_of_each_world_with_one_failure_keep_every_promise() {
    let mut sights = Sights::default();
    for (config, at_least) in WORLDS.iter().zip([30_000, 7_000, 40_000, 40_000, 40_000]) {
        let report = explore(config, Bound { failures: 1, states: 40_000, time: Duration::MAX });
        println!("{}: {} states, complete: {}", config.name, report.states, report.complete);
        assert_eq!(report.broken, None, "in the world {}", config.name);
        assert!(report.states >= at_least, "only {} states of the world {}", report.states, config.name);
        sights = sights.or(report.sights);
    }
    let missing: Vec<_> = sights.missing().collect();
    assert_eq!(missing, [Sight::StaleLeader, Sight::NotKnown], "all but these need one failure at most");
}
