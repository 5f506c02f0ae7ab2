//! Clients: the shipped producer, over calls that arrive late or lose their request or answer.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use engine::{Author, Event, Identity, Index, Operation, ProducerError, ProducerId, Submission};
use follower::CallError;
use follower::grpc::{SUBMIT_TIMEOUT, SubmitError};
use follower::{Producer, Submit};
use rand::RngExt;
use rand::rngs::StdRng;
use sequencer::Submitter;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use tonic::Status;

use crate::disk::Disk;
use crate::env::Env;
use crate::history::{Answer, Outcome};
use crate::leaders::{Leaders, Life};
use crate::network::{Network, latency};

/// Clients' arguments are unique and start here, above those of random operations.
const FIRST_ARGUMENT: i64 = 1_000;

/// Attempts to commit an operation after healing. One succeeds unless the value is at its limit.
const TRIES: i64 = 3;

/// How many arguments each client has for itself.
const ARGUMENTS: i64 = 1_000_000;

/// Who claims to have submitted an operation. A client says who it is in every other operation.
pub(crate) enum Claim {
    /// The leader drew it.
    Generator,
    Unnamed,
    Named(Identity),
}

impl Claim {
    /// The claim that belongs to an operation, which its argument shows.
    pub(crate) fn of(operation: Operation) -> Self {
        let argument = operation.argument().unwrap_or(0);
        if argument < FIRST_ARGUMENT - TRIES {
            return Self::Generator;
        }
        if argument % 2 == 0 {
            return Self::Unnamed;
        }
        let number = (argument - FIRST_ARGUMENT).div_euclid(ARGUMENTS);
        Self::Named(Identity { id: number.to_string(), name: format!("client {number}"), ..Identity::default() })
    }

    fn identity(self) -> Option<Identity> {
        match self {
            Self::Named(identity) => Some(identity),
            Self::Generator | Self::Unnamed => None,
        }
    }

    pub(crate) fn is(&self, author: Author<'_>) -> bool {
        match self {
            Self::Generator => author == Author::Generator,
            Self::Unnamed => author == Author::Unnamed,
            Self::Named(identity) => author == Author::Named(identity),
        }
    }
}

pub(crate) struct Clients {
    env: Rc<Env>,
    disk: Disk,
    leaders: Rc<Leaders>,
    network: Rc<Network>,
    /// Clients that still submit or wait for an answer.
    busy: Cell<usize>,
}

impl Clients {
    pub(crate) fn new(env: &Rc<Env>, disk: &Disk, leaders: &Rc<Leaders>, network: &Rc<Network>) -> Rc<Self> {
        Rc::new(Self {
            env: Rc::clone(env),
            disk: disk.clone(),
            leaders: Rc::clone(leaders),
            network: Rc::clone(network),
            busy: Cell::new(0),
        })
    }

    pub(crate) fn busy(&self) -> usize {
        self.busy.get()
    }

    /// Starts client `number`, which submits until the world is calm.
    pub(crate) fn start(self: &Rc<Self>, number: i64) {
        self.busy.set(self.busy.get() + 1);
        let clients = Rc::clone(self);
        self.env.spawn(async move {
            let mut client = Client::new(&clients, FIRST_ARGUMENT + number * ARGUMENTS);
            while !clients.env.is_calm() {
                let pause = client.random.random_range(0..=250);
                sleep(Duration::from_millis(pause)).await;
                client.submit_one().await;
            }
            clients.busy.set(clients.busy.get() - 1);
        });
    }

    /// Submits operations until one is committed, so that replicas have something to follow. Returns whether one was.
    pub(crate) async fn submit_last(self: &Rc<Self>) -> bool {
        let mut client = Client::new(self, 0);
        for number in 1..=TRIES {
            if client.submit(Operation::Subtract(FIRST_ARGUMENT - number), None, true).await {
                return true;
            }
        }
        false
    }

    /// Submits to one leader and records an acknowledgment.
    async fn submit_to(
        &self,
        life: Life,
        submitter: &Submitter,
        submission: Submission,
    ) -> Result<Event, sequencer::NotCommitted> {
        let term = self.leaders.term(life);
        let answer = submitter.submit(submission).await;
        if let (Some(term), Ok(event)) = (term, &answer) {
            self.env.history.borrow_mut().acknowledged.push((term, event.index));
        }
        answer
    }
}

struct Client {
    clients: Rc<Clients>,
    random: StdRng,
    producer: Producer<Calls>,
    calls: Calls,
    next: i64,
}

impl Client {
    fn new(clients: &Rc<Clients>, first: i64) -> Self {
        let calls = || Calls { clients: Rc::clone(clients), random: RefCell::new(clients.env.random()) };
        let mut names = clients.env.random();
        let producer = Producer::new(calls(), move || ProducerId::from_random(names.random()));
        let patience = Duration::from_secs(20);
        Self {
            clients: Rc::clone(clients),
            random: clients.env.random(),
            producer: producer.with_patience(patience),
            calls: calls(),
            next: first,
        }
    }

    async fn submit_one(&mut self) {
        let operation =
            if self.random.random_bool(0.5) { Operation::Add(self.next) } else { Operation::Subtract(self.next) };
        self.next += 1;
        let expected = if self.random.random_bool(0.25) { self.look() } else { None };
        let exactly_once = self.random.random_bool(0.8);
        self.submit(operation, expected, exactly_once).await;
    }

    /// The newest event that the newest leader has published.
    fn look(&self) -> Option<Index> {
        let life = self.clients.leaders.newest()?;
        Some(self.clients.leaders.feed(life)?.published().tail.position().index)
    }

    /// Returns whether the operation is in the log for sure.
    async fn submit(&mut self, operation: Operation, expected: Option<Index>, exactly_once: bool) -> bool {
        let asked_at = self.clients.env.now();
        let author = Claim::of(operation).identity();
        let answer = if exactly_once {
            self.producer.set_author(author);
            self.producer.submit(operation, expected).await
        } else {
            self.calls.submit(Submission { expected, author, ..operation.into() }).await
        };
        let outcome = match answer {
            Ok(event) => Outcome::Done(event),
            Err(SubmitError::NoAnswer | SubmitError::Failed(_)) => Outcome::Unknown,
            Err(_) => Outcome::NotDone,
        };
        self.clients.env.trace(&format!("{operation} expecting {expected:?}: {answer:?}"));
        let answered_at = self.clients.env.now();
        self.clients.env.history.borrow_mut().answers.push(Answer {
            operation,
            expected,
            outcome,
            asked_at,
            answered_at,
        });
        matches!(outcome, Outcome::Done(_))
    }
}

struct Calls {
    clients: Rc<Clients>,
    random: RefCell<StdRng>,
}

/// What the network does to a call.
enum Fate {
    Arrives,
    RequestLost,
    AnswerLost,
    /// The request arrives after the caller gave up.
    Late,
}

impl Calls {
    fn fate(&self) -> Fate {
        if self.clients.env.is_calm() {
            return Fate::Arrives;
        }
        match self.random.borrow_mut().random_range(0..100) {
            0..=2 => Fate::RequestLost,
            3..=8 => Fate::AnswerLost,
            9..=13 => Fate::Late,
            _ => Fate::Arrives,
        }
    }

    fn route(&self) -> Option<Life> {
        let lives = self.clients.leaders.lives();
        if lives.len() > 1 && self.random.borrow_mut().random_bool(0.3) {
            let at = self.random.borrow_mut().random_range(0..lives.len());
            return lives.get(at).copied();
        }
        lives.last().copied()
    }

    async fn travel(&self) {
        let latency = latency(&mut self.random.borrow_mut());
        sleep(latency).await;
    }

    /// Fails a call without an answer: by a timeout or a broken connection.
    async fn unanswered(&self) -> SubmitError {
        if self.random.borrow_mut().random_bool(0.5) {
            sleep(SUBMIT_TIMEOUT).await;
            return SubmitError::NoAnswer;
        }
        self.travel().await;
        SubmitError::Failed("the connection broke".to_owned())
    }

    async fn call(&self, submission: Submission) -> Result<Event, SubmitError> {
        self.travel().await;
        if self.clients.network.are_clients_partitioned(self.clients.env.now()) {
            return Err(self.unanswered().await);
        }
        let fate = self.fate();
        match fate {
            Fate::RequestLost => return Err(self.unanswered().await),
            Fate::Late => {
                let delay = Duration::from_millis(self.random.borrow_mut().random_range(100..=12_000));
                let clients = Rc::clone(&self.clients);
                self.clients.env.spawn(async move {
                    sleep(delay).await;
                    let life = clients.leaders.newest();
                    let submitter = life.and_then(|life| clients.leaders.submitter(life));
                    if let (Some(life), Some(submitter)) = (life, submitter) {
                        let answer = clients.submit_to(life, &submitter, submission.clone()).await;
                        clients.env.trace(&format!("late: {}: {answer:?}", submission.operation));
                    }
                });
                return Err(self.unanswered().await);
            }
            Fate::Arrives | Fate::AnswerLost => {}
        }
        let life = self.route();
        let submitter = life.and_then(|life| self.clients.leaders.submitter(life));
        let (Some(life), Some(submitter)) = (life, submitter) else {
            return Err(SubmitError::Failed("connection refused".to_owned()));
        };
        let (done, answer) = oneshot::channel();
        let clients = Rc::clone(&self.clients);
        self.clients.env.spawn(async move {
            // An error means that the caller gave up.
            let _ = done.send(clients.submit_to(life, &submitter, submission).await);
        });
        let Ok(Ok(answer)) = timeout(SUBMIT_TIMEOUT, answer).await else { return Err(SubmitError::NoAnswer) };
        if self.clients.leaders.is_dead(life) {
            // A killed leader drops its callers, which looks like an answer here.
            return Err(SubmitError::Failed("the connection broke".to_owned()));
        }
        if matches!(fate, Fate::AnswerLost) {
            return Err(self.unanswered().await);
        }
        if let (Err(sequencer::NotCommitted::Producer(ProducerError::Unknown { producer, got })), true) =
            (&answer, self.clients.leaders.term(life) == Some(self.clients.disk.look().term))
        {
            // Only the newest leader counts: a replaced one refuses by what it knew.
            self.clients.env.history.borrow_mut().forgotten.push((producer.clone(), *got));
        }
        self.travel().await;
        answer.map_err(|error| SubmitError::from(CallError::from(Status::from(error))))
    }
}

impl Submit for Calls {
    async fn submit(&self, submission: Submission) -> Result<Event, SubmitError> {
        self.call(submission).await
    }
}
