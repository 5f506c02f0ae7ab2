//! History as clients read it: pages and states of the past that can be checked.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use std::collections::BTreeMap;
use std::num::NonZeroU64;

use common::{Follower, TestLeader, config, durable, identity};
use engine::{Author, Event, HistoryPage, Identity, Index, LogId, Operation, Position, Snapshot, Submission};
use follower::{Calls, ReadError};
use leader::config::{Config, Generator};
use leader::export::export;
use tempfile::TempDir;

/// A log whose batches hold several events, and everything in it.
async fn full(config: Config) -> (TestLeader, Vec<Snapshot>, HistoryPage) {
    let leader = TestLeader::start(Config { generator: Generator::Rate(50_000), count: Some(5_000), ..config }).await;
    let calls = leader.calls();
    let deadline = std::time::Instant::now() + common::PATIENCE;
    while calls.read_snapshot(Index(u64::MAX)).await.unwrap().position().index < Index(5_000) {
        assert!(std::time::Instant::now() < deadline, "the log does not grow");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let all = calls.read_events(Index(1), 10_000).await.unwrap();
    let origin = calls.read_snapshot(Index::ZERO).await.unwrap();
    assert_eq!(origin, Snapshot::take(origin.log(), Position::origin(origin.log()), 0));
    let mut states = vec![origin];
    for step in all.replay(origin) {
        let (Event { index, value, .. }, digest) = step.unwrap();
        states.push(Snapshot::take(origin.log(), Position { index, digest }, value));
    }
    assert_eq!((states.len(), all.tail), (5_001, Index(5_000)));
    assert!(all.batches.len() < 4_000, "there are batches of several events");
    (leader, states, all)
}

async fn check(calls: &Calls, states: &[Snapshot], all: &HistoryPage) {
    let ends: Vec<Index> = all.batches.iter().map(|batch| batch.end.index).collect();
    for first in (1..=5_000_u64).step_by(97).chain([2, 3, 4, 4_999, 5_000]) {
        let at = usize::try_from(first).unwrap();
        let page = calls.read_events(Index(first), 30).await.unwrap();
        assert_eq!(page.before, Some(states[at - 1]), "before {first}");
        let read: Vec<Snapshot> = page
            .replay(states[at - 1])
            .map(|step| step.unwrap())
            .map(|(event, digest)| {
                Snapshot::take(states[0].log(), Position { index: event.index, digest }, event.value)
            })
            .collect();
        assert_eq!(read, states[at..(at + 30).min(5_001)], "from {first}");
        let holding = all.batches.iter().filter(|batch| batch.end.index >= Index(first));
        let holding: Vec<_> = holding.take(page.batches.len()).copied().collect();
        assert_eq!(page.batches, holding, "the batches from {first}");
        let state = calls.read_snapshot(Index(first)).await.unwrap();
        let end = ends.iter().rev().find(|end| **end <= Index(first)).copied().unwrap_or_default();
        assert_eq!(state, states[usize::try_from(end.0).unwrap()], "the state at {first}");
    }
    let beyond = calls.read_events(Index(5_001), 30).await.unwrap();
    assert_eq!((beyond.before, beyond.operations.len()), (Some(states[5_000]), 0));
    assert_eq!(calls.read_events(Index(6_000), 30).await.unwrap().before, None);
}

#[tokio::test]
async fn every_page_says_what_was_before_it_and_where_its_batches_end() {
    let (leader, states, all) = full(config(Generator::Off)).await;
    check(&leader.calls(), &states, &all).await;
    leader.stop().await;

    let directory = TempDir::new().unwrap();
    let (leader, states, all) = full(durable(Generator::Off, directory.path())).await;
    check(&leader.calls(), &states, &all).await;
    leader.stop().await;
    let leader = TestLeader::start(durable(Generator::Off, directory.path())).await;
    check(&leader.calls(), &states, &all).await;
    leader.stop().await;
}

/// Submits the same as everybody in turn, and checks who the log says it was, for replicas and readers.
#[tokio::test]
async fn authors_reach_replicas_readers_and_exports_as_they_were_claimed() {
    let directory = TempDir::new().unwrap();
    let leader = TestLeader::start(durable(Generator::Rate(2_000), directory.path())).await;
    let watching = Follower::start(&leader.url(), "watching");
    let calls = leader.calls();
    let name = |name: &str| Identity { name: name.to_owned(), ..identity(name) };
    let people = [Some(name("Anna")), Some(name("Bert \u{202e}")), None];
    let mut mine = BTreeMap::new();
    for n in 0..90 {
        let author = people[n % 3].clone();
        let submission = Submission { author: author.clone(), ..Operation::Add(0).into() };
        mine.insert(calls.submit(submission).await.unwrap().index, author);
    }
    let last = *mine.keys().next_back().unwrap();
    watching.recorder.until_index(last.0).await;
    let claimed = |index: Index| match mine.get(&index) {
        None => Author::Generator,
        Some(None) => Author::Unnamed,
        Some(Some(identity)) => Author::Named(identity),
    };
    watching.recorder.read(|record| {
        let first = record.applied.first().copied().unwrap();
        let mut submitted = record.submitted.clone();
        submitted.retain(|index, _| *index <= last);
        let mut expected = mine.clone();
        expected.retain(|index, _| *index >= first);
        assert!(expected.len() > 60, "the replica saw {} of them", expected.len());
        assert_eq!(submitted, expected);
    });
    // Pages that begin anywhere.
    for first in (1..=last.0).step_by(7) {
        let page = calls.read_events(Index(first), 50).await.unwrap();
        for (index, author) in (first..page.next().0).map(Index).zip(page.authors.each()) {
            if index <= last {
                assert_eq!(author, claimed(index), "at {index} on the page from {first}");
            }
        }
    }
    leader.stop().await;
    let mut lines = Vec::new();
    export(directory.path(), &mut lines).unwrap();
    let lines = String::from_utf8(lines).unwrap();
    assert!(!lines.contains('\u{202e}'), "an author may not reverse the text of a terminal");
    for line in lines.lines() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        let index = Index(event["index"].as_u64().unwrap());
        if index <= last {
            let (kind, id, name) = match claimed(index) {
                Author::Named(identity) => ("named", Some(identity.id.as_str()), Some(identity.name.as_str())),
                Author::Unnamed => ("unnamed", None, None),
                _ => ("generator", None, None),
            };
            let printed = (event["author"].as_str(), event["author_id"].as_str(), event["author_name"].as_str());
            assert_eq!(printed, (Some(kind), id, name), "at {index}");
        }
    }
}

#[tokio::test]
async fn history_below_the_floor_is_gone_and_the_floor_is_named() {
    let mut short = config(Generator::Off);
    short.retain = NonZeroU64::new(5).unwrap();
    let leader = TestLeader::start(short).await;
    let calls = leader.calls();
    for n in 1..=20 {
        calls.submit(Operation::Add(n)).await.unwrap();
    }
    let gone = ReadError::Compacted { floor: Index(15) };
    assert_eq!(calls.read_events(Index(15), 1).await, Err(gone.clone()));
    assert_eq!(calls.read_snapshot(Index(14)).await, Err(gone));
    let floor = calls.read_snapshot(Index(15)).await.unwrap();
    assert_eq!((floor.position().index, floor.value()), (Index(15), 120));
    let oldest = calls.read_events(Index::ZERO, 2).await.unwrap();
    assert_eq!((oldest.first, oldest.floor, oldest.before), (Index(16), Index(15), Some(floor)));
    assert_ne!(floor.log(), LogId(0));
    leader.stop().await;
}
