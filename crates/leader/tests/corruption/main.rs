//! Damage to the files of a log: no reader ever accepts an event that was not committed.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking, and prints what it counted")]

mod bases;
mod damage;

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use bases::{Leader, Truth, bases, copy_files, options};
use damage::{Damage, pick_file};
use engine::{LogId, Snapshot};
use leader::export::export;
use leader::replay::check;
use leader::verify::verify;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use store::sqlite::SqliteReader;
use store::{LogReader, SqliteStore, StoredBatch};
use tempfile::TempDir;
use tokio::runtime::Runtime;

const FLIPPED: u64 = 1_000;
const CUT: u64 = 100;
const ZEROED: u64 = 100;

#[test]
fn a_thousand_flipped_bytes_are_harmless_or_refused_and_never_believed() {
    let seed = std::env::var("CALCULATOR_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    let again = format!("CALCULATOR_SEED={seed} cargo test -p leader --test corruption");
    println!("{again}");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let bases = bases(&runtime, seed);

    let mut counts: BTreeMap<(&str, String), BTreeMap<Outcome, u32>> = BTreeMap::new();
    for case in 0..FLIPPED + CUT + ZEROED {
        // Each case has a seed of its own, so that it can run alone.
        let mut random = StdRng::seed_from_u64(seed.wrapping_add(case));
        let base = &bases[random.random_range(0..bases.len())];
        let copy = TempDir::new().unwrap();
        copy_files(base.files.path(), copy.path());
        let (kind, damage) = loop {
            let file = pick_file(copy.path(), &mut random);
            let (kind, damage) = match case {
                0..FLIPPED => ("flipped", Damage::flip(copy.path(), file, &mut random)),
                case if case < FLIPPED + CUT => ("cut off", Damage::cut(copy.path(), file, &mut random)),
                _ => ("zeroed", Damage::zero(copy.path(), file, &mut random)),
            };
            if damage.apply(copy.path()) {
                break (kind, damage);
            }
        };
        let outcome = catch_unwind(AssertUnwindSafe(|| examine(copy.path(), &base.truth, &runtime, &mut random)));
        let outcome = outcome.unwrap_or_else(|_| panic!("case {case}, {}: {damage}; {again}", base.name));
        *counts.entry((kind, damage.file.clone())).or_default().entry(outcome).or_default() += 1;
    }

    println!("{:8} {:16} {:>9} {:>9} {:>9} {:>9}", "", "", "harmless", "verify", "at open", "on read");
    for ((kind, file), outcomes) in &counts {
        let count = |outcome| outcomes.get(&outcome).copied().unwrap_or(0);
        let [harmless, verify, open, read] =
            [Outcome::Harmless, Outcome::FoundByVerify, Outcome::RefusedAtOpen, Outcome::FoundWhenRead].map(count);
        println!("{kind:8} {file:16} {harmless:>9} {verify:>9} {open:>9} {read:>9}");
    }
    let flipped = |outcome| {
        let of_kind = counts.iter().filter(|((kind, _), _)| *kind == "flipped");
        of_kind.filter_map(|(_, outcomes)| outcomes.get(&outcome)).sum::<u32>()
    };
    for outcome in [Outcome::Harmless, Outcome::RefusedAtOpen, Outcome::FoundWhenRead] {
        assert!(flipped(outcome) > 10, "only {} of the flipped bytes were {outcome:?}", flipped(outcome));
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// All events can be read, and nothing reports damage.
    Harmless,
    /// All events can be read; only `verify` reports damage.
    FoundByVerify,
    /// No leader starts.
    RefusedAtOpen,
    /// A leader starts, and reads of the damaged place fail.
    FoundWhenRead,
}

/// Verifies, exports and leads a damaged log. Panics if anything but `truth` is accepted.
fn examine(directory: &Path, truth: &Truth, runtime: &Runtime, random: &mut StdRng) -> Outcome {
    let verified = verify(directory, &mut Vec::new()).map_err(|error| message(&error));
    let mut lines = Vec::new();
    let exported = export(directory, &mut lines).map_err(|error| message(&error));
    if exported.is_ok() {
        assert!(lines == truth.lines, "the printed events differ from the committed ones");
    } else {
        assert!(truth.lines.starts_with(&lines), "an event was printed that was not committed");
        assert!(lines.last().is_none_or(|byte| *byte == b'\n'), "a line was cut off");
    }
    let opened = open_and_lead(directory, truth, runtime, random);
    match (verified, opened) {
        (Ok(()), opened) => {
            assert!(exported.is_ok(), "verify found nothing, but export failed");
            assert_eq!(opened, Outcome::Harmless, "verify found nothing");
            Outcome::Harmless
        }
        (Err(_), Outcome::Harmless) => Outcome::FoundByVerify,
        (Err(_), outcome) => outcome,
    }
}

/// Opens the log as a leader does: verifies its end, reads it for replicas, and writes more.
fn open_and_lead(directory: &Path, truth: &Truth, runtime: &Runtime, random: &mut StdRng) -> Outcome {
    let opened = match SqliteStore::new(options(directory), LogId(0)).open_blocking() {
        Ok(opened) => opened,
        Err(error) => {
            message(&error);
            return Outcome::RefusedAtOpen;
        }
    };
    if let Err(error) = runtime.block_on(check(&*opened.reader, opened.snapshot, opened.tail)) {
        message(&error);
        return Outcome::RefusedAtOpen;
    }
    assert!(opened.tail == truth.tail, "the log's tail differs from the committed one");
    assert!(opened.producers == truth.producers, "the producers differ from the committed ones");
    assert_eq!(opened.reader.floor(), truth.floor.position().index);
    assert!(opened.term > truth.batches.last().unwrap().term);

    let whole = read_all(&*opened.reader, truth, runtime);
    ask_for_digests(&*opened.reader, truth, runtime, whole);
    let mut leader = Leader::new(opened, runtime);
    let written = leader.commit(12, random).map_err(|error| message(&error));
    let end = leader.sequencer.committed();
    drop(leader);
    let after = written.and_then(|written| read_again(directory, truth, &written, end));
    if whole { after.map_or(Outcome::FoundWhenRead, |()| Outcome::Harmless) } else { Outcome::FoundWhenRead }
}

/// Reads the log as for a replica that is far behind. Returns whether it reached the end.
fn read_all(log: &dyn LogReader, truth: &Truth, runtime: &Runtime) -> bool {
    let mut next = truth.floor.position().index.next();
    let mut expected = truth.batches.iter();
    loop {
        match runtime.block_on(log.read(next, 2_000)) {
            Ok(batches) if batches.is_empty() => break,
            Ok(batches) => {
                for batch in batches {
                    assert!(Some(&batch) == expected.next(), "the batch at index {} was altered", batch.first);
                    next = batch.end.index.next();
                }
            }
            Err(error) => {
                message(&error);
                return false;
            }
        }
    }
    assert_eq!(expected.next(), None, "a shorter log was accepted as complete");
    true
}

/// Checks the digests with which replicas' positions are compared: one where a batch ends, none elsewhere.
fn ask_for_digests(log: &dyn LogReader, truth: &Truth, runtime: &Runtime, whole: bool) {
    let ask = |index, expected| match runtime.block_on(log.digest_at(index)) {
        Ok(digest) => assert_eq!(digest, expected, "wrong digest at index {index}"),
        Err(error) => {
            message(&error);
            assert!(!whole, "the batch at index {index} could be read before: {error}");
        }
    };
    for batch in truth.batches.iter().step_by(9) {
        ask(batch.end.index, Some(batch.end.digest));
        if batch.first < batch.end.index {
            ask(batch.first, None);
        }
    }
    ask(truth.floor.position().index, Some(truth.floor.position().digest));
}

/// Reads the log after a leader wrote to the damaged files.
fn read_again(directory: &Path, truth: &Truth, written: &[StoredBatch], end: Snapshot) -> Result<(), String> {
    let mut reader = SqliteReader::open(directory).map_err(|error| message(&error))?;
    assert!(reader.tail() == end, "the log does not end where the leader stopped");
    let from = reader.floor().position().index.next();
    let mut expected = truth.batches.iter().chain(written).skip_while(|batch| batch.first < from);
    let mut next = from;
    while next <= end.position().index {
        for row in reader.rows(next, 10_000).map_err(|error| message(&error))? {
            assert!(Some(&row.batch) == expected.next(), "the batch at index {next} differs from the committed one");
            next = row.batch.end.index.next();
        }
    }
    assert_eq!(expected.next(), None, "a shorter log was accepted as complete");
    verify(directory, &mut Vec::new()).map_err(|error| message(&error))
}

/// An error's message. Panics if it has none, or reports a panic of our own code.
fn message(error: &dyn fmt::Display) -> String {
    let text = error.to_string();
    assert!(text.len() > 10, "an error without a reason: {text:?}");
    assert!(!text.contains("panicked") && !text.contains("thread that writes it ended"), "{text}");
    text
}
