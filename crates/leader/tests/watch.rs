//! Watching the leader and its replicas.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use std::time::{Duration, Instant};

use common::{Follower, PATIENCE, Proxy, TestLeader, config, identity};
use engine::{Index, LinkFault, Operation, Replica, SnapshotReason, Standing, Verdict};
use follower::{FaultyLink, Rosters, SharedInjector, connect};
use leader::config::{Config, Generator};
use leader::http::limits::Limits;
use leader::roster::Patience;
use tokio::time::timeout;
use tokio_stream::StreamExt;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Streaming};
use wire::pb::calculator_service_client::CalculatorServiceClient;
use wire::sharedcalculator::GetUpdatesRequest;
use wire::sharedcalculator::leader_client::LeaderClient;
use wire::{Roster, RosterRow, pb};

struct Watch(Rosters);

impl Watch {
    async fn begin(leader: &TestLeader) -> Self {
        Self(leader.calls().watch_replicas(identity("watcher")).await.unwrap())
    }

    async fn next(&mut self) -> Roster {
        timeout(PATIENCE, self.0.next()).await.unwrap().unwrap().unwrap()
    }

    /// Waits for a roster with `condition`, which the caller describes.
    async fn until(&mut self, what: &str, condition: impl Fn(&Roster) -> bool) -> Roster {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let roster = self.next().await;
            if condition(&roster) {
                return roster;
            }
            assert!(Instant::now() < deadline, "never seen: {what}; the last roster: {roster:#?}");
        }
    }

    /// Waits for a row of `name` with `condition`.
    async fn until_row(&mut self, name: &str, what: &str, condition: impl Fn(&RosterRow) -> bool) -> RosterRow {
        let roster = self.until(what, |roster| row(roster, name).is_some_and(&condition)).await;
        row(&roster, name).unwrap().clone()
    }
}

fn row<'a>(roster: &'a Roster, name: &str) -> Option<&'a RosterRow> {
    roster.replicas.iter().find(|row| row.identity.name == name)
}

fn names(roster: &Roster) -> Vec<&str> {
    roster.replicas.iter().map(|row| row.identity.name.as_str()).collect()
}

/// Subscribes as `name` and reads nothing but the welcome.
async fn subscribe(channel: &Channel, name: &str) -> Streaming<pb::SubscribeResponse> {
    let request = pb::SubscribeRequest { replica: Some(identity(name).into()), ..Default::default() };
    let mut frames = CalculatorServiceClient::new(channel.clone()).subscribe(request).await.unwrap().into_inner();
    frames.message().await.unwrap().unwrap();
    frames
}

#[tokio::test]
async fn a_watcher_sees_the_leader_and_each_replica_with_what_it_holds() {
    let leader = TestLeader::start(config(Generator::Rate(200))).await;
    let first = Follower::start(&leader.url(), "a");
    first.recorder.until_live().await;
    let mut watch = Watch::begin(&leader).await;
    let has_reported = |row: &RosterRow| row.standing == Standing::InStep;
    watch.until_row("a", "a report", has_reported).await;
    let roster = watch.until("20 events", |roster| roster.tail.position().index >= Index(20)).await;
    assert_eq!((names(&roster), roster.connected, roster.not_shown), (vec!["a"], 1, 0));
    assert_eq!((roster.term.0, roster.newest.len()), (1, 16));
    let generator = roster.generator.unwrap();
    assert_eq!((generator.rate, generator.paused, generator.ended), (200.0, false, false));
    let a = row(&roster, "a").unwrap();
    let at = a.position.unwrap();
    let held = first.recorder.read(|record| record.values[&(at.log, at.position.index)]);
    assert_eq!((a.identity.clone(), a.value, at.log), (identity("a"), Some(held), roster.tail.log()));
    assert_eq!((a.connected, a.streams, a.original), (true, 1, false));
    assert_eq!(a.verdict, Some(Verdict::Snapshot(SnapshotReason::Fresh)));
    assert!(a.streaming.is_some() && a.sent.plus(60) > roster.tail.position().index, "{a:?}");

    let others: Vec<_> = ["b", "c", "d", "e"].iter().map(|name| Follower::start(&leader.url(), name)).collect();
    let all = |roster: &Roster| roster.replicas.iter().filter(|row| has_reported(row)).count() == 5;
    let roster = watch.until("five replicas", all).await;
    assert_eq!((names(&roster), roster.connected), (vec!["a", "b", "c", "d", "e"], 5));
    drop(others);
    leader.stop().await;
}

#[tokio::test]
async fn twenty_of_five_hundred_replicas_are_shown_and_the_rest_is_counted() {
    let leader = TestLeader::start(config(Generator::Off)).await;
    let channel = leader.channel().await;
    let mut streams = Vec::new();
    for number in 0..500 {
        streams.push(subscribe(&channel, &format!("replica-{number:03}")).await);
    }
    let mut watch = Watch::begin(&leader).await;
    let roster = watch.next().await;
    assert_eq!((roster.connected, roster.replicas.len(), roster.not_shown), (500, 20, 480));
    // All came within the last minute, so the latest are shown.
    assert_eq!(names(&roster).first(), Some(&"replica-480"));
    let late = subscribe(&channel, "a-late-one").await;
    watch.until_row("a-late-one", "a replica that came", |row| row.streams == 1).await;
    drop(late);
    watch.until_row("a-late-one", "a replica that left", |row| row.streams == 0 && !row.connected).await;
    let left = streams.drain(..480).count();
    let roster = watch.until("many that left", |roster| roster.connected == 20).await;
    assert_eq!((roster.replicas.len() + roster.not_shown as usize, left), (501, 480));
    leader.stop().await;
}

#[tokio::test]
async fn replicas_of_the_original_demo_and_without_an_id_are_shown_by_what_they_were_sent() {
    let leader = TestLeader::start(config(Generator::Off)).await;
    let mut watch = Watch::begin(&leader).await;
    let mut original = LeaderClient::new(leader.channel().await);
    let mut events = original.stream_updates(GetUpdatesRequest { from_index: 0 }).await.unwrap().into_inner();
    let row = watch.until_row("original-1", "an original replica", |row| row.streams == 1).await;
    assert!(row.original && row.connected && row.identity.id.is_empty(), "{row:?}");
    assert_eq!((row.sent, row.position, row.standing), (Index(0), None, Standing::Unknown));
    for n in 1..=3 {
        leader.calls().submit(Operation::Add(n)).await.unwrap();
        events.message().await.unwrap().unwrap();
    }
    watch.until_row("original-1", "three events", |row| row.sent == Index(3)).await;
    // As it does after an event out of order.
    drop(events);
    watch.until_row("original-1", "the end of its stream", |row| row.streams == 0).await;
    let _again = original.stream_updates(GetUpdatesRequest { from_index: 3 }).await.unwrap();
    watch.until_row("original-2", "its next stream", |row| row.original && row.streams == 1).await;

    let mut client = CalculatorServiceClient::new(leader.channel().await);
    let _unnamed = client.subscribe(pb::SubscribeRequest::default()).await.unwrap();
    let row = watch.until_row("unnamed-3", "a replica without an id", |row| row.sent == Index(3)).await;
    assert!(!row.original && row.streams == 1, "{row:?}");
    let listed = client.list_replicas(pb::ListReplicasRequest {}).await.unwrap().into_inner().replicas;
    assert_eq!(listed, [], "the contract lists only replicas with an id");
    leader.stop().await;
}

#[tokio::test]
async fn a_replica_that_falls_behind_and_one_that_diverges_are_seen() {
    let leader = TestLeader::start(config(Generator::Rate(5_000))).await;
    let mut watch = Watch::begin(&leader).await;
    let healthy = Follower::start(&leader.url(), "healthy");
    healthy.recorder.until_live().await;

    let endpoint = Endpoint::from_shared(leader.url()).unwrap().initial_stream_window_size(4_096);
    let _unread = subscribe(&endpoint.connect().await.unwrap(), "slow").await;
    let behind = |roster: &Roster, name| {
        row(roster, name).map(|row| roster.tail.position().index.events_since(row.sent)).unwrap_or_default()
    };
    let roster = watch.until("a slow replica", |roster| behind(roster, "slow") > 5_000).await;
    assert!(behind(&roster, "healthy") < 2_500, "{roster:#?}");

    let injector = SharedInjector::default();
    let link = FaultyLink::new(connect(&leader.url(), identity("hurt")).unwrap(), injector.clone());
    let hurt = Follower::start_with(Replica::new(2), link);
    hurt.recorder.until_live().await;
    injector.lock().inject(LinkFault::Alter);
    let diverged = Some(Verdict::Snapshot(SnapshotReason::Diverged));
    watch.until_row("hurt", "why it asked for a fresh state", |row| row.verdict == diverged).await;
    hurt.recorder.until_live().await;
    watch.until_row("hurt", "that it healed", |row| row.standing == Standing::InStep && row.connected).await;
    leader.stop().await;
}

#[tokio::test]
async fn a_replica_that_stalls_is_seen() {
    let streams = Patience { silent: Duration::from_secs(20), missing: Duration::from_secs(2) };
    let limits = Limits { streams, ..Limits::default() };
    let leader = TestLeader::start(Config { limits, ..config(Generator::Rate(100)) }).await;
    let mut watch = Watch::begin(&leader).await;
    let channel = leader.channel().await;
    let request = pb::SubscribeRequest { replica: Some(identity("stalled").into()), ..Default::default() };
    let mut client = CalculatorServiceClient::new(channel);
    let mut frames = client.subscribe(request).await.unwrap().into_inner();
    let Some(pb::subscribe_response::Frame::Welcome(welcome)) = frames.message().await.unwrap().unwrap().frame else {
        panic!("no welcome")
    };
    let report = pb::ReportProgressRequest {
        replica: Some(identity("stalled").into()),
        position: Some(pb::LogPosition { log_id: welcome.log_id, index: 0, digest: 0 }),
        stream_id: welcome.stream_id,
        ..Default::default()
    };
    client.report_progress(report).await.unwrap();
    watch.until_row("stalled", "a report", |row| row.connected && row.position.is_some()).await;
    let row = watch.until_row("stalled", "no report for two seconds", |row| !row.connected).await;
    assert_eq!(row.streams, 1);
    assert!(row.last_heard >= Duration::from_secs(2), "{row:?}");
    leader.stop().await;
}

#[tokio::test]
async fn a_replica_that_changes_its_name_leaves_no_ghost() {
    let leader = TestLeader::start(config(Generator::Rate(100))).await;
    let mut watch = Watch::begin(&leader).await;
    let old = Follower::start(&leader.url(), "old");
    old.recorder.until_live().await;
    let held = old.recorder.read(|record| record.now.unwrap());
    watch.until_row("old", "the old name", |row| row.standing == Standing::InStep).await;
    drop(old);
    let renamed = wire::Identity { name: "new".to_owned(), ..identity("old") };
    let link = connect(&leader.url(), renamed).unwrap();
    let new = Follower::start_with(Replica::restore(1, held), link);
    new.recorder.until_live().await;
    let roster = watch.until("the new name", |roster| row(roster, "new").is_some_and(|row| row.connected)).await;
    assert_eq!(names(&roster), ["new"]);
    assert_eq!(row(&roster, "new").unwrap().verdict, Some(Verdict::Resumed));
    let mut client = leader.calls_client().await;
    let listed = client.list_replicas(pb::ListReplicasRequest {}).await.unwrap().into_inner().replicas;
    assert_eq!(listed.len(), 1, "{listed:?}");
    leader.stop().await;
}

#[tokio::test]
async fn cutting_a_replicas_stream_does_not_stop_its_watch() {
    let leader = TestLeader::start(config(Generator::Rate(100))).await;
    let proxy = Proxy::start(leader.address).await;
    let follower = Follower::start(&format!("http://{}", proxy.address), "a");
    follower.recorder.until_live().await;
    let mut watch = Watch::begin(&leader).await;
    watch.until_row("a", "its stream", |row| row.connected).await;
    let (mut cuts, begun) = (0, Instant::now());
    while begun.elapsed() < Duration::from_secs(3) {
        proxy.cut();
        cuts += 1;
        let asked = Instant::now();
        watch.next().await;
        assert!(asked.elapsed() < Duration::from_secs(2), "no roster for {:?}", asked.elapsed());
    }
    assert!(cuts > 3);
    watch.until_row("a", "that it came back", |row| row.connected && row.verdict == Some(Verdict::Resumed)).await;
    leader.stop().await;
}

#[tokio::test]
async fn rosters_come_four_times_a_second_at_most_and_a_slow_watcher_gets_the_newest() {
    let leader = TestLeader::start(config(Generator::Rate(1_000))).await;
    let mut watch = Watch::begin(&leader).await;
    watch.next().await;
    let begun = Instant::now();
    for _ in 0..8 {
        watch.next().await;
    }
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(1_750) && took < Duration::from_secs(10), "eight rosters took {took:?}");

    // Its window has room for some rosters; then it must wait until they are read.
    let endpoint = Endpoint::from_shared(leader.url()).unwrap().initial_stream_window_size(400);
    let mut client = CalculatorServiceClient::new(endpoint.connect().await.unwrap());
    let mut slow = client.watch_replicas(pb::WatchReplicasRequest::default()).await.unwrap().into_inner();
    let next = async |slow: &mut Streaming<pb::WatchReplicasResponse>| {
        timeout(PATIENCE, slow.message()).await.unwrap().unwrap().unwrap().leader_time_us
    };
    next(&mut slow).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let read_at = leader::clock::now().0;
    let mut waited = 0;
    while next(&mut slow).await + 1_000_000 < read_at {
        waited += 1;
    }
    assert!(waited <= 6, "{waited} rosters waited for a reader that took none for 5 s");
    leader.stop().await;
}

#[tokio::test]
async fn replicas_report_sooner_while_somebody_watches() {
    let leader = TestLeader::start(config(Generator::Rate(100))).await;
    let follower = Follower::start(&leader.url(), "a");
    follower.recorder.until_live().await;
    let mut watch = Watch::begin(&leader).await;
    watch.until_row("a", "a report", |row| row.position.is_some()).await;
    // The replica learns of the watcher with the answer to its next report.
    tokio::time::sleep(Duration::from_millis(2_200)).await;
    let judged = || follower.recorder.read(|record| record.standings.len());
    let before = judged();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let watched = judged() - before;
    assert!((6..=14).contains(&watched), "{watched} reports in three seconds");
    drop(watch);
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let before = judged();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(judged() - before <= 2, "{} reports in three seconds that nobody watches", judged() - before);
    leader.stop().await;
}

#[tokio::test]
async fn a_watch_ends_when_the_leader_shuts_down_and_a_place_is_free_again_when_one_ends() {
    let limits = Limits { watchers: 1, ..Limits::default() };
    let leader = TestLeader::start(Config { limits, ..config(Generator::Off) }).await;
    let mut watch = Watch::begin(&leader).await;
    watch.next().await;
    let refused = leader.calls().watch_replicas(identity("second")).await.unwrap_err();
    let follower::LinkError::Call(status) = refused else { panic!("{refused:?}") };
    assert_eq!((status.code, status.reason.as_str()), (Code::ResourceExhausted, "TOO_MANY_WATCHERS"));
    drop(watch);
    let deadline = Instant::now() + PATIENCE;
    let mut watch = loop {
        match leader.calls().watch_replicas(identity("second")).await {
            Ok(rosters) => break Watch(rosters),
            Err(_) => assert!(Instant::now() < deadline, "the place is still taken"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    watch.next().await;
    let ended = tokio::spawn(async move { while watch.0.next().await.is_some_and(|roster| roster.is_ok()) {} });
    let took = leader.stop().await;
    assert!(took < Duration::from_secs(3), "the watch held the shutdown up for {took:?}");
    timeout(PATIENCE, ended).await.unwrap().unwrap();
}
