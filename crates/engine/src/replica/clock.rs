//! What a replica knows of the leader's clock.
//!
//! The welcome and every answer to a report carry the leader's time. The leader wrote it between the request and the arrival, so
//! the difference of the two clocks is known to within half of the round trip. The exchange with the shortest round trip counts,
//! until it is too old or contradicted.

use std::time::Duration;

use crate::{Moment, Timestamp};

/// How much two clocks may drift apart: one microsecond in this many. Four times the rate at which clocks are slewed.
const DRIFT: u64 = 500;

/// The measured difference of two correct clocks may change by this much.
const TOLERANCE: Duration = Duration::from_millis(1);

/// What is known of the leader's clock.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LeaderClock {
    best: Option<Exchange>,
    newest_heartbeat: Timestamp,
}

/// One answer that carried the leader's time.
#[derive(Clone, Copy, Debug)]
struct Exchange {
    /// Microseconds to add to a `Moment` to get the leader's clock.
    offset: i64,
    round_trip: Duration,
    at: Moment,
}

impl Exchange {
    /// How far off `offset` can be at `now`.
    fn error(&self, now: Moment) -> u64 {
        micros(self.round_trip / 2).saturating_add(micros(now.since(self.at)) / DRIFT)
    }
}

impl LeaderClock {
    /// An answer to a request made at `asked` arrived at `now` with `leader_time`. Returns whether a clock was set since the
    /// best exchange.
    pub(super) fn handle_exchange(&mut self, leader_time: Timestamp, asked: Moment, now: Moment) -> bool {
        let round_trip = now.since(asked);
        let halfway = asked.plus(round_trip / 2);
        let offset = signed(leader_time.0).saturating_sub(signed(micros(halfway.0)));
        let new = Exchange { offset, round_trip, at: now };
        let Some(best) = self.best else {
            self.best = Some(new);
            return false;
        };
        let allowed = best.error(now).saturating_add(new.error(now)).saturating_add(micros(TOLERANCE));
        let was_set = best.offset.abs_diff(offset) > allowed;
        if was_set {
            self.newest_heartbeat = Timestamp::default();
        }
        if was_set || new.error(now) <= best.error(now) {
            self.best = Some(new);
        }
        was_set
    }

    /// A heartbeat carries `leader_time`. Heartbeats arrive in order, and not before they were sent. One that contradicts this
    /// shows that a clock was set; then nothing is known until the next exchange. Returns whether that is so.
    pub(super) fn handle_heartbeat(&mut self, leader_time: Timestamp, now: Moment) -> bool {
        let was_set = leader_time < self.newest_heartbeat || self.is_from_the_future(leader_time, now);
        if was_set {
            *self = Self::default();
        }
        self.newest_heartbeat = leader_time;
        was_set
    }

    /// How long ago it was `time` on the leader's clock, at `now`. `None` if the clock is not known, or if `time` lies in the
    /// future by more than the possible error.
    pub(super) fn age(&self, time: Timestamp, now: Moment) -> Option<Duration> {
        let best = self.best?;
        if self.is_from_the_future(time, now) {
            return None;
        }
        let leader_now = signed(micros(now.0)).saturating_add(best.offset);
        let age = leader_now.saturating_sub(signed(time.0));
        Some(Duration::from_micros(u64::try_from(age).unwrap_or(0)))
    }

    /// When it was `time` on the leader's clock; the origin if it was before that.
    pub(super) fn moment(&self, time: Timestamp) -> Option<Moment> {
        let moment = signed(time.0).saturating_sub(self.best?.offset);
        Some(Moment(Duration::from_micros(u64::try_from(moment).unwrap_or(0))))
    }

    fn is_from_the_future(&self, time: Timestamp, now: Moment) -> bool {
        self.best.is_some_and(|best| {
            let leader_now = signed(micros(now.0)).saturating_add(best.offset);
            let ahead = signed(time.0).saturating_sub(leader_now);
            u64::try_from(ahead).is_ok_and(|ahead| ahead > best.error(now).saturating_add(micros(TOLERANCE)))
        })
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn signed(micros: u64) -> i64 {
    i64::try_from(micros).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000_000;

    fn at(millis: u64) -> Moment {
        Moment(Duration::from_millis(millis))
    }

    /// The leader's clock when the replica's says `millis`.
    fn leader(millis: u64) -> Timestamp {
        Timestamp(100 * HOUR + millis * 1_000)
    }

    fn age_of(clock: &LeaderClock, written: u64, now: u64) -> Option<u64> {
        clock.age(leader(written), at(now)).map(|age| u64::try_from(age.as_millis()).unwrap())
    }

    #[test]
    fn the_exchange_with_the_shortest_round_trip_counts() {
        let mut clock = LeaderClock::default();
        assert_eq!(age_of(&clock, 0, 0), None);
        // The request was stuck for two seconds.
        clock.handle_exchange(leader(2_000), at(0), at(2_000));
        assert_eq!(age_of(&clock, 2_000, 2_000), Some(1_000));
        clock.handle_exchange(leader(2_101), at(2_100), at(2_102));
        assert_eq!(age_of(&clock, 2_199, 2_200), Some(1));
        // The answer was stuck for three seconds.
        assert!(!clock.handle_exchange(leader(4_000), at(4_000), at(7_000)));
        assert_eq!(age_of(&clock, 7_000, 7_001), Some(1));
    }

    #[test]
    fn an_old_exchange_gives_way_to_a_slower_one_before_drift_makes_it_worse() {
        let mut clock = LeaderClock::default();
        clock.handle_exchange(leader(1), at(0), at(2));
        let hour = 3_600_000;
        // 20 ms of drift in an hour, found by an exchange of 100 ms.
        assert!(!clock.handle_exchange(leader(hour + 20), at(hour - 50), at(hour + 50)));
        assert_eq!(age_of(&clock, hour + 100, hour + 90), Some(10));
    }

    #[test]
    fn a_clock_that_was_set_is_noticed_by_the_next_exchange() {
        for step in [-3_600_000_i64, -50, 50, 3_600_000] {
            let mut clock = LeaderClock::default();
            clock.handle_exchange(leader(1), at(0), at(2));
            let stepped = |millis: u64| Timestamp(leader(millis).0.checked_add_signed(step * 1_000).unwrap());
            assert!(clock.handle_exchange(stepped(2_002), at(2_000), at(2_004)), "{step}");
            let age = clock.age(stepped(2_990), at(3_000)).unwrap();
            assert_eq!(age.as_millis(), 10, "{step}");
        }
    }

    #[test]
    fn clocks_contradict_each_other_by_more_than_both_exchanges_can_be_wrong() {
        // Half of 2 s, half of 2 ms, and the tolerance of 1 ms.
        let allowed = 1_000_000 + 1_000 + 1_000;
        for (difference, was_set) in [(allowed, false), (allowed + 1, true)] {
            for earlier in [false, true] {
                let mut clock = LeaderClock::default();
                clock.handle_exchange(leader(1_000), at(0), at(2_000));
                let expected = leader(1_999).0;
                let told = if earlier { expected - difference } else { expected + difference };
                assert_eq!(clock.handle_exchange(Timestamp(told), at(1_998), at(2_000)), was_set, "{difference}");
            }
        }
    }

    #[test]
    fn the_future_begins_where_the_clock_can_be_wrong_no_more() {
        let mut clock = LeaderClock::default();
        clock.handle_exchange(leader(1_000), at(0), at(2_000));
        // After 1,000 s the clocks may have drifted apart by 2 s more.
        let (now, possible) = (at(1_002_000), 1_000_000 + 2_000_000 + 1_000);
        let ahead = |micros: u64| clock.age(Timestamp(leader(1_002_000).0 + micros), now);
        assert_eq!((ahead(possible), ahead(possible + 1)), (Some(Duration::ZERO), None));
        assert_eq!(clock.moment(Timestamp(0)), Some(Moment::default()), "long before the origin");
        assert_eq!(LeaderClock::default().moment(leader(0)), None);
    }

    #[test]
    fn a_heartbeat_from_the_past_or_the_future_shows_that_a_clock_was_set() {
        for set in [Timestamp(99 * HOUR), Timestamp(101 * HOUR)] {
            let mut clock = LeaderClock::default();
            clock.handle_exchange(leader(1), at(0), at(2));
            assert!(!clock.handle_heartbeat(leader(1_000), at(1_001)));
            assert!(!clock.handle_heartbeat(leader(1_000), at(1_001)), "in the same microsecond");
            assert!(clock.handle_heartbeat(set, at(2_001)));
            assert_eq!(age_of(&clock, 2_000, 2_001), None);
            assert!(!clock.handle_exchange(Timestamp(set.0 + 1_000), at(2_001), at(2_003)));
            assert_eq!(clock.age(set, at(2_003)), Some(Duration::from_millis(2)));
        }
    }

    #[test]
    fn what_lies_in_the_future_has_no_age() {
        let mut clock = LeaderClock::default();
        clock.handle_exchange(leader(1), at(0), at(2));
        assert_eq!(age_of(&clock, 3, 2), Some(0), "by less than the clock may be off");
        assert_eq!(age_of(&clock, 3_600_000, 2), None);
        assert_eq!(clock.moment(leader(500)), Some(at(500)));
    }
}
