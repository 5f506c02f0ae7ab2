//! Each deliberate fault breaks an invariant within a bounded number of seeds.
#![allow(clippy::print_stdout, reason = "the counts are figures that docs/reliability.md quotes")]

use engine::fault::Fault;

/// Each fault must be caught within this many seeds. The slowest one takes a quarter of them.
const SEEDS: u64 = 300;

#[test]
fn each_deliberate_fault_is_caught() {
    // The simulation reports panics as violations. Without this hook, each would also print a message.
    std::panic::set_hook(Box::new(|_| {}));
    let mut missed = Vec::new();
    for fault in Fault::ALL {
        let caught = (0..SEEDS)
            .find_map(|seed| sim::run_with_fault(seed, fault).violations.into_iter().next().map(|v| (seed, v)));
        match caught {
            Some((seed, violation)) => println!("{fault:?}: {} seeds: {}", seed + 1, violation.invariant),
            None => missed.push(fault),
        }
    }
    let _ = std::panic::take_hook();
    assert!(missed.is_empty(), "not caught within {SEEDS} seeds: {missed:?}");
}
