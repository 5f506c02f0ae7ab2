//! How many operations callers may submit in a second.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use engine::ProducerId;
use governor::clock::{Clock, DefaultClock};
use governor::state::keyed::HashMapStateStore;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use crate::http::client::Client;

/// How often producers that have their whole allowance again are forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(1);

/// Who submits: a producer, or else the client's address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    Producer(ProducerId),
    Client(Option<Client>),
}

/// The limits of submissions. Cheap to clone: all clones are the same.
#[derive(Clone, Debug)]
pub struct Rate {
    all: Arc<DefaultDirectRateLimiter>,
    each: Arc<RateLimiter<Source, HashMapStateStore<Source>, DefaultClock>>,
}

/// A limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooMany {
    /// Whether the limit is that of all together, and not of the one source.
    pub(crate) of_all: bool,
    /// When the next one is admitted.
    pub(crate) retry_after: Duration,
}

impl Rate {
    /// Admits `all` submissions a second, and `each` of one source. As many may come at once.
    #[must_use]
    pub fn new(all: NonZeroU32, each: NonZeroU32) -> Self {
        Self {
            all: Arc::new(RateLimiter::direct(Quota::per_second(all))),
            each: Arc::new(RateLimiter::hashmap(Quota::per_second(each))),
        }
    }

    pub(crate) fn admit(&self, source: &Source) -> Result<(), TooMany> {
        let now = DefaultClock::default().now();
        // First the source's own: one that asks for too much must not use up what all have.
        self.each
            .check_key(source)
            .map_err(|not_until| TooMany { of_all: false, retry_after: not_until.wait_time_from(now) })?;
        self.all.check().map_err(|not_until| TooMany { of_all: true, retry_after: not_until.wait_time_from(now) })
    }

    /// Forgets sources that have their whole allowance again, for as long as it runs.
    pub(crate) async fn forget(self) {
        loop {
            tokio::time::sleep(FORGET_EVERY).await;
            self.each.retain_recent();
            self.each.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn producer(name: &str) -> Source {
        Source::Producer(ProducerId::new(name).unwrap())
    }

    fn rate(all: u32, each: u32) -> Rate {
        Rate::new(NonZeroU32::new(all).unwrap(), NonZeroU32::new(each).unwrap())
    }

    #[test]
    fn one_source_cannot_use_up_what_all_have() {
        let rate = rate(10, 3);
        let admitted = (0..50).filter(|_| rate.admit(&producer("greedy")).is_ok()).count();
        assert_eq!(admitted, 3);
        let refused = rate.admit(&producer("greedy")).unwrap_err();
        assert!(!refused.of_all && refused.retry_after <= Duration::from_secs(1), "{refused:?}");
        assert_eq!(rate.admit(&producer("modest")), Ok(()));
        let anonymous = Source::Client(Some(Client::at([192, 0, 2, 1].into())));
        assert_eq!(rate.admit(&anonymous), Ok(()));
    }

    #[test]
    fn all_together_are_limited() {
        let rate = rate(5, 3);
        let sources: Vec<_> = (0..10).map(|number| producer(&number.to_string())).collect();
        let admitted = sources.iter().filter(|source| rate.admit(source).is_ok()).count();
        assert_eq!(admitted, 5);
        assert!(rate.admit(&producer("late")).unwrap_err().of_all);
    }

    #[tokio::test]
    async fn sources_are_forgotten_once_they_have_their_allowance_again() {
        let rate = rate(1_000_000, 1_000);
        let forgetting = tokio::spawn(rate.clone().forget());
        for number in 0..1_000 {
            rate.admit(&producer(&number.to_string())).unwrap();
        }
        assert_eq!(rate.each.len(), 1_000);
        let deadline = std::time::Instant::now() + Duration::from_secs(5);
        while !rate.each.is_empty() {
            assert!(std::time::Instant::now() < deadline, "{} sources are remembered", rate.each.len());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        forgetting.abort();
    }
}
