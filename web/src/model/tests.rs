//! What the model shows when a real replica meets a scripted leader.

use engine::frame::SnapshotFrame;
use engine::{
    Batch, Digest, Frame, Goodbye, GoodbyeReason, Heartbeat, LogId, Operation, Position, SnapshotReason, StreamId,
    Timestamp, Verdict, Welcome,
};

use follower::NotAllowed;

use super::status::Tone;
use super::*;

const LOG: LogId = LogId(0xabcd);

/// A replica with the model that watches it, and the clock of both.
struct Tab {
    replica: Replica,
    model: Model,
    now: Now,
}

impl Tab {
    fn new(saved: Option<Snapshot>) -> Self {
        let replica = saved.map_or_else(|| Replica::new(1), |saved| Replica::restore(1, saved));
        Self { replica, model: Model::new("1a2b".to_owned(), "browser-1a2b".to_owned(), saved), now: Now::default() }
    }

    fn pass(&mut self, time: Duration) -> &mut Self {
        self.now.at = self.now.at.plus(time);
        self.replica.handle_timeout(self.now.at);
        self.pass_notices()
    }

    /// Lets the time pass until the replica tries to connect.
    fn connect(&mut self) -> &mut Self {
        while self.replica.state() != State::Connecting {
            self.pass(Duration::from_millis(100));
        }
        self
    }

    fn frame(&mut self, frame: Frame) -> &mut Self {
        self.replica.handle_frame(frame, self.now.at);
        self.pass_notices()
    }

    fn close(&mut self) -> &mut Self {
        self.replica.handle_closed(self.now.at);
        self.pass_notices()
    }

    fn pass_notices(&mut self) -> &mut Self {
        while self.replica.poll_action().is_some() {}
        while let Some(notice) = self.replica.poll_notice() {
            self.model.handle_notice(&notice, &self.replica, self.now);
        }
        self
    }

    /// Connects and gets a snapshot with the value 0 at the start of `log`.
    fn go_live(&mut self, log: LogId, reason: SnapshotReason) -> &mut Self {
        let start = Snapshot::take(log, Position::origin(log), 0);
        self.connect()
            .frame(welcome(log, Index::ZERO, Verdict::Snapshot(reason)))
            .frame(Frame::Snapshot(SnapshotFrame { term: Term(1), snapshot: start }))
    }

    fn status(&self) -> status::Status {
        self.model.status(self.now)
    }

    fn latest(&self) -> &str {
        self.model.news().next().map_or("", |item| item.text.as_str())
    }
}

fn welcome(log: LogId, tail: Index, verdict: Verdict) -> Frame {
    Frame::Welcome(Welcome {
        log,
        term: Term(1),
        tail,
        floor: Index::ZERO,
        heartbeat_interval: Duration::from_secs(1),
        durability: Durability::Memory,
        leader_time: Timestamp(0),
        verdict,
        damaged: false,
        stream: StreamId(1),
    })
}

/// `operations` after what `tab` holds, as the leader commits them.
fn batch(tab: &Tab, operations: &[Operation]) -> Batch {
    let held = tab.replica.snapshot().unwrap();
    let first = held.position().index.next();
    let unsealed = Batch::new(Term(1), first, operations.to_vec(), Digest(0), Timestamp(0)).unwrap();
    let (_, digest) = unsealed.replay(held.value(), held.position().digest).unwrap();
    Batch::new(Term(1), first, operations.to_vec(), digest, Timestamp(0)).unwrap()
}

#[test]
fn a_new_tab_connects_and_is_in_step() {
    let mut tab = Tab::new(None);
    assert_eq!((tab.status().state, tab.status().words), ("waiting", "Connecting"));
    assert_eq!(tab.status().mark.title, "Nothing held yet");
    tab.go_live(LOG, SnapshotReason::Fresh);
    let status = tab.status();
    assert_eq!((status.state, status.tone, status.mark.in_step), ("live", status::Tone::Good, true));
    let line = tab.model.first_resync().unwrap();
    assert_eq!(line.verdict, "fresh");
    assert!(line.text.starts_with("Started: took a snapshot at #0 because this tab held nothing yet"), "{}", line.text);
    assert_eq!(tab.model.numbers().durability, Some(Durability::Memory));
}

#[test]
fn value_index_and_digest_are_of_one_moment() {
    let mut tab = Tab::new(None);
    tab.go_live(LOG, SnapshotReason::Fresh);
    let batch = batch(&tab, &[Operation::Add(7), Operation::Multiply(6)]);
    tab.frame(Frame::Batch(batch.clone()));
    let held = tab.model.numbers().held.unwrap();
    assert_eq!((held.value(), held.position()), (42, batch.end()));
    let shown: Vec<String> = (0..2).filter_map(|place| tab.model.log_line(place, 0)).map(|line| line.value).collect();
    assert_eq!(shown, ["42", "7"]);
    let newest = *tab.model.chain().links().last().unwrap();
    assert_eq!((newest.event.value, newest.digest, newest.proved), (42, batch.digest(), true));
}

#[test]
fn a_reload_shows_that_it_resumed_and_keeps_showing_it() {
    let saved = Snapshot::take(LOG, Position { index: Index(12_345), digest: Digest(7) }, -3);
    let mut tab = Tab::new(Some(saved));
    assert_eq!(tab.model.numbers().held, Some(saved), "it is shown at once");
    assert!(!tab.status().mark.in_step, "but not as in step");
    tab.connect().frame(welcome(LOG, Index(12_346), Verdict::Resumed));
    assert_eq!((tab.status().state, tab.status().mark.detail.as_str()), ("catching_up", "At least 1 event to go"));
    let batch = batch(&tab, &[Operation::Add(1)]);
    tab.frame(Frame::Batch(batch));
    let line = tab.model.first_resync().unwrap().clone();
    assert_eq!(line.verdict, "resumed");
    assert!(
        line.text.starts_with("Resynced after the reload: resumed from #12,345, applied 1 event,"),
        "{}",
        line.text
    );

    tab.close().connect().frame(welcome(LOG, Index(12_346), Verdict::Resumed));
    assert_eq!(tab.model.first_resync(), Some(&line));
    assert!(tab.model.reconnect().unwrap().text.starts_with("Reconnected: resumed from #12,346, nothing was missing"));
    assert!(tab.latest().starts_with("Reconnected:"), "{}", tab.latest());
}

#[test]
fn a_duplicated_tab_resumes_and_mentions_no_reload() {
    let saved = Snapshot::take(LOG, Position { index: Index(5), digest: Digest(7) }, -3);
    let mut tab = Tab::new(Some(saved));
    tab.model.handle_duplicate("5e6f".to_owned(), "browser-2b3c".to_owned());
    tab.connect().frame(welcome(LOG, Index(5), Verdict::Resumed));
    assert_eq!(tab.status().name, "browser-2b3c");
    let line = tab.model.first_resync().unwrap();
    assert!(line.text.starts_with("Started: resumed from #5, nothing was missing"), "{}", line.text);
}

#[test]
fn a_new_log_is_reported() {
    let mut tab = Tab::new(None);
    tab.go_live(LOG, SnapshotReason::Fresh);
    tab.close();
    assert_eq!(tab.latest(), "The connection to the leader was lost.");
    tab.go_live(LogId(0xef), SnapshotReason::OtherLog);
    let items: Vec<_> = tab.model.news().map(|item| item.text.as_str()).collect();
    assert!(items[0].contains("because the leader started a new log"), "{items:?}");
    assert!(items[1].starts_with("The leader started a new log (00000000…)."), "{items:?}");
    assert_eq!(tab.model.reconnect().unwrap().verdict, "other_log");
}

#[test]
fn a_divergence_a_gap_and_a_goodbye_are_reported() {
    let mut tab = Tab::new(None);
    tab.go_live(LOG, SnapshotReason::Fresh);
    let right = batch(&tab, &[Operation::Add(1)]);
    let beyond = Batch::new(Term(1), Index(5), vec![Operation::Add(1)], Digest(1), Timestamp(0)).unwrap();
    tab.frame(Frame::Batch(beyond));
    assert_eq!(tab.latest(), "A gap: #1 to #4 did not arrive. Reconnecting to resume from #0.");

    tab.connect().frame(welcome(LOG, Index::ZERO, Verdict::Resumed));
    let wrong = Batch::new(Term(1), right.first(), vec![Operation::Add(1)], Digest(1), Timestamp(0)).unwrap();
    tab.frame(Frame::Batch(wrong));
    assert!(tab.latest().starts_with("Diverged:"), "{}", tab.latest());
    assert_eq!(tab.status().mark.title, "Diverged from the leader");
    assert_eq!(tab.model.numbers().held, None);

    tab.go_live(LOG, SnapshotReason::Fresh);
    assert!(tab.status().mark.in_step);
    let goodbye = Goodbye { reason: GoodbyeReason::ShuttingDown, retry_after: Duration::from_millis(500) };
    tab.frame(Frame::Goodbye(goodbye));
    assert_eq!(tab.latest(), "The leader said goodbye: it is shutting down. Trying again in 500 ms.");
}

#[test]
fn after_a_divergence_the_snapshot_names_the_first_cause() {
    let mut tab = Tab::new(None);
    tab.go_live(LOG, SnapshotReason::Fresh);
    let right = batch(&tab, &[Operation::Add(1)]);
    tab.frame(Frame::Batch(right.clone()));
    let wrong = Batch::new(Term(1), right.first().next(), vec![Operation::Add(1)], Digest(1), Timestamp(0)).unwrap();
    tab.frame(Frame::Batch(wrong));
    // The first answer breaks off before its snapshot comes.
    tab.connect().frame(welcome(LOG, Index(2), Verdict::Snapshot(SnapshotReason::Fresh))).close();
    tab.go_live(LOG, SnapshotReason::Fresh);
    let line = &tab.model.reconnect().unwrap().text;
    assert!(line.contains("because what this tab held at #1 was not what the leader held there"), "{line}");
    assert!(!line.contains("held nothing"), "{line}");

    // The next one has a cause of its own.
    tab.close();
    tab.connect().frame(welcome(LogId(0xef), Index::ZERO, Verdict::Snapshot(SnapshotReason::OtherLog))).close();
    tab.go_live(LogId(0xef), SnapshotReason::Fresh);
    let line = &tab.model.reconnect().unwrap().text;
    assert!(line.contains("because the leader started a new log (this tab held #0 of the old one)"), "{line}");
}

#[test]
fn a_snapshot_after_damage_names_the_damage() {
    let mut tab = Tab::new(None);
    tab.model.handle_damaged_state(tab.now);
    tab.go_live(LOG, SnapshotReason::Fresh);
    let line = &tab.model.first_resync().unwrap().text;
    assert!(line.contains("because what this tab saved before the reload was damaged"), "{line}");
}

#[test]
fn numbers_that_are_not_known_are_not_shown() {
    let mut tab = Tab::new(None);
    assert_eq!(tab.model.numbers(), Numbers::default());
    tab.go_live(LOG, SnapshotReason::Fresh);
    assert_eq!(tab.model.numbers().tail, Known::AtLeast(0), "no answer to a report named it");
    let batch = batch(&tab, &[Operation::Add(1)]);
    tab.frame(Frame::Batch(batch));
    assert_eq!((tab.model.numbers().tail, tab.model.numbers().lag_events), (Known::AtLeast(1), Known::AtLeast(0)));
    assert!(tab.model.numbers().lag.is_some());

    let lost = TimeOfDay(12 * 3_600 + 184);
    for lose in [
        |tab: &mut Tab| {
            tab.close();
        },
        |tab: &mut Tab| {
            tab.pass(Duration::from_secs(60));
        },
        |tab: &mut Tab| tab.model.handle_tabs(8, false, tab.now),
    ] {
        tab.connect().frame(welcome(LOG, Index(1), Verdict::Resumed));
        tab.now.time = lost;
        lose(&mut tab);
        let numbers = tab.model.numbers();
        assert_eq!((numbers.tail, numbers.lag_events, numbers.lag), (Known::Not, Known::Not, None));
        assert_eq!(numbers.unknown_since, Some(lost));
        assert!(numbers.held.is_some(), "what is held stays so");
        let mark = tab.status().mark;
        assert!(!mark.in_step);
        assert_eq!(mark.detail, "Shows #1. Nothing is known since 12:03:04");
        tab.now.time = TimeOfDay(13 * 3_600);
        assert_eq!(tab.model.numbers().unknown_since, Some(lost), "further attempts change nothing");
        tab.model.handle_tabs(1, true, tab.now);
    }

    tab.close().connect().frame(welcome(LOG, Index(1), Verdict::Resumed));
    let numbers = tab.model.numbers();
    assert_eq!((numbers.tail, numbers.unknown_since), (Known::AtLeast(1), None));
    assert_eq!(numbers.lag, None, "nothing came on this stream that could tell it");
}

#[test]
fn an_old_judgement_is_shown_with_its_time() {
    let mut tab = Tab::new(None);
    tab.go_live(LOG, SnapshotReason::Fresh);
    tab.now.time = TimeOfDay(12 * 3_600 + 184);
    let at = Resume { log: LOG, position: Position::origin(LOG) };
    tab.model.handle_standing(Standing::InStep, at, tab.now);
    assert_eq!(tab.status().mark.detail, "The leader confirmed #0");
    tab.now.at = tab.now.at.plus(Duration::from_secs(7));
    assert_eq!(tab.status().mark.detail, "The leader last confirmed #0, at 12:03:04");
}

#[test]
fn silence_is_reported() {
    let mut tab = Tab::new(None);
    tab.go_live(LOG, SnapshotReason::Fresh);
    let heartbeat = Heartbeat { term: Term(1), tail: Index::ZERO, floor: Index::ZERO, leader_time: Timestamp(0) };
    tab.frame(Frame::Heartbeat(heartbeat)).pass(Duration::from_secs(3));
    assert_eq!((tab.status().state, tab.status().words), ("stale", "Leader silent"));
    assert_eq!(tab.latest(), "No sign of life from the leader for 3.0 s. Reconnecting.");
}

#[test]
fn the_leaders_judgement_confirms_or_removes_the_mark() {
    let mut tab = Tab::new(None);
    tab.go_live(LOG, SnapshotReason::Fresh);
    let batch = batch(&tab, &[Operation::Add(1)]);
    tab.frame(Frame::Batch(batch.clone()));
    assert_eq!(tab.status().mark.detail, "Every digest matched so far");
    let at = Resume { log: LOG, position: batch.end() };
    tab.model.handle_standing(Standing::InStep, at, tab.now);
    assert_eq!(tab.status().mark.detail, "The leader confirmed #1");
    tab.model.handle_standing(Standing::Diverged, at, tab.now);
    assert!(!tab.status().mark.in_step);
    assert_eq!(tab.latest(), "The leader says that this tab holds something else at #1.");
}

#[test]
fn a_late_judgement_of_a_dropped_state_is_ignored() {
    let mut tab = Tab::new(None);
    tab.go_live(LOG, SnapshotReason::Fresh);
    let before = batch(&tab, &[Operation::Add(1)]).end();
    tab.close().go_live(LogId(0xef), SnapshotReason::OtherLog);
    tab.model.handle_standing(Standing::OtherLog, Resume { log: LOG, position: before }, tab.now);
    let ahead = Resume { log: LogId(0xef), position: Position { index: Index(500), digest: Digest(1) } };
    tab.model.handle_standing(Standing::Ahead, ahead, tab.now);
    let replaced = Resume { log: LogId(0xef), position: Position { index: Index::ZERO, digest: Digest(1) } };
    tab.model.handle_standing(Standing::Diverged, replaced, tab.now);
    assert!(tab.status().mark.in_step);
    assert!(tab.latest().starts_with("Reconnected:"), "{}", tab.latest());
}

#[test]
fn an_unreachable_leader_is_reported_with_the_number_of_attempts() {
    let mut tab = Tab::new(None);
    tab.connect();
    tab.model.handle_link_failure("refused".to_owned());
    tab.close();
    assert_eq!(tab.status().banner, None, "it may be over in a moment");
    tab.pass(Duration::from_secs(2)).connect();
    assert_eq!(tab.latest(), "The leader could not be reached (refused).");
    let banner = tab.status().banner.unwrap();
    assert_eq!(
        (banner.kind, banner.text.as_str()),
        ("no_answer", "The leader does not answer. Trying again… (attempt 2)")
    );
    tab.go_live(LOG, SnapshotReason::Fresh);
    assert_eq!(tab.status().banner, None);
}

#[test]
fn a_tab_that_must_wait_for_others_says_so_at_once() {
    let mut tab = Tab::new(None);
    tab.model.handle_tabs(8, false, tab.now);
    let status = tab.status();
    assert_eq!((status.state, status.words), ("waiting", "Waiting for a connection"));
    let banner = status.banner.unwrap();
    assert_eq!(banner.kind, "connections");
    assert!(
        banner.text.starts_with("8 tabs of this page are open. A browser allows six connections"),
        "{}",
        banner.text
    );
    tab.model.handle_tabs(5, true, tab.now);
    tab.go_live(LOG, SnapshotReason::Fresh);
    assert_eq!((tab.status().state, tab.status().banner), ("live", None));
}

#[test]
fn where_tabs_share_a_connection_no_banner_speaks_of_six() {
    let mut tab = Tab::new(None);
    tab.model.handle_connections(Connections::Shared);
    tab.model.handle_tabs(8, true, tab.now);
    tab.connect().pass(Duration::from_secs(2));
    assert_eq!(tab.status().banner.unwrap().kind, "no_answer", "it hangs for another reason");
    tab.go_live(LOG, SnapshotReason::Fresh);
    tab.model.handle_doubt(tab.now);
    assert_eq!(tab.status().banner, None);
    tab.model.handle_tabs(91, false, tab.now);
    let banner = tab.status().banner.unwrap();
    assert!(banner.kind == "connections" && !banner.text.contains("six"), "{}", banner.text);
    assert!(banner.text.contains("91 tabs") && banner.text.contains("The 90 oldest"), "{}", banner.text);
}

#[test]
fn a_leader_that_wants_a_token_is_not_called_silent() {
    let mut tab = Tab::new(None);
    for attempt in 1..4 {
        tab.connect();
        tab.model.handle_not_allowed_to_read(NotAllowed::Missing);
        tab.close().pass(Duration::from_secs(2));
        let status = tab.status();
        assert_eq!((status.state, status.words), ("not_allowed", "Needs a token"), "attempt {attempt}");
        assert_eq!(status.mark.detail, "Waiting for a token");
        assert_eq!(status.banner.unwrap().kind, "token");
        assert_eq!(tab.latest(), "This leader shows its log only to those who have a token.");
        assert_eq!(tab.model.leader_lane(tab.now).detail, "wants a token");
    }
    tab.model.handle_token(true);
    assert!(tab.status().state != "not_allowed" && tab.model.may_read());
    tab.go_live(LOG, SnapshotReason::Fresh);
    assert_eq!((tab.status().state, tab.status().banner), ("live", None));
    // The stream that is open goes on.
    tab.model.handle_not_allowed_to_read(NotAllowed::Unknown);
    let status = tab.status();
    assert_eq!((status.state, status.words, status.banner.unwrap().kind), ("live", "Live", "token"));
    tab.close();
    assert_eq!((tab.status().state, tab.status().mark.title), ("not_allowed", "Not connected"));
}

#[test]
fn many_tabs_explain_an_attempt_that_hangs_but_not_one_that_fails() {
    let mut tab = Tab::new(None);
    tab.model.handle_tabs(6, true, tab.now);
    tab.connect().pass(Duration::from_secs(2));
    assert_eq!(tab.status().banner.unwrap().kind, "connections");
    tab.close();
    assert_eq!(tab.status().banner.unwrap().kind, "no_answer");
}

#[test]
fn an_operation_without_an_answer_is_explained_for_a_while() {
    let mut tab = Tab::new(None);
    tab.go_live(LOG, SnapshotReason::Fresh);
    tab.model.handle_tabs(6, true, tab.now);
    tab.model.handle_doubt(tab.now);
    assert_eq!(tab.status().banner.unwrap().kind, "connections");
    tab.now.at = tab.now.at.plus(Duration::from_secs(15));
    assert_eq!(tab.status().banner, None);
}

#[test]
fn the_tabs_title_says_value_and_state() {
    let mut tab = Tab::new(None);
    assert_eq!(tab.model.title(tab.now), ("○ Connecting – Distributed calculator".to_owned(), Tone::Idle));
    tab.go_live(LOG, SnapshotReason::Fresh);
    let added = batch(&tab, &[Operation::Add(1_234)]);
    tab.frame(Frame::Batch(added));
    assert_eq!(tab.model.title(tab.now), ("✓ 1,234 – Distributed calculator".to_owned(), Tone::Good));
    tab.close();
    assert_eq!(tab.model.title(tab.now), ("○ 1,234 – Distributed calculator".to_owned(), Tone::Warn));
}

#[test]
fn the_chart_marks_incidents_and_new_leaders() {
    let mut tab = Tab::new(None);
    tab.go_live(LOG, SnapshotReason::Fresh);
    assert_eq!(tab.model.sights(), []);
    tab.close().connect();
    let Frame::Welcome(welcome) = welcome(LOG, Index::ZERO, Verdict::Resumed) else { unreachable!() };
    tab.frame(Frame::Welcome(Welcome { term: Term(2), ..welcome }));
    let sights = tab.model.sights();
    assert!(sights.iter().any(|sight| sight.label == "term 2" && sight.index == Index::ZERO), "{sights:?}");
    assert!(sights.iter().any(|sight| sight.label.is_empty()), "the lost leader: {sights:?}");
}
