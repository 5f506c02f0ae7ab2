//! Submits a person's operations, each exactly once, and asks until the outcome is known.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use engine::{Operation, ProducerId};
use follower::grpc::SubmitError;
use follower::producer::{FIRST_PAUSE, PATIENCE, Settled, Step};
use follower::{Calls, Outbox, Producer};
use futures_util::future::{AbortHandle, abortable};
use futures_util::lock::Mutex;
use gloo_timers::future::sleep;
use leptos::task::spawn_local;
use wire::Identity;

use super::browser;
use super::leader::Leader;
use super::painter::Painter;
use super::session_storage::SessionStorage;
use crate::model::Model;
use crate::model::last_operation::GivenUp;
use crate::saved::SavedOperation;

/// The longest pause between two attempts, so that tabs do not ask a leader every second that is away for hours.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The tab's producer. It submits one operation at a time, which is pending until its outcome is known, also after a
/// reload.
pub(super) struct Sender {
    model: Rc<RefCell<Model>>,
    painter: Rc<Painter>,
    storage: Rc<SessionStorage>,
    producer: Mutex<Producer<Calls>>,
    /// Who the tab says submits.
    author: RefCell<Option<Identity>>,
    /// The pending operation as it is in the storage.
    saved: RefCell<Option<SavedOperation>>,
    /// Whether the pending operation is from before the page was loaded. The tab may be a copy of another one, which has
    /// the same producer id. So this tab settles the operation and then takes a new id.
    inherited: Cell<bool>,
    /// An operation that was refused for the token after an attempt without an answer, which may still arrive. It can be sent
    /// again under its own id and number only.
    withheld: RefCell<Option<SavedOperation>>,
    asking: RefCell<Option<AbortHandle>>,
    /// Called when an attempt got no answer: other tabs may hold all connections.
    on_no_answer: Box<dyn Fn()>,
}

impl Sender {
    pub(super) fn new(
        model: Rc<RefCell<Model>>,
        painter: Rc<Painter>,
        storage: Rc<SessionStorage>,
        leader: &Leader,
        on_no_answer: impl Fn() + 'static,
    ) -> Self {
        Self {
            model,
            painter,
            storage,
            producer: Mutex::new(Producer::new(leader.calls(), new_id)),
            author: RefCell::default(),
            saved: RefCell::default(),
            inherited: Cell::new(false),
            withheld: RefCell::default(),
            asking: RefCell::default(),
            on_no_answer: Box::new(on_no_answer),
        }
    }

    /// Says who submits from now on.
    pub(super) fn set_author(&self, author: Identity) {
        self.author.replace(Some(author));
    }

    /// Goes on with the operation that was pending before a reload.
    pub(super) fn resume(self: &Rc<Self>) {
        match self.storage.operation() {
            Ok(Some(saved)) => self.go_on_with(saved),
            Ok(None) => {}
            Err(_) => {
                self.model.borrow_mut().handle_damaged_operation();
                self.storage.write_operation(None);
            }
        }
    }

    fn go_on_with(self: &Rc<Self>, saved: SavedOperation) {
        let since = browser::time_of_day(saved.since);
        self.model.borrow_mut().handle_still_pending(saved.operation, since, browser::now());
        self.saved.replace(Some(saved));
        self.inherited.set(true);
        self.ask(Begin::Inherited);
    }

    /// Sends the operation again that was refused for the token.
    pub(super) fn send_again(self: &Rc<Self>) {
        let withheld = self.model.borrow().withheld();
        match (self.withheld.take(), withheld) {
            (Some(saved), Some(_)) => self.go_on_with(saved),
            (None, Some(operation)) => self.submit(operation),
            (_, None) => {}
        }
    }

    /// Submits an operation, unless another one is pending.
    pub(super) fn submit(self: &Rc<Self>, operation: Operation) {
        let now = browser::now();
        let mut model = self.model.borrow_mut();
        if model.operation_status(now).is_some_and(|status| status.is_open()) {
            return;
        }
        model.handle_submitted(operation, now);
        drop(model);
        self.withheld.take();
        self.ask(Begin::New(operation));
    }

    /// Makes the next attempt at once instead of after a pause.
    pub(super) fn try_now(self: &Rc<Self>) {
        self.ask(Begin::Nothing);
    }

    /// Gives the pending operation up.
    pub(super) fn stop_waiting(self: &Rc<Self>) {
        self.stop();
        let sender = Rc::clone(self);
        spawn_local(async move {
            let mut producer = sender.producer.lock().await;
            if producer.outbox().pending().is_some() {
                let may_arrive = producer.give_up();
                let next_settles = !sender.inherited.get();
                sender.model.borrow_mut().handle_given_up(GivenUp::ByPerson { may_arrive, next_settles });
                sender.end(&mut producer);
            }
        });
    }

    /// Makes no more attempts. The pending operation stays in the storage.
    pub(super) fn stop(&self) {
        if let Some(asking) = self.asking.take() {
            asking.abort();
        }
    }

    fn ask(self: &Rc<Self>, begin: Begin) {
        self.stop();
        let sender = Rc::clone(self);
        let (asking, handle) = abortable(async move { sender.ask_until_settled(begin).await });
        self.asking.replace(Some(handle));
        spawn_local(async move {
            // Whether it ended or was aborted makes no difference.
            let _ = asking.await;
        });
        self.painter.request();
    }

    async fn ask_until_settled(&self, begin: Begin) {
        let mut producer = self.producer.lock().await;
        begin.apply(&mut producer, self.saved.borrow().as_ref());
        let began = browser::now().at;
        let mut pause = FIRST_PAUSE;
        loop {
            self.save(&producer);
            let in_doubt = producer.outbox().pending().is_some_and(|pending| pending.in_doubt);
            if in_doubt && self.is_in_another_log() {
                producer.give_up();
                producer.take_new_id();
                self.model.borrow_mut().handle_given_up(GivenUp::NewLog);
                return self.end(&mut producer);
            }
            self.model.borrow_mut().handle_attempt();
            producer.set_author(self.author.borrow().clone());
            match producer.attempt().await {
                None => return,
                Some(Step::Settled(settled)) => {
                    if let Settled::RefusedForNow(SubmitError::NotAllowed(_)) = settled {
                        self.withheld.replace(self.saved.take());
                    }
                    self.model.borrow_mut().handle_settled(settled, browser::now());
                    return self.end(&mut producer);
                }
                Some(Step::Again { because, abandoned_at }) => {
                    let now = browser::now();
                    if let Some(index) = abandoned_at {
                        self.model.borrow_mut().handle_abandoned_found(index, now);
                    }
                    if matches!(because, SubmitError::NoAnswer | SubmitError::Failed(_)) {
                        self.model.borrow_mut().handle_doubt(now);
                        (self.on_no_answer)();
                    }
                    let in_doubt = producer.outbox().pending().is_some_and(|pending| pending.in_doubt);
                    if !in_doubt && now.at.since(began) >= PATIENCE {
                        producer.give_up();
                        self.model.borrow_mut().handle_given_up(GivenUp::NotTaken(because));
                        return self.end(&mut producer);
                    }
                }
            }
            self.painter.request();
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Writes the pending operation to the storage, so that it survives a reload during the attempt that follows.
    fn save(&self, producer: &Producer<Calls>) {
        let outbox = producer.outbox();
        let Some(pending) = outbox.pending() else { return };
        let before = self.saved.borrow().clone();
        let saved = SavedOperation {
            producer: outbox.id().clone(),
            sequence: outbox.sequence(),
            operation: pending.operation,
            expected: pending.expected,
            since: before.as_ref().map_or_else(browser::since_1970, |before| before.since),
            log: before.as_ref().map_or_else(|| self.log(), |before| before.log),
        };
        self.storage.write_operation(Some(&saved));
        self.saved.replace(Some(saved));
    }

    fn log(&self) -> Option<engine::LogId> {
        self.model.borrow().held().map(|held| held.log())
    }

    /// Whether the leader has another log than when the pending operation was submitted.
    fn is_in_another_log(&self) -> bool {
        let submitted_to = self.saved.borrow().as_ref().and_then(|saved| saved.log);
        matches!((submitted_to, self.log()), (Some(before), Some(now)) if before != now)
    }

    fn end(&self, producer: &mut Producer<Calls>) {
        self.storage.write_operation(None);
        self.saved.replace(None);
        if self.inherited.take() {
            producer.take_new_id();
        }
        self.painter.request();
    }
}

/// How an operation comes to be pending.
enum Begin {
    New(Operation),
    Inherited,
    /// It is pending already.
    Nothing,
}

impl Begin {
    fn apply(self, producer: &mut Producer<Calls>, saved: Option<&SavedOperation>) {
        match (self, saved) {
            (Self::New(operation), _) => {
                producer.begin(operation, None);
            }
            (Self::Inherited, Some(saved)) => {
                let SavedOperation { producer: id, sequence, operation, expected, .. } = saved.clone();
                producer.resume(Outbox::restore(id, sequence, operation, expected));
            }
            (Self::Inherited | Self::Nothing, _) => {}
        }
    }
}

fn new_id() -> ProducerId {
    ProducerId::from_random(u128::from(browser::random()) << 64 | u128::from(browser::random()))
}
