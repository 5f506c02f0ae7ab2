//! Damage to the files of a log: whatever is altered, nothing is ever believed that was not committed.
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
        // Each case draws by itself, so that one can be looked at alone.
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
        assert!(flipped(outcome) > 10, "only {} of the flipped bytes came to {outcome:?}", flipped(outcome));
    }
}

/// What came of damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// All that was committed is there, and nothing complains.
    Harmless,
    /// All that was committed is there for whoever reads it, and `verify` complains of the rest of the database.
    FoundByVerify,
    /// No leader starts.
    RefusedAtOpen,
    /// A leader starts, and whoever reads the damaged place is told.
    FoundWhenRead,
}

/// Does with damaged files what people and leaders do with a log. Panics if something is believed that is not `truth`.
fn examine(directory: &Path, truth: &Truth, runtime: &Runtime, random: &mut StdRng) -> Outcome {
    let verified = verify(directory, &mut Vec::new()).map_err(|error| told(&error));
    let mut lines = Vec::new();
    let exported = export(directory, &mut lines).map_err(|error| told(&error));
    if exported.is_ok() {
        assert!(lines == truth.lines, "the events that are printed are not those that were committed");
    } else {
        assert!(truth.lines.starts_with(&lines), "an event was printed that was not committed");
        assert!(lines.last().is_none_or(|byte| *byte == b'\n'), "a line was cut off");
    }
    let opened = open_and_lead(directory, truth, runtime, random);
    match (verified, opened) {
        (Ok(()), opened) => {
            assert!(exported.is_ok(), "verify found nothing, but the events cannot be printed");
            assert_eq!(opened, Outcome::Harmless, "verify found nothing");
            Outcome::Harmless
        }
        (Err(_), Outcome::Harmless) => Outcome::FoundByVerify,
        (Err(_), outcome) => outcome,
    }
}

/// What a leader does: it opens the log, verifies its end, serves what replicas ask for, and goes on writing.
fn open_and_lead(directory: &Path, truth: &Truth, runtime: &Runtime, random: &mut StdRng) -> Outcome {
    let opened = match SqliteStore::new(options(directory), LogId(0)).open_blocking() {
        Ok(opened) => opened,
        Err(error) => {
            told(&error);
            return Outcome::RefusedAtOpen;
        }
    };
    if let Err(error) = runtime.block_on(check(&*opened.reader, opened.snapshot, opened.tail)) {
        told(&error);
        return Outcome::RefusedAtOpen;
    }
    assert!(opened.tail == truth.tail, "the log ends elsewhere");
    assert!(opened.producers == truth.producers, "what producers did last is not what was committed");
    assert_eq!(opened.reader.floor(), truth.floor.position().index);
    assert!(opened.term > truth.batches.last().unwrap().term);

    let whole = read_all(&*opened.reader, truth, runtime);
    ask_for_digests(&*opened.reader, truth, runtime, whole);
    let mut leader = Leader::new(opened, runtime);
    let written = leader.commit(12, random).map_err(|error| told(&error));
    let end = leader.sequencer.committed();
    drop(leader);
    let after = written.and_then(|written| read_again(directory, truth, &written, end));
    if whole { after.map_or(Outcome::FoundWhenRead, |()| Outcome::Harmless) } else { Outcome::FoundWhenRead }
}

/// Reads as a replica far behind does. Returns whether it got to the end.
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
                told(&error);
                return false;
            }
        }
    }
    assert_eq!(expected.next(), None, "the log is shorter than it was and passes as complete");
    true
}

/// Asks what is compared with what a replica holds: the digest where a batch ends, and none where none ends.
fn ask_for_digests(log: &dyn LogReader, truth: &Truth, runtime: &Runtime, whole: bool) {
    let ask = |index, expected| match runtime.block_on(log.digest_at(index)) {
        Ok(digest) => assert_eq!(digest, expected, "the digest at index {index} is another"),
        Err(error) => {
            told(&error);
            assert!(!whole, "the batch at index {index} was read before, and now: {error}");
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

/// Reads what is there after a leader went on with damaged files.
fn read_again(directory: &Path, truth: &Truth, written: &[StoredBatch], end: Snapshot) -> Result<(), String> {
    let mut reader = SqliteReader::open(directory).map_err(|error| told(&error))?;
    assert!(reader.tail() == end, "the log does not end where the leader stopped");
    let from = reader.floor().position().index.next();
    let mut expected = truth.batches.iter().chain(written).skip_while(|batch| batch.first < from);
    let mut next = from;
    while next <= end.position().index {
        for row in reader.rows(next, 10_000).map_err(|error| told(&error))? {
            assert!(Some(&row.batch) == expected.next(), "the batch at index {next} is not what was committed");
            next = row.batch.end.index.next();
        }
    }
    assert_eq!(expected.next(), None, "the log is shorter than it was and passes as complete");
    verify(directory, &mut Vec::new()).map_err(|error| told(&error))
}

/// What an error says, which must be something, and not that our own code gave up.
fn told(error: &dyn fmt::Display) -> String {
    let text = error.to_string();
    assert!(text.len() > 10, "a refusal without a reason: {text:?}");
    assert!(!text.contains("panicked") && !text.contains("thread that writes it ended"), "{text}");
    text
}
