//! What happened recently, in plain words.

use std::collections::VecDeque;

use engine::replica::{Notice, State, WELCOME_TIMEOUT};
use engine::{GoodbyeReason, Index, Resume, Standing};

use super::Numbers;
use super::status::Tone;
use crate::format::{self, TimeOfDay, index, range};

/// How many items there are at most: enough to understand an incident afterwards.
pub const CAPACITY: usize = 30;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Unique among all items.
    pub id: u64,
    /// When it happened last.
    pub time: TimeOfDay,
    /// What happened.
    pub text: String,
    /// How bad it is.
    pub tone: Tone,
    /// How often it happened in a row.
    pub times: u32,
}

/// The newest [`CAPACITY`] items. The same thing again in a row only counts up.
#[derive(Clone, Debug, Default)]
pub(crate) struct News {
    /// Newest first.
    items: VecDeque<Item>,
    version: u64,
}

impl News {
    pub(crate) fn add(&mut self, text: String, tone: Tone, time: TimeOfDay) {
        self.version += 1;
        if let Some(latest) = self.items.front_mut()
            && latest.text == text
        {
            latest.times += 1;
            latest.time = time;
            return;
        }
        self.items.truncate(CAPACITY - 1);
        self.items.push_front(Item { id: self.version, time, text, tone, times: 1 });
    }

    pub(crate) fn items(&self) -> impl Iterator<Item = &Item> {
        self.items.iter()
    }

    pub(crate) fn version(&self) -> u64 {
        self.version
    }
}

/// A notice in words, or `None` if another part of the page shows it. `state` is the state in which it was made.
pub(crate) fn describe(
    notice: &Notice,
    state: State,
    numbers: &Numbers,
    link_error: Option<&str>,
) -> Option<(String, Tone)> {
    let applied = index(numbers.held.map_or(Index::ZERO, |held| held.position().index));
    let because = link_error.map_or(String::new(), |error| format!(" ({error})"));
    Some(match notice {
        Notice::NewLog { old, new } => {
            let (old, new) = (short(&old.to_string()), short(&new.to_string()));
            (
                format!("The leader started a new log ({new}). This tab dropped what it held of the old log ({old})."),
                Tone::Warn,
            )
        }
        // While catching up, the resync line says it.
        Notice::SnapshotLoaded { snapshot } if state == State::Live => {
            let at = index(snapshot.position().index);
            (format!("Too far behind: took a snapshot at {at} instead of the events before it."), Tone::Warn)
        }
        Notice::Duplicate { first, last } => {
            (format!("The leader sent {} again. Ignored.", range(*first, *last)), Tone::Idle)
        }
        Notice::Gap { expected: Index::ZERO, got, .. } => {
            (format!("The promised snapshot did not come; {} came instead. Asking again.", index(*got)), Tone::Warn)
        }
        Notice::Gap { expected, got, .. } => {
            let missing = range(*expected, Index(got.0.saturating_sub(1).max(expected.0)));
            (format!("A gap: {missing} did not arrive. Reconnecting to resume from {applied}."), Tone::Warn)
        }
        Notice::Diverged(divergence) => {
            let text = format!(
                "Diverged: what this tab held is not what the leader holds ({divergence}). It was dropped; a new copy \
                 follows."
            );
            (text, Tone::Bad)
        }
        Notice::StaleLeader { seen, got } => {
            let text = format!(
                "An out-of-date leader answered: it leads in term {got}, but term {seen} was already seen. \
                 Disconnected from it; trying again."
            );
            (text, Tone::Bad)
        }
        Notice::Goodbye(goodbye) => {
            let why = match goodbye.reason {
                GoodbyeReason::ShuttingDown => "it is shutting down",
                GoodbyeReason::Overloaded => "it has too much to do",
                GoodbyeReason::SteppedDown => "it no longer leads",
                GoodbyeReason::Unknown => "it did not say why",
            };
            let after = format::duration(goodbye.retry_after);
            (format!("The leader said goodbye: {why}. Trying again in {after}."), Tone::Warn)
        }
        Notice::Violated(violation) => {
            (format!("The leader broke the rules of the stream: {violation}. Reconnecting."), Tone::Bad)
        }
        Notice::LinkLost if state == State::Connecting => {
            (format!("The leader could not be reached{because}."), Tone::Warn)
        }
        Notice::LinkLost => (format!("The connection to the leader was lost{because}."), Tone::Warn),
        Notice::NoWelcome => {
            let waited = format::duration(WELCOME_TIMEOUT);
            (format!("The leader did not answer within {waited}. Trying again."), Tone::Warn)
        }
        Notice::Silent { silence } => {
            let silence = format::duration(*silence);
            (format!("No sign of life from the leader for {silence}. Reconnecting."), Tone::Warn)
        }
        Notice::StateChanged { .. }
        | Notice::Welcomed(_)
        | Notice::CaughtUp(_)
        | Notice::LagChanged
        | Notice::SnapshotLoaded { .. }
        | Notice::Applied { .. } => return None,
    })
}

/// The leader's judgement in words, if the replica is not in step.
pub(crate) fn describe_standing(standing: Standing, at: Resume) -> Option<String> {
    let at = index(at.position.index);
    match standing {
        Standing::InStep | Standing::Compacted | Standing::Unknown => None,
        Standing::OtherLog => Some(format!("The leader says that {at} of this tab is in another log.")),
        Standing::Ahead => Some(format!("The leader says that this tab is ahead of it at {at}.")),
        Standing::Diverged => Some(format!("The leader says that this tab holds something else at {at}.")),
    }
}

/// The start of a log id: enough to tell two of them apart.
fn short(log: &str) -> String {
    format!("{}…", log.get(..8).unwrap_or(log))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_thing_in_a_row_counts_up() {
        let mut news = News::default();
        for seconds in 1..=3 {
            news.add("lost".to_owned(), Tone::Warn, TimeOfDay(seconds));
        }
        news.add("found".to_owned(), Tone::Good, TimeOfDay(9));
        let items: Vec<_> = news.items().map(|item| (item.text.as_str(), item.times, item.time.0)).collect();
        assert_eq!(items, [("found", 1, 9), ("lost", 3, 3)]);
    }

    #[test]
    fn only_the_newest_are_kept() {
        let mut news = News::default();
        for number in 0..CAPACITY + 5 {
            news.add(number.to_string(), Tone::Idle, TimeOfDay(0));
        }
        assert_eq!(news.items().count(), CAPACITY);
        assert_eq!(news.items().next().unwrap().text, (CAPACITY + 4).to_string());
    }
}
