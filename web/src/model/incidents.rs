//! Collects the incidents of this page.

use std::collections::VecDeque;
use std::time::Duration;

use engine::replica::{Divergence, Notice, State};
use engine::{Batch, Index, LogId, Replica, Resume, Snapshot, SnapshotReason, Standing, Struck, Term, Verdict};

use super::chain::Chain;
use super::incident::{Answer, Beginning, Done, Healed, Incident, Noticed};
use super::telling::{Teller, Telling};
use super::{Model, Now, news};

/// How many incidents are kept: enough for an hour of breaking things.
pub const CAPACITY: usize = 40;

/// How long after a repeated batch another one is not an incident of its own.
const SAME_AGAIN: Duration = Duration::from_secs(10);

/// The newest [`CAPACITY`] incidents, and which of them is told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Incidents {
    /// Oldest first.
    list: VecDeque<Incident>,
    version: u64,
    /// Whether the page was live once. Before, nothing can be lost.
    was_live: bool,
    /// What the replica holds, and in which term.
    held: Option<Snapshot>,
    term: Option<Term>,
    /// The leader's log.
    log: Option<LogId>,
    teller: Teller,
}

/// What stands around a notice.
pub(super) struct Around<'a> {
    pub(super) replica: &'a Replica,
    /// The state in which the notice was made.
    pub(super) state: State,
    /// The transport's last error.
    pub(super) link_error: Option<&'a str>,
    pub(super) chain: &'a Chain,
}

impl Incidents {
    pub(super) fn new(held: Option<Snapshot>) -> Self {
        Self { held, ..Self::default() }
    }

    pub(super) fn handle_notice(&mut self, notice: &Notice, around: &Around<'_>, now: Now) {
        let Around { replica, state, chain, .. } = *around;
        let noticed = match notice {
            Notice::Applied { batch, .. } => {
                self.fill(batch);
                self.hold(replica);
                return self.heal_thawed(notice, replica, now);
            }
            Notice::LagChanged => return self.heal_thawed(notice, replica, now),
            Notice::SnapshotLoaded { snapshot } => {
                let at = snapshot.position().index;
                if state == State::Live {
                    self.open(Beginning::Noticed(Noticed::Overtaken(at)), chain, now).healed =
                        Some((Healed::Itself, now));
                }
                return self.hold(replica);
            }
            Notice::Welcomed(welcome) => {
                let held = replica.snapshot().or(self.held);
                let asked = held.filter(|_| welcome.verdict != Verdict::Snapshot(SnapshotReason::Fresh));
                let answer = Answer {
                    asked: asked.map(|held| Resume { log: held.log(), position: held.position() }),
                    verdict: welcome.verdict,
                    damaged: welcome.damaged,
                    log: welcome.log,
                    term: welcome.term,
                };
                self.log = Some(welcome.log);
                self.change(|incident| incident.answer = Some((answer, now)));
                return self.hold(replica);
            }
            Notice::CaughtUp(resync) => {
                self.was_live = true;
                self.change(|incident| {
                    if incident.can_heal() {
                        incident.healed = Some((Healed::Resynced(*resync), now));
                    }
                });
                return self.hold(replica);
            }
            // An attempt that failed, of an incident that is known.
            Notice::NoWelcome | Notice::LinkLost | Notice::Goodbye(_) if state == State::Connecting => {
                return self.change(|incident| incident.attempts += 1);
            }
            // The answer that follows says it.
            Notice::Diverged(Divergence::Verdict { .. }) if self.is_open() => return,
            Notice::StateChanged { .. } | Notice::NewLog { .. } | Notice::NoWelcome => return,
            Notice::Duplicate { first, last } => Noticed::Duplicate { first: *first, last: *last },
            Notice::Gap { expected, got, by_heartbeat } => {
                Noticed::Gap { expected: *expected, got: *got, by_heartbeat: *by_heartbeat }
            }
            Notice::Diverged(divergence) => Noticed::Diverged(*divergence),
            Notice::StaleLeader { seen, got } => Noticed::StaleLeader { seen: *seen, got: *got },
            Notice::Goodbye(goodbye) => Noticed::Goodbye(goodbye.reason),
            Notice::Violated(violation) => Noticed::Violated(*violation),
            Notice::LinkLost => Noticed::LinkLost(around.link_error.map(str::to_owned)),
            Notice::Silent { silence } => Noticed::Silent(*silence),
        };
        self.notice(noticed, chain, now);
        if let Notice::Diverged(_) = notice {
            self.held = None;
        }
    }

    fn notice(&mut self, noticed: Noticed, chain: &Chain, now: Now) {
        self.version += 1;
        let heals_itself = matches!(noticed, Noticed::Duplicate { .. });
        let healed = heals_itself.then_some((Healed::Itself, now));
        if let Some(incident) = self.open_ones().find(|incident| incident.expects(&noticed)) {
            incident.noticed = Some((noticed, now));
            incident.healed = healed;
            return;
        }
        let newest = self.list.back().and_then(|newest| Some((newest.noticed.as_ref()?, newest.healed.is_some())));
        match (&noticed, newest) {
            (Noticed::Duplicate { .. }, Some(((Noticed::Duplicate { .. }, at), _)))
                if now.at.since(at.at) < SAME_AGAIN =>
            {
                return;
            }
            (Noticed::StaleLeader { .. }, Some(((Noticed::StaleLeader { .. }, _), false))) => return,
            _ => {}
        }
        // A stream that breaks while something else heals is one more attempt.
        let stands_alone = heals_itself || matches!(noticed, Noticed::StaleLeader { .. } | Noticed::Judged(_));
        if !stands_alone && self.is_open() {
            return self.change(|incident| {
                incident.attempts += 1;
                incident.answer = None;
            });
        }
        if self.was_live {
            self.open(Beginning::Noticed(noticed), chain, now).healed = healed;
        }
    }

    /// The injector did something.
    fn handle_struck(&mut self, struck: &Struck, chain: &Chain, now: Now) {
        let ends = |batch: &Batch| (batch.first(), batch.last());
        let (done, batch) = match struck {
            Struck::Lost(batch) => (Done::Lost { first: batch.first(), last: batch.last() }, Some(batch)),
            Struck::Repeated(batch) => (Done::Repeated { first: batch.first(), last: batch.last() }, Some(batch)),
            Struck::HeldBack(batch) => {
                (Done::Exchanged { first: batch.first(), last: batch.last(), by: None }, Some(batch))
            }
            Struck::Altered { sent, arrived } => {
                let operation = |batch: &Batch| batch.operations()[0];
                let (first, last) = ends(sent);
                let (arrived, operation) = (operation(arrived), operation(sent));
                (Done::Altered { first, last, sent: operation, arrived }, Some(sent))
            }
            Struck::Exchanged { held, by: overtook } => {
                return self.change(|incident| {
                    if let Some(Done::Exchanged { first, by, .. }) = &mut incident.done
                        && *first == held.first()
                    {
                        *by = Some(ends(overtook));
                        incident.fill(overtook);
                    }
                });
            }
            Struck::Cut(batch) => (Done::Cut, Some(batch)),
            Struck::TakenDown => (Done::Cut, None),
            Struck::BroughtUp => return self.end(Done::Cut, now),
        };
        let incident = self.open(Beginning::Done(done), chain, now);
        if let Some(batch) = batch {
            incident.fill(batch);
        }
        if matches!(struck, Struck::Cut(_)) {
            incident.over = Some(now);
        }
    }

    /// What was done is over.
    fn end(&mut self, done: Done, now: Now) {
        self.change(|incident| {
            if incident.done == Some(done) && incident.over.is_none() {
                incident.over = Some(now);
            }
        });
    }

    fn handle_standing(&mut self, standing: Standing, at: Resume, chain: &Chain, now: Now) {
        let judged = |incident: &Incident| matches!(incident.noticed, Some((Noticed::Judged(_), _)));
        match news::describe_standing(standing, at) {
            Some(text) if !self.open_ones().any(|incident| judged(incident)) => {
                self.notice(Noticed::Judged(text), chain, now);
            }
            None if standing == Standing::InStep => self.change(|incident| {
                if judged(incident) {
                    incident.healed = Some((Healed::Itself, now));
                }
            }),
            _ => {}
        }
    }

    /// A tab that reads again is healed when it reads something that had not waited, or the leader says that nothing is
    /// missing.
    fn heal_thawed(&mut self, notice: &Notice, replica: &Replica, now: Now) {
        let Some(incident) =
            self.open_ones().find(|incident| incident.done == Some(Done::Frozen) && incident.over.is_some())
        else {
            return;
        };
        let passed = incident.over.map_or(Duration::ZERO, |over| now.at.since(over.at));
        let healed = match notice {
            Notice::Applied { batch, .. } if replica.lag().is_none_or(|lag| lag > passed) => {
                incident.waited = (incident.waited.0 + batch.operations().len() as u64, Some(now));
                false
            }
            Notice::Applied { .. } => true,
            _ => replica.state() == State::Live && replica.lag_events().is_some_and(|lag| lag.exact && lag.events == 0),
        };
        // One that had to ask again is healed when it has caught up.
        if healed && incident.noticed.is_none() {
            incident.healed = Some((Healed::Read(incident.waited.0), now));
        }
        self.version += 1;
    }

    fn fill(&mut self, batch: &Batch) {
        // Those that can still be told soon: their windows reach a few events further than they.
        self.list.iter_mut().rev().take(4).for_each(|incident| incident.fill(batch));
    }

    fn hold(&mut self, replica: &Replica) {
        self.held = replica.snapshot();
        self.term = replica.term().or(self.term);
    }

    fn open(&mut self, beginning: Beginning, chain: &Chain, now: Now) -> &mut Incident {
        self.version += 1;
        if self.list.len() == CAPACITY {
            self.list.pop_front();
        }
        let incident = Incident::new(self.version, beginning, self.held, self.term, chain, now);
        self.teller.add(&incident, now.at);
        self.list.push_back(incident);
        let newest = self.list.len() - 1;
        &mut self.list[newest]
    }

    fn open_ones(&mut self) -> impl Iterator<Item = &mut Incident> {
        self.list.iter_mut().filter(|incident| incident.healed.is_none())
    }

    fn is_open(&self) -> bool {
        self.list.iter().any(|incident| incident.healed.is_none())
    }

    /// Changes all incidents that are not healed.
    fn change(&mut self, change: impl FnMut(&mut Incident)) {
        self.version += 1;
        self.open_ones().for_each(change);
    }
}

impl Model {
    // What happened.

    /// The injector of this page's link did something. Ask [`poll_struck`](engine::Injector::poll_struck) before every notice,
    /// so that what was done is known before it is noticed, and before every frame that is drawn.
    pub fn handle_struck(&mut self, struck: &Struck, now: Now) {
        self.incidents.handle_struck(struck, &self.chain, now);
    }

    /// The session is frozen: it reads nothing.
    pub fn handle_frozen(&mut self, now: Now) {
        self.frozen = true;
        self.incidents.open(Beginning::Done(Done::Frozen), &self.chain, now);
    }

    /// The session reads again.
    pub fn handle_thawed(&mut self, now: Now) {
        self.frozen = false;
        self.incidents.end(Done::Frozen, now);
    }

    /// The session was stopped and all that it held is dropped. A new session starts with nothing.
    pub fn handle_forgotten(&mut self, now: Now) {
        // Who holds nothing forgets nothing.
        if self.incidents.held.is_some() {
            self.incidents.open(Beginning::Done(Done::Forgotten), &self.chain, now);
            self.incidents.held = None;
        }
        self.forget(now);
    }

    // What to show.

    /// The newest incidents, newest first.
    pub fn incidents(&self) -> impl DoubleEndedIterator<Item = &Incident> {
        self.incidents.list.iter().rev()
    }

    /// The incidents in the present log, newest first, each with the event that it stands beside.
    pub fn placed_incidents(&self) -> impl Iterator<Item = (Index, &Incident)> {
        let log = self.incidents.log;
        self.incidents().filter_map(move |incident| Some((incident.place(log?)?, incident)))
    }

    /// Grows with everything new in [`incidents`](Self::incidents).
    #[must_use]
    pub fn incidents_version(&self) -> u64 {
        self.incidents.version
    }

    /// What is told now of an incident; it goes on as time passes. `None` if nothing is told.
    pub fn telling(&mut self, now: Now) -> Option<Telling> {
        self.incidents.teller.telling(&self.incidents.list, now.at)
    }

    /// Tells an incident again from its first step on. Another telling ends.
    pub fn replay(&mut self, incident: u64, now: Now) {
        self.incidents.teller.tell(incident, now.at);
    }

    /// Ends the present telling; the next incident that waits is told.
    pub fn skip_telling(&mut self, now: Now) {
        self.incidents.teller.skip(now.at);
    }

    pub(super) fn handle_incident_standing(&mut self, standing: Standing, at: Resume, now: Now) {
        self.incidents.handle_standing(standing, at, &self.chain, now);
    }
}
