//! A stream as a replica receives it.

use std::time::Duration;

use bytes::Bytes;
use engine::replica::{Action, Notice, State};
use engine::{Frame, Moment, Replica, Snapshot};
use follower::CallError;
use follower::grpc_web::{Body, Part};
use wire::frame::{decode_next, encode};

use crate::samples;

/// As much as arrives at once.
const MAX_PIECE: usize = 1 << 16;

/// A stream of any bytes, and valid streams whose frames are altered, lost and repeated; and any bytes as the body of a
/// gRPC-Web answer.
///
/// # Panics
///
/// If a frame does not survive being encoded again, a replica holds what does not follow from the frames, or it makes a
/// difference in which pieces a body arrives.
pub fn check(input: &[u8]) {
    for flags in [0, 0x80] {
        let mut body = follower::grpc_web::request(input);
        body[0] = flags;
        body.extend_from_slice(input);
        assert_eq!(read(&body, body.len()), read(&body, 1));
    }
    assert_eq!(read(input, MAX_PIECE), read(input, 3));
    follow(Replica::new(1), [Bytes::copy_from_slice(input)]);
    for resumed in [false, true] {
        let replica = if resumed { Replica::restore(1, samples::middle()) } else { Replica::new(1) };
        follow(replica, altered_stream(&samples::stream(resumed), input));
    }
}

/// The messages of a body that arrives in pieces of `size` bytes, and how it ends.
fn read(bytes: &[u8], size: usize) -> (Vec<Vec<u8>>, Option<Result<(), CallError>>) {
    let mut body = Body::default();
    let mut messages = Vec::new();
    for piece in bytes.chunks(size) {
        body.room(piece.len()).copy_from_slice(piece);
        loop {
            match body.next_part() {
                Ok(Some(Part::Message(message))) => messages.push(message.to_vec()),
                Ok(Some(Part::End)) => return (messages, Some(Ok(()))),
                Err(error) => return (messages, Some(Err(error))),
                Ok(None) => break,
            }
        }
    }
    (messages, None)
}

/// The frames of a stream in pieces. Every four bytes of `alterations` lose, repeat or alter a frame.
fn altered_stream(stream: &[Frame], alterations: &[u8]) -> Vec<Bytes> {
    let mut pieces: Vec<Bytes> = stream.iter().map(encode).collect();
    for alteration in alterations.chunks_exact(4).take(samples::MAX_ALTERATIONS) {
        let &[which, at, what, byte] = alteration else { continue };
        let which = usize::from(which) % pieces.len();
        match what {
            0..=15 if pieces.len() > 1 => drop(pieces.remove(which)),
            16..=31 => pieces.insert(usize::from(at) % pieces.len(), pieces[which].clone()),
            _ => pieces[which] = samples::altered(&pieces[which], &[at, 0, what, byte]).into(),
        }
    }
    pieces
}

fn follow(replica: Replica, pieces: impl IntoIterator<Item = Bytes>) {
    let mut follower = Follower::new(replica);
    for mut piece in pieces {
        loop {
            let before = piece.clone();
            match decode_next(&mut piece) {
                Ok(Some(frame)) => {
                    is_delimited(&before[..before.len() - piece.len()]);
                    survives(&frame);
                    follower.handle_frame(frame);
                }
                Ok(None) => break,
                Err(error) => {
                    assert!(!error.to_string().is_empty());
                    follower.lose_link();
                    break;
                }
            }
        }
    }
}

/// A decoded frame is not compressed, and as long as its prefix says.
fn is_delimited(bytes: &[u8]) {
    let (prefix, message) = bytes.split_at(5);
    let length = u32::try_from(message.len()).map(u32::to_be_bytes);
    assert_eq!((prefix[0], Ok(&prefix[1..])), (0, length.as_ref().map(|length| &length[..])));
}

fn survives(frame: &Frame) {
    let mut encoded = encode(frame);
    assert_eq!(decode_next(&mut encoded).as_ref(), Ok(&Some(frame.clone())));
    assert!(encoded.is_empty());
}

/// Drives a replica as a session does, and computes what it may hold.
struct Follower {
    replica: Replica,
    now: Moment,
    /// The state that follows from the snapshots and batches in its notices.
    justified: Option<Snapshot>,
}

impl Follower {
    fn new(replica: Replica) -> Self {
        let justified = replica.snapshot();
        let mut follower = Self { replica, now: Moment::default(), justified };
        follower.settle();
        follower
    }

    fn handle_frame(&mut self, frame: Frame) {
        self.now = self.now.plus(Duration::from_millis(7));
        self.replica.handle_frame(frame, self.now);
        self.settle();
    }

    fn lose_link(&mut self) {
        self.replica.handle_closed(self.now);
        self.settle();
    }

    /// Takes the replica's notices and actions, and connects it again.
    fn settle(&mut self) {
        self.take();
        if matches!(self.replica.state(), State::Waiting | State::Stale) {
            let due = self.replica.poll_timeout();
            assert!(due.since(self.now) < Duration::from_secs(3_600), "it waits for {:?}", due.since(self.now));
            self.now = self.now.max(due);
            self.replica.handle_timeout(self.now);
            let held = self.replica.snapshot().map(|held| (held.log(), held.position()));
            match self.replica.poll_action() {
                Some(Action::Connect(asked)) => {
                    assert_eq!(asked.resume.map(|resume| (resume.log, resume.position)), held);
                }
                other => panic!("it should connect, and asks for {other:?}"),
            }
            self.take();
        }
    }

    fn take(&mut self) {
        while let Some(action) = self.replica.poll_action() {
            assert_eq!(action, Action::Disconnect, "it connects only when its time has come");
        }
        while let Some(notice) = self.replica.poll_notice() {
            match notice {
                Notice::SnapshotLoaded { snapshot } => self.justified = Some(snapshot),
                Notice::Applied { value_before, batch } => {
                    let before = self.justified.expect("a batch was applied to nothing");
                    assert_eq!((value_before, batch.first()), (before.value(), before.position().index.next()));
                    let after = batch.replay(before.value(), before.position().digest);
                    let (value, digest) = after.expect("a batch was applied that does not apply");
                    assert_eq!(digest, batch.digest(), "a batch was applied that does not lead where it says");
                    self.justified = Some(Snapshot::take(before.log(), batch.end(), value));
                }
                _ => {}
            }
        }
        match self.replica.snapshot() {
            Some(held) => {
                assert_eq!(Some(held), self.justified, "it holds what no frame said");
                assert!(held.position().index <= self.replica.tail(), "it is beyond the leader's tail");
            }
            None => self.justified = None,
        }
        if let Some(welcome) = self.replica.welcome() {
            assert!(welcome.floor <= welcome.tail && welcome.tail <= self.replica.tail());
        }
    }
}
