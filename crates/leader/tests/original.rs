//! The original demo's service, called as its unmodified replicas call it.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use common::{PATIENCE, TestLeader, config, durable};
use engine::Operation;
use leader::config::Generator;
use tempfile::TempDir;
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt;
use wire::pb::calculator_service_client::CalculatorServiceClient;
use wire::sharedcalculator::leader_client::LeaderClient;
use wire::sharedcalculator::{Event, GetMostRecentValueRequest, GetUpdatesRequest};

/// Behaves like the original demo's replica.
struct Original {
    client: LeaderClient<Channel>,
    value: i64,
    next: u64,
    /// How often it asked for the value and then subscribed.
    starts: usize,
}

impl Original {
    fn new(channel: Channel) -> Self {
        Self { client: LeaderClient::new(channel), value: 0, next: 0, starts: 0 }
    }

    async fn start_over(&mut self) -> Result<Streaming<Event>, Status> {
        let now = self.client.get_most_recent_value(GetMostRecentValueRequest {}).await.unwrap().into_inner();
        (self.value, self.next) = (now.current_value, now.latest_index);
        self.starts += 1;
        self.subscribe().await
    }

    async fn subscribe(&mut self) -> Result<Streaming<Event>, Status> {
        let request = GetUpdatesRequest { from_index: self.next };
        Ok(self.client.stream_updates(request).await?.into_inner())
    }

    /// Applies events up to an event out of order, and then waits until the stream ends. Returns how it ended, or `None` once
    /// `until` is reached.
    async fn read(&mut self, events: &mut Streaming<Event>, until: u64) -> Option<Result<(), Status>> {
        loop {
            if self.next >= until {
                return None;
            }
            match timeout(PATIENCE, events.message()).await.expect("neither an event nor the end") {
                Ok(Some(event)) if event.eventindex == self.next => self.apply(&event),
                Ok(Some(_)) => break,
                Ok(None) => return Some(Ok(())),
                Err(status) => return Some(Err(status)),
            }
        }
        // The original's `Finish` waits for the end and ignores further events.
        loop {
            match timeout(PATIENCE, events.message()).await.expect("the stream did not end, so the original would hang")
            {
                Ok(Some(_)) => {}
                Ok(None) => return Some(Ok(())),
                Err(status) => return Some(Err(status)),
            }
        }
    }

    fn apply(&mut self, event: &Event) {
        self.value = match event.operation.as_str() {
            "ADD" => self.value + event.argument,
            "SUBTRACT" => self.value - event.argument,
            "MULTIPLY" => self.value * event.argument,
            "DIVIDE" => self.value / event.argument,
            "SQUARE_ROOT" => self.value.isqrt(),
            "POWER_OF_TWO" => self.value * self.value,
            other => panic!("the original knows no operation {other}"),
        };
        self.next += 1;
    }

    async fn follow_to(&mut self, until: u64) {
        while self.next < until {
            let mut events = self.start_over().await.unwrap();
            self.read(&mut events, until).await;
        }
    }
}

fn reason(status: &Status) -> (Code, String) {
    (status.code(), status.get_details_error_info().unwrap().reason)
}

#[tokio::test]
async fn the_original_demos_replica_can_follow() {
    let leader = TestLeader::start(config(Generator::Rate(500))).await;
    let mut original = Original::new(leader.channel().await);
    original.follow_to(500).await;
    assert_eq!(original.starts, 1);
    let mut client = CalculatorServiceClient::new(leader.channel().await);
    let request = wire::pb::ReadEventsRequest { first_index: 1, page_size: 500 };
    let history = client.read_events(request).await.unwrap().into_inner().operations;
    let replayed = history
        .into_iter()
        .fold(0, |value, operation| engine::apply(value, Operation::try_from(operation).unwrap()).unwrap());
    assert_eq!((original.next, original.value), (500, replayed));
    leader.stop().await;
}

#[tokio::test]
async fn indexes_start_at_zero_and_a_request_beyond_the_log_ends_at_once() {
    let leader = TestLeader::start(config(Generator::Off)).await;
    let calls = leader.calls();
    for n in 1..=3 {
        calls.submit(Operation::Add(n)).await.unwrap();
    }
    calls.submit(Operation::SquareRoot).await.unwrap();
    let mut original = Original::new(leader.channel().await);
    original.next = 1;
    let mut events = original.subscribe().await.unwrap();
    let mut summary = Vec::new();
    for _ in 1..=3 {
        let event = events.message().await.unwrap().unwrap();
        summary.push((event.eventindex, event.operation, event.argument));
    }
    let expected = [(1, "ADD", 2), (2, "ADD", 3), (3, "SQUARE_ROOT", 0)];
    assert_eq!(summary, expected.map(|(index, operation, argument)| (index, operation.to_owned(), argument)));

    // Like a replica that followed a longer log before this leader started a new one.
    original.next = 100;
    let refused = original.subscribe().await.unwrap_err();
    assert_eq!(reason(&refused), (Code::FailedPrecondition, "BEYOND_TAIL".to_owned()));

    // It starts over at the tail, where its stream stays open.
    let mut events = original.start_over().await.unwrap();
    assert_eq!((original.value, original.next), (2, 4));
    let waits = timeout(Duration::from_millis(300), events.message()).await;
    assert!(waits.is_err(), "{waits:?}");
    calls.submit(Operation::Add(1)).await.unwrap();
    assert!(original.read(&mut events, 5).await.is_none());
    assert_eq!((original.value, original.next), (3, 5));
    leader.stop().await;
}

#[tokio::test]
async fn a_stream_overtaken_by_compaction_ends_and_the_replica_starts_over() {
    let directory = TempDir::new().unwrap();
    let mut long = durable(Generator::Rate(1_000_000), directory.path());
    long.count = Some(60_000);
    let leader = TestLeader::start(long).await;
    let status = async |leader: &TestLeader| {
        let mut client = CalculatorServiceClient::new(leader.channel().await);
        client.get_status(wire::pb::GetStatusRequest {}).await.unwrap().into_inner()
    };
    let patience = Instant::now() + PATIENCE;
    while status(&leader).await.tail < 60_000 {
        assert!(Instant::now() < patience);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    leader.stop().await;

    let mut short = durable(Generator::Off, directory.path());
    short.retain = NonZeroU64::new(10).unwrap();
    let leader = TestLeader::start(short).await;
    // The window is full long before the end of history.
    let endpoint = Endpoint::from_shared(leader.url()).unwrap().initial_stream_window_size(65_535);
    let mut original = Original::new(endpoint.connect().await.unwrap());
    let mut events = original.subscribe().await.unwrap();
    assert!(original.read(&mut events, 101).await.is_none(), "the stream ended early");
    for _ in 0..20 {
        leader.calls().submit(Operation::Divide(2)).await.unwrap();
    }
    let now = status(&leader).await;
    assert!(now.floor > 50_000, "{}", now.floor);
    let ended = original.read(&mut events, u64::MAX).await.unwrap().unwrap_err();
    assert_eq!(reason(&ended), (Code::OutOfRange, "COMPACTED".to_owned()));
    assert!(original.next > 100 && original.next < now.floor, "{}", original.next);

    original.next = 0;
    let gone = original.subscribe().await.unwrap_err();
    assert_eq!(reason(&gone), (Code::OutOfRange, "COMPACTED".to_owned()));
    let mut events = original.start_over().await.unwrap();
    assert_eq!((original.next, original.value), (now.tail, now.value));
    leader.calls().submit(Operation::Divide(1)).await.unwrap();
    assert!(original.read(&mut events, now.tail + 1).await.is_none());
    leader.stop().await;
}

#[tokio::test]
async fn streams_count_as_subscribers_and_a_refusal_is_delayed() {
    let mut small = config(Generator::Off);
    small.max_subscribers = 1;
    let leader = TestLeader::start(small).await;
    let mut original = Original::new(leader.channel().await);
    let events = original.start_over().await.unwrap();
    let start = Instant::now();
    let second = Original::new(leader.channel().await).start_over().await.unwrap_err();
    assert_eq!(reason(&second), (Code::ResourceExhausted, "TOO_MANY_SUBSCRIBERS".to_owned()));
    assert!(start.elapsed() >= Duration::from_millis(900), "without a delay, the original would retry at once");
    drop(events);
    leader.stop().await;
}

#[tokio::test]
async fn an_orderly_end_sends_all_events_first() {
    let leader = TestLeader::start(config(Generator::Off)).await;
    let mut original = Original::new(leader.channel().await);
    let mut events = original.start_over().await.unwrap();
    for n in 1..=100 {
        leader.calls().submit(Operation::Add(n)).await.unwrap();
    }
    let stopping = tokio::spawn(leader.stop());
    assert!(matches!(original.read(&mut events, u64::MAX).await, Some(Ok(()))));
    assert_eq!((original.next, original.value), (100, 5_050));
    stopping.await.unwrap();
}
