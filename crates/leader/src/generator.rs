//! Draws random operations, so that there is always something to replicate.

use std::time::{Duration, Instant};

use engine::Operation;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use sequencer::Submitter;
use tokio::time::MissedTickBehavior;

use crate::config::Generator;

/// How often a generator with a rate draws. The operations of one turn become one batch, so rates above a thousand a second
/// make larger batches, not more of them.
const TURN: Duration = Duration::from_millis(1);

/// The longest time that one turn makes up for after a stall.
const MAX_CATCH_UP: Duration = Duration::from_millis(100);

/// Draws operations until `count` are drawn or the sequencer is gone. `seed` also decides the pauses of a pace.
pub async fn run(generator: Generator, count: Option<u64>, submitter: Submitter, seed: u64) {
    let mut left = count.unwrap_or(u64::MAX);
    match generator {
        Generator::Off => {}
        Generator::Paced(pace) => {
            let mut random = StdRng::seed_from_u64(seed.wrapping_add(1));
            while left > 0 {
                tokio::time::sleep(random.random_range(pace.min..=pace.max)).await;
                if !submitter.draw(1).await {
                    return;
                }
                left -= 1;
            }
        }
        Generator::Rate(rate) => run_at_rate(rate, left, &submitter).await,
    }
}

async fn run_at_rate(rate: u32, mut left: u64, submitter: &Submitter) {
    let mut ticks = tokio::time::interval(TURN.max(Duration::from_secs(1) / rate));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut due = Due::new(rate, Instant::now());
    while left > 0 {
        ticks.tick().await;
        let count = due.take(Instant::now()).min(u32::try_from(left).unwrap_or(u32::MAX));
        if count > 0 && !submitter.draw(count).await {
            return;
        }
        left -= u64::from(count);
    }
}

/// Counts the operations that are due at a rate, without drift.
#[derive(Debug)]
struct Due {
    rate: u32,
    /// The time up to which operations were counted.
    until: Instant,
}

impl Due {
    fn new(rate: u32, now: Instant) -> Self {
        Self { rate, until: now }
    }

    fn take(&mut self, now: Instant) -> u32 {
        if let Some(limit) = now.checked_sub(MAX_CATCH_UP.max(Duration::from_secs(1) / self.rate * 2)) {
            self.until = self.until.max(limit);
        }
        let passed = now.saturating_duration_since(self.until);
        let count = passed.as_nanos() * u128::from(self.rate) / 1_000_000_000;
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        // The time of a fraction of an operation counts next time.
        self.until += Duration::from_nanos(u64::from(count) * 1_000_000_000 / u64::from(self.rate));
        count
    }
}

/// Random operations, decided by `seed`. The calculator may refuse some.
pub fn source(seed: u64) -> impl FnMut() -> Operation + Send + 'static {
    let mut random = StdRng::seed_from_u64(seed);
    move || random_operation(&mut random)
}

/// A random operation with an argument from 1 to 100.
fn random_operation(random: &mut impl Rng) -> Operation {
    let n = random.random_range(1..=100);
    match random.random_range(0..6) {
        0 => Operation::Add(n),
        1 => Operation::Subtract(n),
        2 => Operation::Multiply(n),
        3 => Operation::Divide(n),
        4 => Operation::SquareRoot,
        _ => Operation::PowerOfTwo,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_kept_over_uneven_turns() {
        for rate in [1, 3, 10, 999, 1_000, 100_000, 1_000_000] {
            let start = Instant::now();
            let mut due = Due::new(rate, start);
            let mut random = StdRng::seed_from_u64(5);
            let (mut now, mut total) = (start, 0_u64);
            while now < start + Duration::from_secs(10) {
                now += Duration::from_micros(random.random_range(1..20_000));
                total += u64::from(due.take(now));
            }
            let expected = now.duration_since(start).as_secs_f64() * f64::from(rate);
            #[expect(clippy::cast_precision_loss)]
            let off = (total as f64 - expected).abs();
            assert!(off <= 1.0, "{rate} per second: {total} instead of {expected}");
        }
    }

    #[test]
    fn after_a_long_stall_one_turn_draws_a_bounded_number() {
        let start = Instant::now();
        let mut due = Due::new(10_000, start);
        assert_eq!(due.take(start + Duration::from_secs(60)), 1_000);
    }

    #[test]
    fn a_seed_decides_the_operations_and_all_kinds_occur() {
        let draw = |seed| {
            let mut source = source(seed);
            (0..200).map(|_| source()).collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        let kinds: std::collections::BTreeSet<_> = draw(1).into_iter().map(Operation::code).collect();
        assert_eq!(kinds.len(), 6);
        assert!(draw(1).into_iter().filter_map(Operation::argument).all(|n| (1..=100).contains(&n)));
    }
}
