//! Which faults are injected, in which order.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use engine::LinkFault;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use thiserror::Error;

/// How long a link is cut or a replica frozen if the list does not say it.
const DEFAULT_TIME: Duration = Duration::from_secs(5);

/// A fault that a replica injects into its own stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It strikes the next batch.
    Link(LinkFault),
    /// The link is cut for a time.
    Cut(Duration),
    /// The replica reads nothing for a time, as if its computer slept.
    Freeze(Duration),
    /// The replica forgets everything that it holds.
    Forget,
}

impl Fault {
    /// Its name in the list and in the output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Link(LinkFault::Lose) => "lose",
            Self::Link(LinkFault::Repeat) => "repeat",
            Self::Link(LinkFault::Exchange) => "exchange",
            Self::Link(LinkFault::Alter) => "alter",
            Self::Link(LinkFault::Cut) | Self::Cut(_) => "cut",
            Self::Freeze(_) => "freeze",
            Self::Forget => "forget",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Faults as a user lists them: `lose,cut=2s`, or `all`. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultList(Vec<Fault>);

/// A list that names something else.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "\"{0}\" is none of lose, repeat, exchange, alter, cut[=TIME], freeze[=TIME], forget, all; a TIME is 500ms or 5s"
)]
pub struct UnknownFault(String);

impl FromStr for FaultList {
    type Err = UnknownFault;

    fn from_str(text: &str) -> Result<Self, UnknownFault> {
        let mut faults = Vec::new();
        for word in text.split(',').map(str::trim) {
            let unknown = || UnknownFault(word.to_owned());
            let (name, time) = match word.split_once('=') {
                None => (word, None),
                Some((name @ ("cut" | "freeze"), time)) => {
                    (name, Some(humantime::parse_duration(time).map_err(|_| unknown())?))
                }
                Some(_) => return Err(unknown()),
            };
            let time = time.unwrap_or(DEFAULT_TIME);
            let all = [
                Fault::Link(LinkFault::Lose),
                Fault::Link(LinkFault::Repeat),
                Fault::Link(LinkFault::Exchange),
                Fault::Link(LinkFault::Alter),
                Fault::Cut(time),
                Fault::Freeze(time),
                Fault::Forget,
            ];
            if name == "all" {
                faults.extend(all);
            } else {
                faults.push(all.into_iter().find(|fault| fault.name() == name).ok_or_else(unknown)?);
            }
        }
        Ok(Self(faults))
    }
}

/// Which fault comes next, for ever.
#[derive(Debug)]
pub struct Plan {
    faults: FaultList,
    pause: Duration,
    /// Draws the faults; without it they come in their order, over and over.
    random: Option<StdRng>,
    next: usize,
}

impl Plan {
    /// The faults in the order of the list, or as `seed` draws them, with a pause before each.
    #[must_use]
    pub fn new(faults: FaultList, pause: Duration, seed: Option<u64>) -> Self {
        Self { faults, pause, random: seed.map(StdRng::seed_from_u64), next: 0 }
    }

    pub(super) fn pause(&self) -> Duration {
        self.pause
    }

    pub(super) fn next_fault(&mut self) -> Fault {
        let faults = &self.faults.0;
        let place = match &mut self.random {
            Some(random) => random.random_range(0..faults.len()),
            None => self.next,
        };
        self.next = (place + 1) % faults.len();
        faults[place]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Result<Vec<Fault>, UnknownFault> {
        text.parse::<FaultList>().map(|list| list.0)
    }

    fn drawn(seed: Option<u64>) -> Vec<Fault> {
        let mut plan = Plan::new("lose, forget,cut".parse().unwrap(), Duration::ZERO, seed);
        (0..20).map(|_| plan.next_fault()).collect()
    }

    #[test]
    fn a_list_names_faults_with_their_times() {
        let ms = Duration::from_millis;
        let expected = [Fault::Link(LinkFault::Alter), Fault::Cut(ms(1_500)), Fault::Freeze(DEFAULT_TIME)];
        assert_eq!(list("alter, cut=1500ms,freeze").unwrap(), expected);
        let all: Vec<_> = list("all").unwrap().into_iter().map(Fault::name).collect();
        assert_eq!(all, ["lose", "repeat", "exchange", "alter", "cut", "freeze", "forget"]);
        for wrong in ["", "lose,", "loose", "lose=5s", "cut=", "cut=5", "all=5s"] {
            assert!(list(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn without_a_seed_they_come_in_their_order_over_and_over() {
        let names: Vec<_> = drawn(None).into_iter().map(Fault::name).take(4).collect();
        assert_eq!(names, ["lose", "forget", "cut", "lose"]);
    }

    #[test]
    fn a_seed_decides_the_order() {
        assert_eq!(drawn(Some(1)), drawn(Some(1)));
        assert_ne!(drawn(Some(1)), drawn(Some(2)));
        assert_ne!(drawn(Some(1)), drawn(None));
    }
}
