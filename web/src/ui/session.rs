//! The tab as a replica: when it follows the leader, and what it saves.

mod token;

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::time::Duration;

use engine::replica::Notice;
use engine::{LinkFault, Moment, Replica, Resume, Standing};
use follower::{FaultyLink, Freezer, LinkError, NotAllowed, Observer, SharedInjector};
use futures_util::future::{AbortHandle, abortable};
use leptos::prelude::*;
use leptos::task::spawn_local;
use wire::{Identity, ReplicaKind, Roster};
use xxhash_rust::xxh3::xxh3_64;

use super::browser;
use super::channel::{Channel, Message};
use super::leader::Leader;
use super::painter::Painter;
use super::sender::Sender;
use super::session_storage::SessionStorage;
use super::watch::Watch;
use crate::model::Model;
use crate::model::tour::Stop;
use crate::saved::{NameProblem, TabIdentity};
use crate::tabs::{Connections, Tabs};
use crate::{format, generator};

/// How long a new tab waits for the answers of the others before it decides whether to stream.
const ANSWERS_WITHIN: Duration = Duration::from_millis(60);

/// How often the state is saved, and what changes with time is shown.
const TICK: Duration = Duration::from_millis(500);

/// How often a waiting tab asks which others are open. It streams when it found a free place twice in a row, because a tab
/// that is being reloaded is back by then.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// How long a tab for which another one watches waits for a roster before it asks whether that one is still there.
const MISSED: Duration = Duration::from_secs(4);

/// How long the link stays cut, or the tab frozen, when a person asks for it.
const BROKEN_FOR: Duration = Duration::from_secs(5);

/// What a person can break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Something happens to the next batch.
    Batch(LinkFault),
    /// The link is down for [`BROKEN_FOR`].
    Cut,
    /// The tab reads nothing for [`BROKEN_FOR`].
    Freeze,
    /// The tab drops what it holds.
    Forget,
}

/// The session, for the components and their handlers.
pub(super) type Handle = StoredValue<Rc<Session>, LocalStorage>;

/// The tab as a replica, for as long as the page is mounted.
pub(super) struct Session {
    model: Rc<RefCell<Model>>,
    painter: Rc<Painter>,
    tabs: RefCell<Tabs>,
    channel: Channel,
    storage: Rc<SessionStorage>,
    leader: Leader,
    sender: Rc<Sender>,
    following: RefCell<Option<AbortHandle>>,
    watch: Watch,
    /// When a roster last came, from the leader or from another tab.
    heard: Cell<Moment>,
    injector: SharedInjector,
    freezer: Freezer,
    /// Whether the other tabs had time to answer.
    knows_tabs: Cell<bool>,
    /// Whether a place was free when the other tabs were last asked.
    place_free: Cell<bool>,
}

impl Session {
    /// Begins a session that lasts until the present component is unmounted.
    pub(super) fn begin() -> Handle {
        let storage = Rc::new(SessionStorage::open());
        let state = storage.state();
        let damaged = state.is_err();
        let tab = storage.identity().unwrap_or_else(new_tab);
        storage.write_identity(&tab);
        let mut model = Model::new(tab.id.clone(), tab.name(), state.unwrap_or_default());
        if damaged {
            model.handle_damaged_state(browser::now());
        }
        let tour = storage.tour().or_else(|| (!storage.is_invited()).then_some(Stop::Invitation));
        model.tour_to(tour, browser::now());
        storage.write_tour(None);
        let leader = Leader::default();
        if storage.token().is_some_and(|token| leader.show(&token).is_ok()) {
            model.handle_token(true);
        }
        let connections = Connections::over(&browser::protocol());
        model.handle_connections(connections);
        let model = Rc::new(RefCell::new(model));

        let injector = SharedInjector::default();
        let painter = Rc::new(Painter::new(Rc::clone(&model), &leader, injector.clone()));
        let session = Rc::new_cyclic(|session: &Weak<Self>| {
            let ask = {
                let session = session.clone();
                move || session.upgrade().iter().for_each(Self::ask)
            };
            let sender = Sender::new(Rc::clone(&model), Rc::clone(&painter), Rc::clone(&storage), &leader, ask);
            let session = session.clone();
            let channel = Channel::open(move |message| {
                if let Some(session) = session.upgrade() {
                    match message {
                        Message::Text(text) => session.handle_message(&text),
                        Message::Bytes(bytes) => session.handle_handed(&bytes),
                    }
                }
            });
            let address = xxh3_64(browser::base().as_bytes());
            let mut tabs = Tabs::new(format!("{:016x}", browser::random()), tab, address, connections);
            tabs.show(browser::is_visible());
            Self {
                painter,
                model,
                tabs: RefCell::new(tabs),
                channel,
                storage,
                leader,
                sender: Rc::new(sender),
                following: RefCell::default(),
                watch: Watch::default(),
                heard: Cell::default(),
                injector,
                freezer: Freezer::default(),
                knows_tabs: Cell::new(false),
                place_free: Cell::new(false),
            }
        });
        session.ask();
        session.sender.set_author(session.identity());
        session.sender.resume();
        session.painter.request();
        let handle = StoredValue::new_local(Rc::clone(&session));
        session.keep_watch(handle);
        handle
    }

    pub(super) fn painter(&self) -> &Rc<Painter> {
        &self.painter
    }

    /// What the model says.
    pub(super) fn with_model<T>(&self, ask: impl FnOnce(&Model) -> T) -> T {
        ask(&self.model.borrow())
    }

    /// Changes the event log or the journey, and shows it.
    pub(super) fn change(&self, change: impl FnOnce(&mut Model)) {
        change(&mut self.model.borrow_mut());
        self.painter.request();
    }

    /// What submits operations.
    pub(super) fn sender(&self) -> &Rc<Sender> {
        &self.sender
    }

    /// Starts the timers and listeners of the session, and ends everything with the component.
    fn keep_watch(self: &Rc<Self>, handle: Handle) {
        let with_session = move |act: fn(&Rc<Self>)| {
            move || {
                handle.try_with_value(act);
            }
        };
        let answered = set_timeout_with_handle(with_session(Self::open), ANSWERS_WITHIN);
        let tick = set_interval_with_handle(with_session(Self::tick), TICK);
        let ask_again = set_interval_with_handle(with_session(Self::ask_again), ASK_AGAIN);
        let listen = |event: &str, act: fn(&Rc<Self>)| {
            let act = with_session(act);
            window_event_listener_untyped(event, move |_| act())
        };
        // A tab that is hidden may be discarded without another word.
        let listeners = [
            listen("visibilitychange", Self::change_visibility),
            listen("pagehide", Self::leave),
            listen("pageshow", Self::ask),
        ];
        on_cleanup(move || {
            answered.into_iter().for_each(|timer| timer.clear());
            tick.into_iter().chain(ask_again).for_each(|timer| timer.clear());
            listeners.into_iter().for_each(WindowListenerHandle::remove);
            handle.try_with_value(|session| {
                session.leave();
                session.stop();
                session.watch.stop();
                session.sender.stop();
                session.painter.stop();
            });
        });
    }

    // The other tabs.

    fn ask(self: &Rc<Self>) {
        let question = self.tabs.borrow_mut().ask();
        self.channel.send(&question);
    }

    fn handle_message(self: &Rc<Self>, text: &str) {
        let answer = self.tabs.borrow_mut().handle(text);
        if let Some(answer) = answer {
            self.channel.send(&answer);
        }
        // A tab that turns out to be one too many gives its connection up at once.
        if self.knows_tabs.get() {
            self.take_or_leave_place(false);
            self.watch_or_not();
        }
    }

    /// The other tabs had time to answer.
    fn open(self: &Rc<Self>) {
        if self.tabs.borrow().is_duplicate() {
            let tab = new_tab();
            self.storage.write_identity(&tab);
            self.model.borrow_mut().handle_duplicate(tab.id.clone(), tab.name());
            self.tabs.borrow_mut().rename(tab);
            self.sender.set_author(self.identity());
            self.ask();
        }
        self.knows_tabs.set(true);
        self.take_or_leave_place(true);
        self.watch_or_not();
    }

    fn ask_again(self: &Rc<Self>) {
        if !self.knows_tabs.get() || self.is_following() {
            return;
        }
        let free = self.tabs.borrow().may_stream();
        let was_free = self.place_free.replace(free);
        self.take_or_leave_place(free && was_free);
        self.ask();
    }

    /// Stops following if the place belongs to another tab; follows if there is a place and it `may_take` it.
    fn take_or_leave_place(self: &Rc<Self>, may_take: bool) {
        let (open, may_stream) = {
            let tabs = self.tabs.borrow();
            (tabs.open(), tabs.may_stream())
        };
        let streams = may_stream && (may_take || self.is_following());
        self.model.borrow_mut().handle_tabs(open, streams, browser::now());
        match (streams, self.is_following()) {
            (true, false) => self.follow(),
            (false, true) => self.stop(),
            (true, true) | (false, false) => {}
        }
        self.painter.request();
    }

    // Following the leader.

    fn is_following(&self) -> bool {
        self.following.borrow().is_some()
    }

    fn follow(self: &Rc<Self>) {
        let link = FaultyLink::new(self.leader.link(self.identity()), self.injector.clone());
        let freezer = self.freezer.clone();
        let seed = browser::random();
        let held = self.model.borrow().held();
        let replica = held.map_or_else(|| Replica::new(seed), |held| Replica::restore(seed, held));
        let mut watcher = Watcher { model: Rc::clone(&self.model), painter: Rc::clone(&self.painter) };
        let (life, handle) = abortable(async move { freezer.run(follower::follow(replica, link, &mut watcher)).await });
        spawn_local(async move {
            // It ends only when it is aborted.
            let _ = life.await;
        });
        self.following.replace(Some(handle));
    }

    fn stop(&self) {
        if let Some(following) = self.following.take() {
            following.abort();
        }
    }

    fn identity(&self) -> Identity {
        let tabs = self.tabs.borrow();
        Identity { id: tabs.me().id.clone(), name: tabs.me().name(), kind: ReplicaKind::Browser }
    }

    // Watching the replicas.

    /// Watches if this tab is the one that is to, and otherwise does not.
    fn watch_or_not(self: &Rc<Self>) {
        let watches = self.tabs.borrow().watches();
        match (watches, self.watch.is_on()) {
            (true, false) => {
                let session = Rc::downgrade(self);
                let (model, painter) = (Rc::clone(&self.model), Rc::clone(&self.painter));
                let end = move |refusal: Option<NotAllowed>| {
                    let mut model = model.borrow_mut();
                    model.handle_no_roster();
                    refusal.into_iter().for_each(|why| model.handle_not_allowed_to_read(why));
                    painter.request();
                };
                let handle = move |roster: Roster, encoded: &[u8]| {
                    if let Some(session) = session.upgrade() {
                        let handed = session.tabs.borrow().hand_on(encoded);
                        handed.iter().for_each(|bytes| session.channel.send_bytes(bytes));
                        session.handle_roster(roster);
                    }
                };
                self.watch.start(self.leader.calls(), self.identity(), handle, end);
            }
            (false, true) => self.watch.stop(),
            (true, true) | (false, false) => {}
        }
    }

    fn handle_handed(&self, bytes: &[u8]) {
        let roster = self.tabs.borrow().handed(bytes).map(follower::read_roster);
        if let Some(Ok(roster)) = roster {
            self.handle_roster(roster);
        }
    }

    fn handle_roster(&self, roster: Roster) {
        let now = browser::now();
        self.heard.set(now.at);
        self.model.borrow_mut().handle_roster(roster, now);
        self.painter.request();
    }

    /// Asks which tabs are open if the one that watches for this one says nothing: it may be gone.
    fn miss_rosters(self: &Rc<Self>) {
        let told = self.tabs.borrow().is_told();
        if told && browser::now().at.since(self.heard.get()) >= MISSED {
            self.ask();
        }
        if self.knows_tabs.get() {
            self.watch_or_not();
        }
    }

    // The name.

    /// Gives the tab another name. It follows again under it, from where it is.
    ///
    /// # Errors
    ///
    /// [`NameProblem`] if the text cannot be a name.
    pub(super) fn rename(self: &Rc<Self>, name: &str) -> Result<(), NameProblem> {
        let tab = self.tabs.borrow().me().named(name)?;
        self.storage.write_identity(&tab);
        self.model.borrow_mut().handle_renamed(tab.name());
        self.tabs.borrow_mut().rename(tab);
        self.sender.set_author(self.identity());
        self.follow_again();
        self.ask();
        self.painter.request();
        Ok(())
    }

    fn follow_again(self: &Rc<Self>) {
        if self.is_following() {
            self.stop();
            self.follow();
        }
    }

    // Breaking on purpose.

    /// Breaks the tab's own replication.
    pub(super) fn break_it(self: &Rc<Self>, fault: Fault) {
        match fault {
            Fault::Batch(fault) => {
                self.injector.lock().inject(fault);
                self.model.borrow_mut().handle_armed(Some(fault));
            }
            Fault::Cut if self.injector.lock().is_down() => {}
            Fault::Cut => {
                self.injector.lock().take_down();
                let (injector, painter) = (self.injector.clone(), Rc::clone(&self.painter));
                let mend = move || {
                    injector.lock().bring_up();
                    painter.request();
                };
                set_timeout(mend, BROKEN_FOR);
            }
            Fault::Freeze if self.freezer.is_frozen() => {}
            Fault::Freeze => {
                self.freezer.freeze();
                self.model.borrow_mut().handle_frozen(browser::now());
                let session = Rc::downgrade(self);
                set_timeout(move || session.upgrade().iter().for_each(Self::thaw), BROKEN_FOR);
            }
            Fault::Forget => {
                self.stop();
                self.model.borrow_mut().handle_forgotten(browser::now());
                self.save();
                if self.tabs.borrow().may_stream() {
                    self.follow();
                }
            }
        }
        self.painter.request();
    }

    fn thaw(self: &Rc<Self>) {
        self.model.borrow_mut().handle_thawed(browser::now());
        self.freezer.thaw();
        self.painter.request();
    }

    /// Tells an incident again: the newest, or the one with this id.
    pub(super) fn replay_incident(&self, id: Option<u64>) {
        self.change(|model| {
            let newest = model.incidents().next().map(|incident| incident.id());
            if let Some(id) = id.or(newest) {
                model.replay(id, browser::now());
            }
        });
    }

    /// Tells no more of the incident that is told now.
    pub(super) fn skip_telling(&self) {
        self.model.borrow_mut().skip_telling(browser::now());
        self.painter.request();
    }

    // The leader's generator.

    /// Pauses the generator, or lets it go on.
    pub(super) fn pause_generator(&self) {
        if let Some(generator) = self.model.borrow().generator() {
            self.control_generator(Some(!generator.paused), None);
        }
    }

    /// Lets the generator draw more or fewer operations in a second.
    pub(super) fn pace_generator(&self, faster: bool) {
        let generator = self.model.borrow().generator();
        if let Some(rate) = generator.and_then(|generator| generator::next_rate(&generator, faster)) {
            self.control_generator(None, Some(rate));
        }
    }

    fn control_generator(&self, paused: Option<bool>, rate: Option<f64>) {
        let calls = self.leader.calls();
        let (model, painter) = (Rc::clone(&self.model), Rc::clone(&self.painter));
        spawn_local(async move {
            let answer = calls.control_generator(paused, rate).await;
            model.borrow_mut().handle_generator(answer, browser::now());
            painter.request();
        });
    }

    // The tour.

    /// Goes to a step of the tour, or ends it.
    pub(super) fn tour_to(&self, stop: Option<Stop>) {
        self.model.borrow_mut().tour_to(stop, browser::now());
        self.save_tour();
    }

    /// Goes on with the tour.
    pub(super) fn tour_on(&self) {
        self.model.borrow_mut().tour_on(browser::now());
        self.save_tour();
    }

    /// Saves whether the tour goes on after a reload, and that there is no need to invite to it again.
    fn save_tour(&self) {
        let stop = self.model.borrow().tour_stop();
        self.storage.write_tour(stop.filter(|stop| *stop == Stop::Reload).map(|_| Stop::End));
        self.storage.write_invited();
        self.painter.request();
    }

    // Time passes.

    fn tick(self: &Rc<Self>) {
        self.save();
        let (title, tone) = self.model.borrow().title(browser::now());
        browser::label_tab(&title, tone);
        self.tell_permission();
        self.miss_rosters();
        // What is said about trouble depends on how long it lasts.
        self.painter.request();
    }

    fn save(&self) {
        let model = self.model.borrow();
        self.storage.write_state(model.held());
        if model.tour_stop() == Some(Stop::Reload) {
            self.storage.write_tour(Some(Stop::End));
        }
    }

    fn change_visibility(self: &Rc<Self>) {
        self.save();
        self.tabs.borrow_mut().show(browser::is_visible());
        // The timers of a hidden tab are slow: it may have missed that a place is free.
        self.ask_again();
        // The others learn from the question whether this tab is visible.
        self.ask();
        self.watch_or_not();
    }

    fn leave(self: &Rc<Self>) {
        self.save();
        self.channel.send(&self.tabs.borrow().goodbye());
    }
}

fn new_tab() -> TabIdentity {
    TabIdentity::new(browser::random(), browser::since_1970())
}

/// Passes what happens on to the model, which it borrows only for each call.
struct Watcher {
    model: Rc<RefCell<Model>>,
    painter: Rc<Painter>,
}

impl Observer for Watcher {
    fn notice(&mut self, notice: Notice, replica: &Replica) {
        // What was done is known before it is noticed.
        self.painter.hear_injector();
        self.model.borrow_mut().handle_notice(&notice, replica, browser::now());
        self.painter.request();
    }

    fn link_failed(&mut self, error: &LinkError) {
        let mut model = self.model.borrow_mut();
        error.not_allowed().into_iter().for_each(|why| model.handle_not_allowed_to_read(why));
        model.handle_link_failure(format::broken_link(&error.to_string()));
    }

    fn standing(&mut self, standing: Standing, at: Resume) {
        self.model.borrow_mut().handle_standing(standing, at, browser::now());
        self.painter.request();
    }
}
