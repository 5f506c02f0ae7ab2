//! How a replica became live, as a line of text.

use engine::replica::Resync;
use engine::{SnapshotReason, Verdict};

use crate::format::{self, TimeOfDay};

/// Why the replica had to resync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Occasion {
    /// The page was opened.
    Start,
    /// The page was loaded again and still had its state.
    Reload,
    /// The connection was lost, or given up.
    Reconnect,
}

/// How a replica became live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResyncLine {
    /// The leader's verdict for programs: `resumed`, or the reason for a snapshot.
    pub verdict: String,
    /// For people: the start, the events or the snapshot with its reason, and how long it took.
    pub text: String,
    /// When it became live.
    pub time: TimeOfDay,
}

/// `saved_is_damaged`: the state that the tab saved before the reload could not be used.
pub(crate) fn line(resync: &Resync, occasion: Occasion, saved_is_damaged: bool, time: TimeOfDay) -> ResyncLine {
    let lead = match occasion {
        Occasion::Start => "Started",
        Occasion::Reload => "Resynced after the reload",
        Occasion::Reconnect => "Reconnected",
    };
    let held = resync.from.map_or(0, |from| from.position.index.0);
    let held = format::grouped_count(held);
    let took = format::duration(resync.took);
    let (verdict, text) = match resync.verdict {
        Verdict::Resumed => {
            let applied = match resync.events {
                0 => "nothing was missing".to_owned(),
                events => format!("applied {}", format::events(events)),
            };
            ("resumed".to_owned(), format!("{lead}: resumed from #{held}, {applied}, live after {took}."))
        }
        Verdict::Snapshot(reason) => {
            let at = format::grouped_count(resync.snapshot.map_or(0, |position| position.index.0));
            let applied = match resync.events {
                0 => String::new(),
                events => format!(", applied {} after it", format::events(events)),
            };
            let why = if resync.damaged {
                format!("the events after #{held} are damaged in the leader's storage")
            } else if reason == SnapshotReason::Fresh {
                // A replica that dropped its state asks as a fresh one. People want to know why it was dropped.
                match resync.dropped {
                    Some(dropped) => why(dropped.reason, &format::grouped_count(dropped.at.index.0)),
                    None if saved_is_damaged => "what this tab saved before the reload was damaged".to_owned(),
                    None => why(reason, &held),
                }
            } else {
                why(reason, &held)
            };
            (reason.to_string(), format!("{lead}: took a snapshot at #{at} because {why}{applied}, live after {took}."))
        }
    };
    ResyncLine { verdict, text, time }
}

fn why(reason: SnapshotReason, held: &str) -> String {
    match reason {
        SnapshotReason::Fresh => "this tab held nothing yet".to_owned(),
        SnapshotReason::OtherLog => format!("the leader started a new log (this tab held #{held} of the old one)"),
        SnapshotReason::Ahead => format!("this tab was ahead of the leader (it held #{held})"),
        SnapshotReason::Compacted => format!("the leader no longer keeps the events after #{held}"),
        SnapshotReason::Diverged => format!("what this tab held at #{held} was not what the leader held there"),
        SnapshotReason::Unknown => "the leader said so, for a reason that this page does not know".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use engine::{Digest, Dropped, Index, LogId, Position, Resume};

    use super::*;

    fn at(index: u64) -> Position {
        Position { index: Index(index), digest: Digest(9) }
    }

    fn resync(verdict: Verdict, snapshot: Option<u64>, events: u64) -> Resync {
        let from = Some(Resume { log: LogId(1), position: at(12_345) });
        let took = Duration::from_millis(12);
        Resync { from, verdict, damaged: false, dropped: None, snapshot: snapshot.map(at), events, took }
    }

    fn text(resync: &Resync, occasion: Occasion) -> String {
        line(resync, occasion, false, TimeOfDay::default()).text
    }

    #[test]
    fn a_resume_names_its_start_its_events_and_its_duration() {
        assert_eq!(
            text(&resync(Verdict::Resumed, None, 57), Occasion::Reload),
            "Resynced after the reload: resumed from #12,345, applied 57 events, live after 12 ms."
        );
        assert_eq!(
            text(&resync(Verdict::Resumed, None, 0), Occasion::Reconnect),
            "Reconnected: resumed from #12,345, nothing was missing, live after 12 ms."
        );
    }

    #[test]
    fn a_snapshot_after_a_dropped_state_names_the_first_cause() {
        let fresh = Resync { from: None, ..resync(Verdict::Snapshot(SnapshotReason::Fresh), Some(200), 0) };
        for (reason, why) in [
            (SnapshotReason::Diverged, "because what this tab held at #77 was not what the leader held there"),
            (SnapshotReason::OtherLog, "because the leader started a new log (this tab held #77 of the old one)"),
            (SnapshotReason::Ahead, "because this tab was ahead of the leader (it held #77)"),
        ] {
            let dropped = Some(Dropped { reason, at: at(77) });
            let text = text(&Resync { dropped, ..fresh }, Occasion::Reconnect);
            assert!(text.contains(why), "{text}");
        }
        let damaged = line(&fresh, Occasion::Start, true, TimeOfDay::default());
        assert!(damaged.text.contains("because what this tab saved before the reload was damaged"), "{}", damaged.text);
    }

    #[test]
    fn a_snapshot_names_its_index_and_reason() {
        let fresh = Resync { from: None, ..resync(Verdict::Snapshot(SnapshotReason::Fresh), Some(200), 3) };
        assert_eq!(
            text(&fresh, Occasion::Start),
            "Started: took a snapshot at #200 because this tab held nothing yet, applied 3 events after it, \
             live after 12 ms."
        );
        for (reason, why) in [
            (SnapshotReason::OtherLog, "the leader started a new log"),
            (SnapshotReason::Ahead, "this tab was ahead of the leader"),
            (SnapshotReason::Compacted, "the leader no longer keeps the events after #12,345"),
            (SnapshotReason::Diverged, "was not what the leader held"),
        ] {
            let line =
                line(&resync(Verdict::Snapshot(reason), Some(200), 0), Occasion::Reload, false, TimeOfDay::default());
            assert_eq!(line.verdict, reason.to_string());
            assert!(line.text.contains(why), "{}", line.text);
            assert!(line.text.contains("snapshot at #200"), "{}", line.text);
        }
    }
}
