//! How the leader's generator of random operations is shown, and the rates that a person can choose.

use wire::GeneratorStatus;

use crate::format;

/// The rates to choose from, in operations a second.
const RATES: [u32; 13] = [1, 2, 4, 8, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000];

/// The state for programs.
#[must_use]
pub fn state(generator: &GeneratorStatus) -> &'static str {
    match generator {
        GeneratorStatus { ended: true, .. } => "ended",
        GeneratorStatus { paused: true, .. } => "paused",
        _ => "runs",
    }
}

/// The state for people.
#[must_use]
pub fn words(generator: &GeneratorStatus) -> String {
    match generator {
        GeneratorStatus { ended: true, .. } => "none, only people write".to_owned(),
        GeneratorStatus { paused: true, .. } => "paused".to_owned(),
        GeneratorStatus { rate, .. } => format!("{} a second", rounded(*rate)),
    }
}

/// A rate with as many digits as a person wants: 0.5, 1.9, 250.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate is at most some millions")]
fn rounded(rate: f64) -> String {
    let tenths = (rate * 10.0).round() as u64;
    match tenths {
        0..100 if !tenths.is_multiple_of(10) => format!("{}.{}", tenths / 10, tenths % 10),
        _ => format::grouped_count((tenths + 5) / 10),
    }
}

/// The next rate to choose, or `None` at the end of what the leader allows.
#[must_use]
pub fn next_rate(generator: &GeneratorStatus, faster: bool) -> Option<f64> {
    let mut rates = RATES.into_iter().map(f64::from).filter(|rate| *rate <= generator.max_rate);
    if faster {
        rates.find(|rate| *rate > generator.rate * 1.01)
    } else {
        rates.rfind(|rate| *rate < generator.rate * 0.99)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(rate: f64) -> GeneratorStatus {
        GeneratorStatus { rate, max_rate: 1_000.0, controllable: true, ..GeneratorStatus::default() }
    }

    #[test]
    fn rates_have_as_many_digits_as_a_person_wants() {
        let shown = |rate| words(&at(rate));
        assert_eq!(shown(1.9802), "2 a second");
        assert_eq!(shown(0.52), "0.5 a second");
        assert_eq!(shown(9.94), "9.9 a second");
        assert_eq!(shown(12_345.6), "12,346 a second");
        assert_eq!(words(&GeneratorStatus { paused: true, ..at(5.0) }), "paused");
    }

    #[test]
    fn the_rates_to_choose_end_where_the_leader_says() {
        assert_eq!((next_rate(&at(4.0), true), next_rate(&at(4.0), false)), (Some(8.0), Some(2.0)));
        assert_eq!((next_rate(&at(1.98), true), next_rate(&at(1.98), false)), (Some(2.0), Some(1.0)));
        assert_eq!((next_rate(&at(1_000.0), true), next_rate(&at(1.0), false)), (None, None));
    }
}
