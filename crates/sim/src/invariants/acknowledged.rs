//! An acknowledged operation is in the log once and stays there; a refused one is not in it.
//!
//! Each client operation is unique, so the log shows how often it was committed.

use std::collections::BTreeMap;

use engine::{Event, Index, Operation};

use crate::history::{History, Outcome};

pub(super) fn check(history: &History) -> Vec<String> {
    let truth = history.truth();
    let mut places = BTreeMap::<Operation, Vec<Index>>::new();
    for event in truth.events() {
        places.entry(event.operation).or_default().push(event.index);
    }
    let excused = history.excused();
    let mut found = Vec::new();
    let mut done = Vec::new();
    for answer in &history.answers {
        let operation = answer.operation;
        let at = places.get(&operation).map_or(&[][..], Vec::as_slice);
        if at.len() > 1 {
            found.push(format!("{operation} is in the log {} times: at {at:?}", at.len()));
        }
        match answer.outcome {
            Outcome::NotDone if !at.is_empty() => {
                found.push(format!("{operation} was refused and is in the log at {at:?}"));
            }
            Outcome::Done(event) => {
                if !excused.contains(&event.index) && truth.event(event.index) != Some(event) {
                    found.push(format!("{operation} was acknowledged as {event:?} and is not in the log there"));
                }
                if answer.expected.is_some_and(|expected| expected.next() != event.index) {
                    found.push(format!("{operation} expected index {:?} and got {}", answer.expected, event.index));
                }
                done.push((answer.asked_at, answer.answered_at, event));
            }
            Outcome::NotDone | Outcome::Unknown => {}
        }
    }
    if !history.nature.forgetful_disk {
        check_order(done, &mut found);
        check_memory(history, &places, &mut found);
    }
    found
}

/// An operation submitted after the answer to another one comes after it in the log.
fn check_order(mut done: Vec<(std::time::Duration, std::time::Duration, Event)>, found: &mut Vec<String>) {
    done.sort_by_key(|(asked, _, _)| *asked);
    let mut answered: Vec<_> = done.iter().map(|(_, answered, event)| (*answered, event.index)).collect();
    answered.sort_unstable();
    let mut answered = answered.into_iter().peekable();
    let mut newest = Index::ZERO;
    for (asked, _, event) in done {
        while let Some((_, index)) = answered.next_if(|(at, _)| *at < asked) {
            newest = newest.max(index);
        }
        if event.index < newest {
            found.push(format!("{event:?} was submitted after {newest} was answered, and comes before it"));
        }
    }
}

/// No leader refuses a producer as unknown that has an operation in the log.
fn check_memory(history: &History, places: &BTreeMap<Operation, Vec<Index>>, found: &mut Vec<String>) {
    for (producer, sequence) in &history.forgotten {
        let remembered = history.log.iter().any(|commit| {
            let mut written = commit.producers.written.iter();
            written.any(|row| row.producer == *producer && places.contains_key(&row.event.operation))
        });
        if remembered {
            found.push(format!("producer {producer} was forgotten: its {sequence} was refused as unknown"));
        }
    }
}
