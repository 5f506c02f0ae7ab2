//! What the page knows and shows.
//!
//! The session's observer tells a [`Model`] everything that happens. The page asks the model what to show
//! ([`Model::status`], [`Model::numbers`], [`Model::log_line`], [`Model::news`]) once per animation frame. Time is an
//! argument, and nothing here depends on a browser.

pub mod announcement;
pub mod chain;
pub mod chart;
pub mod history;
pub mod incident;
pub mod incidents;
pub mod last_operation;
pub mod log;
pub mod news;
pub mod past;
pub mod permission;
pub mod resync;
pub mod scroll;
pub mod stage;
pub mod status;
pub mod telling;
#[cfg(test)]
mod tests;
pub mod tour;
pub mod travel;
pub mod who;

use std::collections::VecDeque;
use std::time::Duration;

use engine::replica::{Notice, State};
use engine::{Durability, HistoryPage, Index, LinkFault, Moment, Replica, Resume, Snapshot, Standing, Term};
use follower::ReadError;

use crate::format::TimeOfDay;
use crate::known::Known;
use crate::tabs::Connections;
use announcement::Announcer;
use chain::Chain;
use chart::Series;
use history::History;
use incidents::{Around, Incidents};
use last_operation::LastOperation;
use news::{Item, News};
use permission::{Permission, READING};
use resync::{Occasion, ResyncLine};
use travel::Travel;

/// How many of its own operations the tab knows at most.
const OWN: usize = 200;

/// How many changes of the term the tab knows at most.
const TERMS: usize = 20;

/// Now, by two clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Now {
    /// To measure with.
    pub at: Moment,
    /// To show.
    pub time: TimeOfDay,
}

/// The numbers that change with every batch, all of one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// The state that the replica holds and has verified: log, index, digest and value.
    pub held: Option<Snapshot>,
    /// The leader's newest event.
    pub tail: Known,
    /// How many events the leader is ahead.
    pub lag_events: Known,
    /// How old the newest event was when it was applied, if one came on the present stream.
    pub lag: Option<Duration>,
    /// Since when there is no stream from the leader; `None` while there is one, and before the first.
    pub unknown_since: Option<TimeOfDay>,
    /// The term of the leader.
    pub term: Option<Term>,
    /// What a crash of the leader can take away, once the leader has said it.
    pub durability: Option<Durability>,
}

/// Since when the leader has not answered, and in which way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unanswered {
    pub(crate) since: Moment,
    pub(crate) attempts: u32,
    /// Whether the newest attempt failed. Otherwise it hangs, for example because it waits for a connection.
    pub(crate) failed: bool,
}

/// Everything that the page knows.
#[derive(Clone, Debug)]
pub struct Model {
    /// The replica's id, by which the leader's list names it.
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) numbers: Numbers,
    /// The state according to the notices so far, so that each notice is read in the state in which it was made.
    pub(crate) state: State,
    /// Whether the tab waits and leaves the connections to older tabs.
    pub(crate) parked: bool,
    /// How many tabs of the page are open in this browser, this one included.
    pub(crate) tabs: usize,
    /// The connections that they share.
    pub(crate) connections: Connections,
    pub(crate) permission: Permission,
    pub(crate) unanswered: Option<Unanswered>,
    /// The leader's newest list of replicas.
    pub(crate) heard: Option<stage::Heard>,
    /// The newest operations that its lists told, by index: what this tab missed while its link was cut.
    pub(crate) told: VecDeque<(u64, engine::Operation)>,
    /// The newest event of the leader that the replica knows of.
    pub(crate) known_tail: Index,
    pub(crate) pace: stage::Pace,
    pub(crate) tour: Option<tour::Tour>,
    /// What will happen to the next batch, because a person wants it.
    armed: Option<LinkFault>,
    /// Whether the session reads nothing at present, because a person wants it.
    pub(crate) frozen: bool,
    /// The incidents that the event log shows.
    marked: u64,
    /// Where this tab's own operations are, the newest of them last.
    pub(crate) own: VecDeque<Index>,
    /// Where the replica was when it last became live.
    live_from: Index,
    /// The leader's newest judgement of a position since the replica became live, and when it came.
    pub(crate) standing: Option<(Standing, Resume, Now)>,
    /// Whether an event was applied on the present stream, so that the lag in time belongs to this stream.
    applied_on_stream: bool,
    /// Whether the saved state could not be used and nothing has replaced it yet.
    saved_is_damaged: bool,
    /// Whether the replica dropped a wrong state and has no new one yet.
    pub(crate) diverged: bool,
    /// When an operation last got no answer.
    pub(crate) call_unanswered: Option<Moment>,
    /// The last operation that was submitted.
    pub(crate) last_operation: Option<LastOperation>,
    /// The transport's last error, for the notice that follows.
    link_error: Option<String>,
    occasion: Occasion,
    first_resync: Option<ResyncLine>,
    reconnect: Option<ResyncLine>,
    pub(crate) history: History,
    pub(crate) travel: Travel,
    chain: Chain,
    incidents: Incidents,
    series: Series,
    /// Where the leader's term changed, and the term from there on. The newest few.
    pub(crate) terms: VecDeque<(Index, Term)>,
    news: News,
    announcer: Announcer,
}

impl Model {
    /// A model of the tab called `name`, with the state that it saved before a reload, if any.
    #[must_use]
    pub fn new(id: String, name: String, saved: Option<Snapshot>) -> Self {
        let occasion = if saved.is_some() { Occasion::Reload } else { Occasion::Start };
        let mut history = History::default();
        history.set_own_id(&id);
        let mut series = Series::default();
        if let Some(saved) = &saved {
            series.restart(saved);
        }
        Self {
            id,
            name,
            numbers: Numbers { held: saved, ..Numbers::default() },
            state: State::Waiting,
            parked: false,
            tabs: 1,
            connections: Connections::default(),
            permission: Permission::default(),
            unanswered: None,
            heard: None,
            told: VecDeque::new(),
            known_tail: Index::ZERO,
            pace: stage::Pace::default(),
            tour: None,
            armed: None,
            frozen: false,
            marked: 0,
            own: VecDeque::new(),
            live_from: Index::ZERO,
            standing: None,
            applied_on_stream: false,
            saved_is_damaged: false,
            diverged: false,
            call_unanswered: None,
            last_operation: None,
            link_error: None,
            occasion,
            first_resync: None,
            reconnect: None,
            history,
            travel: Travel::default(),
            chain: Chain::new(saved),
            incidents: Incidents::new(saved),
            series,
            terms: VecDeque::new(),
            news: News::default(),
            announcer: Announcer::default(),
        }
    }

    // What happened.

    /// Something happened to the replica.
    pub fn handle_notice(&mut self, notice: &Notice, replica: &Replica, now: Now) {
        self.numbers.held = replica.snapshot();
        match notice {
            Notice::Welcomed(_) => self.applied_on_stream = false,
            Notice::Applied { .. } => self.applied_on_stream = true,
            _ => {}
        }
        let lag = replica.lag_events();
        self.numbers.tail = Known::of(lag, replica.tail().0);
        self.numbers.lag_events = Known::of(lag, lag.map_or(0, |lag| lag.events));
        self.numbers.lag = replica.lag().filter(|_| self.applied_on_stream && lag.is_some());
        self.numbers.term = replica.term();
        self.known_tail = replica.tail();
        self.handle_held(replica.position().index, now);
        if let Some(held) = self.numbers.held {
            self.travel.handle_log(held.log(), Index::ZERO, self.known_tail);
        }
        if let Some((text, tone)) = news::describe(notice, self.state, &self.numbers, self.link_error.as_deref()) {
            // Who refuses was reached.
            let is_refused = matches!(notice, Notice::LinkLost) && !self.may_read();
            self.news.add(if is_refused { READING.to_owned() } else { text }, tone, now.time);
        }
        let around = Around { replica, state: self.state, link_error: self.link_error.as_deref(), chain: &self.chain };
        self.incidents.handle_notice(notice, &around, now);
        self.mark_incidents();
        match notice {
            Notice::StateChanged { to, .. } => self.enter(*to, now),
            Notice::Welcomed(welcome) => {
                self.permission.handle_read();
                self.pace.restart();
                if self.terms.back().is_none_or(|(_, term)| *term != welcome.term) {
                    self.terms.push_back((welcome.tail, welcome.term));
                    self.terms.drain(..self.terms.len().saturating_sub(TERMS));
                }
                self.history.handle_log(welcome.log, welcome.floor, welcome.tail);
                self.travel.handle_log(welcome.log, welcome.floor, welcome.tail);
                self.numbers.durability = Some(welcome.durability);
                self.unanswered = None;
            }
            Notice::CaughtUp(resync) => {
                let saved_is_damaged = std::mem::take(&mut self.saved_is_damaged);
                let line = resync::line(resync, self.occasion, saved_is_damaged, now.time);
                if self.occasion == Occasion::Reconnect {
                    self.news.add(line.text.clone(), status::Tone::Good, now.time);
                    self.reconnect = Some(line);
                } else {
                    self.first_resync = Some(line);
                }
                self.occasion = Occasion::Reconnect;
                self.live_from = replica.position().index;
                self.standing = None;
                self.diverged = false;
            }
            Notice::SnapshotLoaded { snapshot } => {
                if self.history.handle_snapshot(*snapshot) {
                    self.travel.handle_reset();
                }
                self.travel.handle_log(snapshot.log(), self.history.floor(), snapshot.position().index);
                self.chain = Chain::new(Some(*snapshot));
                self.series.restart(snapshot);
                let history = &self.history;
                self.series.extend_back(|index| history.event(index));
            }
            Notice::Applied { value_before, batch } => {
                self.history.handle_batch(batch, *value_before);
                self.chain.append(batch);
                self.series.append(batch, *value_before);
            }
            Notice::Diverged(_) => self.diverged = true,
            Notice::LinkLost => self.fail(now),
            Notice::NewLog { .. }
            | Notice::LagChanged
            | Notice::Duplicate { .. }
            | Notice::Gap { .. }
            | Notice::StaleLeader { .. }
            | Notice::Goodbye(_)
            | Notice::Violated(_)
            | Notice::NoWelcome
            | Notice::Silent { .. } => {}
        }
    }

    /// The transport failed; a notice about it follows.
    pub fn handle_link_failure(&mut self, error: String) {
        self.link_error = Some(error);
    }

    /// The leader judged a position that was reported to it.
    pub fn handle_standing(&mut self, standing: Standing, at: Resume, now: Now) {
        if !self.is_own_history(at) {
            return;
        }
        let is_new = self.standing.is_none_or(|(before, ..)| before != standing);
        if is_new && let Some(text) = news::describe_standing(standing, at) {
            self.news.add(text, status::Tone::Bad, now.time);
        }
        self.standing = Some((standing, at, now));
        self.handle_incident_standing(standing, at, now);
    }

    /// `open` tabs of the page are open, and this one may stream or must wait.
    pub fn handle_tabs(&mut self, open: usize, may_stream: bool, now: Now) {
        self.tabs = open;
        if self.parked == may_stream {
            self.parked = !may_stream;
            self.enter(State::Waiting, now);
            self.numbers.tail = Known::Not;
            self.numbers.lag_events = Known::Not;
            self.numbers.lag = None;
            self.unanswered = None;
        }
    }

    /// What is known of the browser's connections to the leader.
    pub fn handle_connections(&mut self, connections: Connections) {
        self.connections = connections;
    }

    /// The tab is a copy of another open tab. It becomes a replica of its own, called `name`.
    pub fn handle_duplicate(&mut self, id: String, name: String) {
        self.history.set_own_id(&id);
        self.id = id;
        self.name = name;
        self.occasion = Occasion::Start;
    }

    /// A person gave the tab another name.
    pub fn handle_renamed(&mut self, name: String) {
        self.name = name;
    }

    /// The state that the tab saved before a reload is damaged and not used.
    pub fn handle_damaged_state(&mut self, now: Now) {
        self.saved_is_damaged = true;
        let text = "What this tab saved before the reload is damaged. It was dropped; a new copy follows.";
        self.news.add(text.to_owned(), status::Tone::Warn, now.time);
    }

    /// Drops everything that the replica held.
    fn forget(&mut self, now: Now) {
        self.enter(State::Waiting, now);
        self.numbers = Numbers { unknown_since: self.numbers.unknown_since, ..Numbers::default() };
        self.chain = Chain::default();
        self.standing = None;
        self.diverged = false;
        self.unanswered = None;
    }

    /// Whether the replica reached the position since it became live. A judgement of an earlier one may come late and be
    /// about a state that was dropped since.
    fn is_own_history(&self, at: Resume) -> bool {
        let Some(held) = self.held() else {
            return false;
        };
        let (own, reported) = (held.position(), at.position);
        let is_newest = reported.index == own.index;
        at.log == held.log()
            && (self.live_from..=own.index).contains(&reported.index)
            && (!is_newest || reported.digest == own.digest)
    }

    /// A fault waits for the next batch, or none does.
    pub fn handle_armed(&mut self, fault: Option<LinkFault>) {
        self.armed = fault;
    }

    /// What the stage says while nothing is told: what is about to break, or what broke last.
    #[must_use]
    pub fn calm(&self) -> String {
        let next = match self.armed {
            Some(LinkFault::Lose) => "will be lost",
            Some(LinkFault::Repeat) => "will come twice",
            Some(LinkFault::Exchange) => "will swap places with the one after it",
            Some(LinkFault::Alter) => "will be altered",
            Some(LinkFault::Cut) => "will find the link cut",
            None => {
                return match self.incidents().next() {
                    Some(incident) => format!("Last: {}", incident.line()),
                    None => "Nothing has gone wrong yet. Break this page’s own stream and watch it heal.".to_owned(),
                };
            }
        };
        format!("The next batch of operations {next}.")
    }

    /// The event at `index` is this tab's own operation.
    pub(crate) fn handle_own(&mut self, index: Index) {
        if self.own.len() == OWN {
            self.own.pop_front();
        }
        self.own.push_back(index);
        self.history.handle_committed(index);
    }

    /// Shows the incidents in the event log, each where it happened.
    pub(crate) fn mark_incidents(&mut self) {
        let version = self.incidents_version();
        if self.marked != version {
            self.marked = version;
            // Each stands after the last event that was not affected.
            let before = |index: Index| Index(index.0.saturating_sub(1));
            let incidents: Vec<(Index, u64)> =
                self.incidents().map(|incident| (before(incident.index()), incident.id())).collect();
            self.history.set_incidents(incidents);
        }
    }

    /// Whether the event at `index` is this tab's own operation, also one from before a reload.
    #[must_use]
    pub fn is_own(&self, index: Index) -> bool {
        self.own.contains(&index) || self.history.is_own_at(index)
    }

    fn enter(&mut self, to: State, now: Now) {
        let has_stream = |state| matches!(state, State::CatchingUp | State::Live);
        match (has_stream(self.state), has_stream(to)) {
            (true, false) => self.numbers.unknown_since = Some(now.time),
            (_, true) => self.numbers.unknown_since = None,
            (false, false) => {}
        }
        self.state = to;
        if to == State::Connecting {
            let unanswered = self.unanswered_since(now);
            unanswered.attempts += 1;
            unanswered.failed = false;
        }
        self.link_error = None;
    }

    fn fail(&mut self, now: Now) {
        self.unanswered_since(now).failed = true;
    }

    fn unanswered_since(&mut self, now: Now) -> &mut Unanswered {
        self.unanswered.get_or_insert(Unanswered { since: now.at, attempts: 0, failed: false })
    }

    /// The leader answered a request of the event log.
    pub fn handle_page(&mut self, answer: Result<HistoryPage, ReadError>, now: Now) {
        match &answer {
            Ok(_) => self.permission.handle_read(),
            Err(ReadError::NotAllowed(why)) => self.handle_not_allowed_to_read(*why),
            Err(_) => {}
        }
        self.history.handle_page(answer, now.at);
        let history = &self.history;
        self.series.extend_back(|index| history.event(index));
    }

    // What to show.

    /// The numbers, all of one moment.
    #[must_use]
    pub fn numbers(&self) -> Numbers {
        self.numbers
    }

    /// The event log.
    #[must_use]
    pub fn history(&self) -> &History {
        &self.history
    }

    /// The event log, to scroll, filter and fill it.
    pub fn history_mut(&mut self) -> &mut History {
        &mut self.history
    }

    /// The journey through history.
    pub fn travel_mut(&mut self) -> &mut Travel {
        &mut self.travel
    }

    /// The values that were applied last.
    #[must_use]
    pub fn series(&self) -> &Series {
        &self.series
    }

    /// The digest chain of the newest events.
    #[must_use]
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// What happened recently, newest first.
    pub fn news(&self) -> impl Iterator<Item = &Item> {
        self.news.items()
    }

    /// Grows with everything new in [`news`](Self::news).
    #[must_use]
    pub fn news_version(&self) -> u64 {
        self.news.version()
    }

    /// How the tab became live after it was opened or reloaded.
    #[must_use]
    pub fn first_resync(&self) -> Option<&ResyncLine> {
        self.first_resync.as_ref()
    }

    /// How the tab became live after the connection was last lost.
    #[must_use]
    pub fn reconnect(&self) -> Option<&ResyncLine> {
        self.reconnect.as_ref()
    }

    /// The state that the replica holds: what to save for a reload.
    #[must_use]
    pub fn held(&self) -> Option<Snapshot> {
        self.numbers.held
    }
}
