//! Writes the inputs that fuzzing begins with: valid things, cut off ones, and alterations for each target.

use std::fs;
use std::io;
use std::path::Path;

use engine::frame::SnapshotFrame;
use engine::{Frame, Index, Snapshot, SnapshotReason, Verdict};
use fuzz::{samples, saved};
use prost::Message;
use web::saved::write_state;
use wire::frame::{encode, encode_batch};
use wire::pb;

fn main() -> io::Result<()> {
    write("frames", frames())?;
    write("requests", samples::requests())?;
    write("pages", vec![pb::ReadEventsResponse::from(samples::page().1).encode_to_vec()])?;
    write("snapshots", snapshots())?;
    write("rows", rows())?;
    write("saved", saved_texts())
}

fn write(target: &str, inputs: Vec<Vec<u8>>) -> io::Result<()> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(target).join("corpus");
    fs::create_dir_all(&directory)?;
    for (n, input) in (1..).zip(inputs.into_iter().chain(alterations())) {
        fs::write(directory.join(format!("seed-{n:02}")), input)?;
    }
    Ok(())
}

/// Four bytes each: where, what, and a byte. They mean something to every target.
fn alterations() -> Vec<Vec<u8>> {
    vec![
        vec![],
        // One bit, in front and further behind.
        vec![0, 0, 0x20, 1],
        vec![30, 0, 0x21, 0x80],
        // A byte removed, a byte put in.
        vec![9, 0, 0x22, 0],
        vec![9, 0, 0x23, 0xff],
        // A frame lost, a frame repeated.
        vec![3, 0, 0, 0],
        vec![2, 5, 16, 0],
        [[1, 0, 0, 0], [4, 7, 17, 0], [6, 12, 0x20, 0x40]].concat(),
    ]
}

fn frames() -> Vec<Vec<u8>> {
    let run = |frames: &[Frame]| frames.iter().flat_map(encode).collect::<Vec<u8>>();
    let stream = samples::stream(false);
    let mut inputs: Vec<Vec<u8>> = stream.iter().map(|frame| encode(frame).to_vec()).collect();
    let whole = run(&stream);
    inputs.push(whole[..whole.len() - 3].to_vec());
    inputs.extend([whole, run(&samples::stream(true))]);
    // The ends of the range of indexes, and a log that changes under the replica.
    let last =
        Snapshot::take(samples::LOG, engine::Position { index: Index(u64::MAX), ..Default::default() }, i64::MIN);
    for reason in [SnapshotReason::Compacted, SnapshotReason::Diverged, SnapshotReason::OtherLog] {
        let mut welcome = samples::welcome(Verdict::Snapshot(reason));
        (welcome.floor, welcome.tail) = (Index(u64::MAX), Index(u64::MAX));
        let snapshot = Frame::Snapshot(SnapshotFrame { term: samples::TERM, snapshot: last });
        let again = Frame::Welcome(samples::welcome(Verdict::Snapshot(reason)));
        inputs.push(run(&[Frame::Welcome(welcome), snapshot, again]));
    }
    // Compressed, longer than it is, and nothing in it.
    inputs.extend([vec![1, 0, 0, 0, 0], vec![0, 0xff, 0xff, 0xff, 0xff, 0], vec![0; 5]]);
    inputs
}

fn snapshots() -> Vec<Vec<u8>> {
    let encoded = |snapshot| pb::Snapshot::from(SnapshotFrame { term: samples::TERM, snapshot }).encode_to_vec();
    let mut inputs: Vec<Vec<u8>> = samples::log().iter().map(|(before, _)| encoded(*before)).collect();
    inputs.push(encoded(samples::tail()));
    inputs.push(pb::Snapshot::default().encode_to_vec());
    inputs
}

fn rows() -> Vec<Vec<u8>> {
    let row = |(before, batch): &(Snapshot, _)| {
        let digest = before.position().digest.0.to_le_bytes();
        [&before.value().to_le_bytes()[..], &digest, &encode_batch(batch)].concat()
    };
    samples::log().iter().map(row).collect()
}

fn saved_texts() -> Vec<Vec<u8>> {
    let state = write_state(&samples::tail());
    let cut = state[..state.len() - 1].to_owned();
    let (tab, operation) = (saved::tab().write(), saved::operation().write());
    [state, cut, tab, "1 +5".to_owned(), "null".to_owned(), operation].map(String::into_bytes).into()
}
