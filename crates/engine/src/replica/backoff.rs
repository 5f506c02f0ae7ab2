//! Exponential backoff with full jitter.

use std::time::Duration;

/// The longest first delay.
const BASE: Duration = Duration::from_millis(100);
/// No delay is longer.
const CAP: Duration = Duration::from_secs(5);

/// Delays between reconnects: each is drawn evenly from zero to a limit that doubles from 100 ms to 5 s.
#[derive(Clone, Debug)]
pub(super) struct Backoff {
    /// How many delays were drawn since the last reset.
    failures: u32,
    /// The state of a SplitMix64 generator: jitter need not be unpredictable, but must replay.
    random: u64,
}

impl Backoff {
    pub(super) fn new(seed: u64) -> Self {
        Self { failures: 0, random: seed }
    }

    /// The link works again: start over from the base.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    pub(super) fn next_delay(&mut self) -> Duration {
        let limit = BASE.saturating_mul(1 << self.failures.min(16)).min(CAP);
        self.failures = self.failures.saturating_add(1);
        let micros = u64::try_from(limit.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(self.next_random() % (micros + 1))
    }

    fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_spread_from_zero_to_a_limit_that_doubles_up_to_the_cap() {
        for attempt in 0..12_u32 {
            let limit = (BASE * 2_u32.pow(attempt)).min(CAP);
            let delays = (0..200).map(|seed| {
                let mut backoff = Backoff::new(seed);
                backoff.failures = attempt;
                backoff.next_delay()
            });
            let (shortest, longest) = delays.fold((CAP, Duration::ZERO), |(min, max), d| (min.min(d), max.max(d)));
            assert!(longest <= limit && longest > limit * 9 / 10, "attempt {attempt}: {longest:?} of {limit:?}");
            assert!(shortest < limit / 10, "attempt {attempt}: {shortest:?} of {limit:?}");
        }
    }

    #[test]
    fn jitter_comes_from_splitmix64_and_both_ends_are_included() {
        // The first numbers of the reference implementation for seed 0.
        let mut reference = Backoff::new(0);
        let numbers = [0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4, 0x06c4_5d18_8009_454f];
        assert_eq!([(); 3].map(|()| reference.next_random()), numbers);
        let mut backoff = Backoff::new(0);
        assert_eq!(backoff.next_delay(), Duration::from_micros(numbers[0] % 100_001));
        assert_eq!(backoff.next_delay(), Duration::from_micros(numbers[1] % 200_001));
    }

    #[test]
    fn a_reset_starts_over_and_a_seed_replays() {
        let mut backoff = Backoff::new(3);
        for _ in 0..10 {
            backoff.next_delay();
        }
        backoff.reset();
        assert!(backoff.next_delay() <= BASE);
        assert_eq!(Backoff::new(3).next_delay(), Backoff::new(3).next_delay());
    }
}
