//! Draws random operations, so that there is always something to replicate.

use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::Operation;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use sequencer::Submitter;
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use wire::GeneratorStatus;

use crate::config::{Generator, Pace};

/// How often a generator with a rate draws. The operations of one turn become one batch, so rates above a thousand a second
/// make larger batches, not more of them.
const TURN: Duration = Duration::from_millis(1);

/// The longest pause between two operations, also at the lowest rate.
const LONGEST_PAUSE: Duration = Duration::from_secs(3_600);

/// The longest time that one turn makes up for after a stall.
const MAX_CATCH_UP: Duration = Duration::from_millis(100);

/// The generator's handle: says how fast it draws, and changes that. Cheap to clone: all clones are of the same generator.
///
/// It decides only *when* operations are drawn. Which ones, the seed decides.
#[derive(Clone, Debug)]
pub struct Generation {
    setting: Arc<watch::Sender<Setting>>,
    /// The highest rate that can be asked for.
    max_rate: f64,
    /// Whether callers may change it.
    controllable: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Setting {
    pacing: Pacing,
    paused: bool,
    ended: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Pacing {
    /// After a random pause before each.
    Paced(Pace),
    /// This many a second, evenly spaced.
    Rate(f64),
}

/// Why the generator cannot be paused or paced.
#[derive(Clone, Copy, Debug, PartialEq, Error)]
pub enum ControlRefused {
    /// Callers may not.
    #[error("this leader's generator is not for callers to control; start it with --control on")]
    Off,
    /// The rate is not above 0, or above the highest.
    #[error("a rate is above 0 and at most {max_rate} operations a second (--max-rate)")]
    Rate {
        /// The highest rate.
        max_rate: f64,
    },
    /// It draws nothing more.
    #[error("the generator has ended: the leader was started with --no-generator, or with a --count that is used up")]
    Ended,
}

impl Generation {
    /// A generator that has not drawn yet. Callers may ask for at most `max_rate` operations a second, if it is `controllable`.
    #[must_use]
    pub fn new(generator: Generator, max_rate: u32, controllable: bool) -> Self {
        let (pacing, ended) = match generator {
            Generator::Off => (Pacing::Rate(0.0), true),
            Generator::Paced(pace) => (Pacing::Paced(pace), false),
            Generator::Rate(rate) => (Pacing::Rate(rate.into()), false),
        };
        let max_rate = if ended { 0.0 } else { max_rate.into() };
        let (setting, _) = watch::channel(Setting { pacing, paused: false, ended });
        Self { setting: Arc::new(setting), max_rate, controllable }
    }

    /// What it does now.
    #[must_use]
    pub fn status(&self) -> GeneratorStatus {
        let Setting { pacing, paused, ended } = *self.setting.borrow();
        let rate = match pacing {
            Pacing::Rate(rate) => rate,
            Pacing::Paced(pace) => 2.0 / (pace.min + pace.max).as_secs_f64(),
        };
        GeneratorStatus { paused, rate, max_rate: self.max_rate, controllable: self.controllable, ended }
    }

    /// Pauses it or lets it go on, and sets its rate; `None` leaves what is.
    ///
    /// # Errors
    ///
    /// [`ControlRefused`]. Then nothing has changed.
    pub fn control(&self, paused: Option<bool>, rate: Option<f64>) -> Result<GeneratorStatus, ControlRefused> {
        if paused.is_some() || rate.is_some() {
            if !self.controllable {
                return Err(ControlRefused::Off);
            }
            if self.setting.borrow().ended {
                return Err(ControlRefused::Ended);
            }
            if rate.is_some_and(|rate| !(rate > 0.0 && rate <= self.max_rate)) {
                return Err(ControlRefused::Rate { max_rate: self.max_rate });
            }
            self.setting.send_if_modified(|setting| {
                let before = *setting;
                setting.paused = paused.unwrap_or(before.paused);
                setting.pacing = rate.map_or(before.pacing, Pacing::Rate);
                *setting != before
            });
        }
        Ok(self.status())
    }

    /// Draws operations until `count` are drawn or the sequencer is gone. `seed` decides the pauses of a pace.
    pub async fn run(self, count: Option<u64>, submitter: Submitter, seed: u64) {
        let mut random = StdRng::seed_from_u64(seed.wrapping_add(1));
        let mut setting = self.setting.subscribe();
        let mut left = count.unwrap_or(u64::MAX);
        while left > 0 {
            let now = *setting.borrow_and_update();
            if now.ended {
                return;
            }
            // A change of the setting interrupts a pause, but no operation that is on its way to the sequencer.
            let drew = match now.pacing {
                _ if now.paused => {
                    // The sender lives as long as this.
                    let _ = setting.changed().await;
                    true
                }
                Pacing::Paced(pace) => draw_paced(pace, &mut left, &submitter, &mut random, &mut setting).await,
                Pacing::Rate(rate) => draw_at_rate(rate, &mut left, &submitter, &mut setting).await,
            };
            if !drew {
                return;
            }
        }
        self.setting.send_modify(|setting| setting.ended = true);
    }
}

/// Draws until `left` is 0 or the setting changes. Returns whether the sequencer is still there.
async fn draw_paced(
    pace: Pace,
    left: &mut u64,
    submitter: &Submitter,
    random: &mut StdRng,
    setting: &mut watch::Receiver<Setting>,
) -> bool {
    while *left > 0 {
        tokio::select! {
            () = tokio::time::sleep(random.random_range(pace.min..=pace.max)) => {}
            _ = setting.changed() => break,
        }
        if !submitter.draw(1).await {
            return false;
        }
        *left -= 1;
    }
    true
}

/// Draws until `left` is 0 or the setting changes. Returns whether the sequencer is still there.
async fn draw_at_rate(
    rate: f64,
    left: &mut u64,
    submitter: &Submitter,
    setting: &mut watch::Receiver<Setting>,
) -> bool {
    let mut ticks = tokio::time::interval(TURN.max(pause_at(rate)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut due = Due::new(rate, Instant::now());
    while *left > 0 {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = setting.changed() => break,
        }
        let count = due.take(Instant::now()).min(u32::try_from(*left).unwrap_or(u32::MAX));
        if count > 0 && !submitter.draw(count).await {
            return false;
        }
        *left -= u64::from(count);
    }
    true
}

fn pause_at(rate: f64) -> Duration {
    Duration::try_from_secs_f64(1.0 / rate).map_or(LONGEST_PAUSE, |pause| pause.min(LONGEST_PAUSE))
}

/// Counts the operations that are due at a rate, without drift.
#[derive(Debug)]
struct Due {
    rate: f64,
    /// The time up to which operations were counted.
    until: Instant,
}

impl Due {
    fn new(rate: f64, now: Instant) -> Self {
        Self { rate, until: now }
    }

    fn take(&mut self, now: Instant) -> u32 {
        if let Some(limit) = now.checked_sub(MAX_CATCH_UP.max(pause_at(self.rate) * 2)) {
            self.until = self.until.max(limit);
        }
        let passed = now.saturating_duration_since(self.until);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is positive, and saturates")]
        let count = (passed.as_secs_f64() * self.rate) as u32;
        // The time of a fraction of an operation counts next time.
        self.until += Duration::from_secs_f64(f64::from(count) / self.rate);
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
        for rate in [0.5, 1.0, 3.0, 10.0, 999.0, 1_000.0, 100_000.0, 1_000_000.0] {
            let start = Instant::now();
            let mut due = Due::new(rate, start);
            let mut random = StdRng::seed_from_u64(5);
            let (mut now, mut total) = (start, 0_u64);
            while now < start + Duration::from_secs(10) {
                now += Duration::from_micros(random.random_range(1..20_000));
                total += u64::from(due.take(now));
            }
            let expected = now.duration_since(start).as_secs_f64() * rate;
            #[expect(clippy::cast_precision_loss)]
            let off = (total as f64 - expected).abs();
            assert!(off <= 1.0, "{rate} per second: {total} instead of {expected}");
        }
    }

    #[test]
    fn after_a_long_stall_one_turn_draws_a_bounded_number() {
        let start = Instant::now();
        let mut due = Due::new(10_000.0, start);
        assert_eq!(due.take(start + Duration::from_secs(60)), 1_000);
    }

    #[test]
    fn the_lowest_rate_waits_for_a_bounded_time() {
        assert_eq!(pause_at(f64::MIN_POSITIVE), LONGEST_PAUSE);
        assert_eq!(Due::new(f64::MIN_POSITIVE, Instant::now()).take(Instant::now() + LONGEST_PAUSE), 0);
    }

    #[test]
    fn only_a_change_that_is_allowed_changes_something() {
        let pace = Pace { min: Duration::from_millis(500), max: Duration::from_millis(1_500) };
        let generation = Generation::new(Generator::Paced(pace), 100, true);
        let begun = GeneratorStatus { paused: false, rate: 1.0, max_rate: 100.0, controllable: true, ended: false };
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY, 100.1] {
            assert_eq!(generation.control(Some(true), Some(rate)), Err(ControlRefused::Rate { max_rate: 100.0 }));
        }
        assert_eq!(generation.control(None, None), Ok(begun));
        assert_eq!(generation.control(Some(true), None), Ok(GeneratorStatus { paused: true, ..begun }));
        let faster = GeneratorStatus { paused: true, rate: 99.5, ..begun };
        assert_eq!(generation.control(None, Some(99.5)), Ok(faster));

        let off = Generation::new(Generator::Rate(5), 100, false);
        assert_eq!(off.control(Some(true), None), Err(ControlRefused::Off));
        assert_eq!(off.control(None, None).map(|status| (status.rate, status.controllable)), Ok((5.0, false)));

        let none = Generation::new(Generator::Off, 100, true);
        assert_eq!(none.control(None, Some(5.0)), Err(ControlRefused::Ended));
        let status = none.control(None, None).unwrap();
        assert_eq!((status.rate, status.max_rate, status.ended), (0.0, 0.0, true));
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
