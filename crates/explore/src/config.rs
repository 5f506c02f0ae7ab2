//! The worlds that are explored.

use engine::Operation;

use crate::budget::Kind;
use crate::client::OPERATIONS;

/// A world to explore: what is in it, and how often each thing may happen.
#[derive(Debug)]
pub struct WorldConfig {
    /// One word.
    pub name: &'static str,
    /// What can happen in it.
    pub about: &'static str,
    /// Whether a power cut can take what was acknowledged (`Durability::Os`).
    pub(crate) forgetful: bool,
    /// What the client submits, and whether it expects that nothing else comes before. Each is submitted once.
    pub(crate) operations: &'static [(Operation, bool)],
    pub(crate) limits: &'static [(Kind, u8)],
    /// How many failures may happen in all, in a run of the checks.
    pub failures: u8,
    /// Whether the replica asks for a stream before the world is healed.
    pub(crate) has_replica: bool,
    /// How many frames the ring holds.
    pub(crate) ring_frames: usize,
    /// How many frames can be on their way to the replica.
    pub(crate) link_frames: usize,
}

const SUBTRACT: (Operation, bool) = (Operation::Subtract(7), false);
/// Refused after [`SUBTRACT`] alone, and not without it.
const ROOT: (Operation, bool) = (Operation::SquareRoot, false);
const ADD_NEXT: (Operation, bool) = (Operation::Add(1_000), true);

/// The worlds of the checks, the smallest first.
pub const WORLDS: [WorldConfig; 5] = [
    WorldConfig {
        name: "altering",
        about: "a link that alters, and a replica that restarts",
        forgetful: false,
        operations: &[],
        limits: &[
            (Kind::Draw, 3),
            (Kind::Compaction, 1),
            (Kind::Alter, 1),
            (Kind::Drop, 1),
            (Kind::ReplicaRestart, 1),
            (Kind::Stop, 1),
            (Kind::TakeOver, 1),
        ],
        failures: 3,
        has_replica: true,
        ring_frames: 1,
        link_frames: 2,
    },
    WorldConfig {
        name: "producer",
        about: "a producer whose calls and answers are late and lost, and leaders that fail",
        forgetful: false,
        operations: &[SUBTRACT, ROOT, ADD_NEXT],
        limits: &[
            (Kind::Draw, 1),
            (Kind::Unanswered, 2),
            (Kind::GiveUp, 1),
            (Kind::Reload, 1),
            (Kind::Crash, 1),
            (Kind::Stop, 1),
            (Kind::TakeOver, 1),
            (Kind::FullStore, 1),
            (Kind::UnknownOutcome, 1),
        ],
        failures: 3,
        has_replica: false,
        ring_frames: 1,
        link_frames: 2,
    },
    WorldConfig {
        name: "forgetful",
        about: "a log that forgets what was not synced when the power is cut",
        forgetful: true,
        operations: &[],
        limits: &[
            (Kind::Draw, 4),
            (Kind::Compaction, 1),
            (Kind::Drop, 1),
            (Kind::Hang, 1),
            (Kind::Crash, 1),
            (Kind::PowerLoss, 2),
        ],
        failures: 3,
        has_replica: true,
        ring_frames: 2,
        link_frames: 2,
    },
    WorldConfig {
        name: "link",
        about: "a link that drops, repeats, exchanges and cuts, and leaders that are replaced",
        forgetful: false,
        operations: &[],
        limits: &[
            (Kind::Draw, 3),
            (Kind::Heartbeat, 1),
            (Kind::Compaction, 1),
            (Kind::Drop, 2),
            (Kind::Repeat, 2),
            (Kind::Exchange, 2),
            (Kind::Cut, 2),
            (Kind::Hang, 1),
            (Kind::Crash, 1),
            (Kind::TakeOver, 1),
        ],
        failures: 2,
        has_replica: true,
        ring_frames: 2,
        link_frames: 3,
    },
    WorldConfig {
        name: "together",
        about: "a producer and a replica, and whatever can fail",
        forgetful: false,
        operations: &[SUBTRACT, ADD_NEXT],
        limits: &[
            (Kind::Draw, 1),
            (Kind::Heartbeat, 1),
            (Kind::Drop, 1),
            (Kind::Exchange, 1),
            (Kind::Hang, 1),
            (Kind::Unanswered, 1),
            (Kind::Crash, 1),
            (Kind::Stop, 1),
            (Kind::TakeOver, 1),
            (Kind::FullStore, 1),
            (Kind::UnknownOutcome, 1),
        ],
        failures: 1,
        has_replica: true,
        ring_frames: 1,
        link_frames: 2,
    },
];

const _: () = {
    let mut at = 0;
    while at < WORLDS.len() {
        assert!(WORLDS[at].operations.len() <= OPERATIONS);
        at += 1;
    }
};
