//! What can happen next.

use std::fmt;

use crate::budget::Kind;
use crate::log::Luck;

/// A leader's place in a world: 0 for the one that started first of those that run.
pub(crate) type Seat = u8;

/// One step of a world. Everything in a step happens at once; anything can happen between two steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    // Leaders.
    Start,
    TakeOver,
    Crash(Seat),
    LosePower { left: u8 },
    Stop(Seat),
    Goodbye(Seat),
    Exit(Seat),
    Notice(Seat),
    // The log.
    Draw(Seat),
    Append(Seat, Luck),
    Commit(Seat),
    Beat(Seat),
    Compact,
    // The client.
    Send,
    Arrive { call: u8, seat: Seat },
    Answer,
    NoAnswer { in_vain: bool },
    GiveUp,
    Reload,
    // The replica and its stream.
    Connect(Seat),
    Push,
    Deliver,
    Drop,
    Repeat,
    Exchange,
    Alter,
    Cut,
    Hang,
    Closed,
    Timeout,
    Restart { keeps: bool },
}

impl Action {
    /// What it takes from the budget.
    pub(crate) fn kind(self) -> Option<Kind> {
        Some(match self {
            Self::TakeOver => Kind::TakeOver,
            Self::Crash(_) => Kind::Crash,
            Self::LosePower { .. } => Kind::PowerLoss,
            Self::Stop(_) => Kind::Stop,
            Self::Draw(_) => Kind::Draw,
            Self::Append(_, Luck::Full) => Kind::FullStore,
            Self::Append(_, Luck::Unknown { .. }) => Kind::UnknownOutcome,
            Self::Beat(_) => Kind::Heartbeat,
            Self::Compact => Kind::Compaction,
            Self::NoAnswer { in_vain: false } => Kind::Unanswered,
            Self::GiveUp => Kind::GiveUp,
            Self::Reload => Kind::Reload,
            Self::Drop => Kind::Drop,
            Self::Repeat => Kind::Repeat,
            Self::Exchange => Kind::Exchange,
            Self::Alter => Kind::Alter,
            Self::Cut => Kind::Cut,
            Self::Hang => Kind::Hang,
            Self::Restart { .. } => Kind::ReplicaRestart,
            Self::Start
            | Self::Goodbye(_)
            | Self::Exit(_)
            | Self::Notice(_)
            | Self::Append(_, Luck::Written)
            | Self::Commit(_)
            | Self::Send
            | Self::Arrive { .. }
            | Self::Answer
            | Self::NoAnswer { in_vain: true }
            | Self::Connect(_)
            | Self::Push
            | Self::Deliver
            | Self::Closed
            | Self::Timeout => return None,
        })
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let which = |seat: &Seat| if *seat == 0 { "the first leader" } else { "the second leader" };
        match self {
            Self::Start => f.write_str("a leader starts"),
            Self::TakeOver => f.write_str("a second leader takes over"),
            Self::Crash(seat) => write!(f, "{} is killed", which(seat)),
            Self::LosePower { left } => write!(f, "power is lost, and all commits but {left}"),
            Self::Stop(seat) => write!(f, "{} is told to stop", which(seat)),
            Self::Goodbye(seat) => write!(f, "{} says goodbye", which(seat)),
            Self::Exit(seat) => write!(f, "{} exits", which(seat)),
            Self::Notice(seat) => write!(f, "{} notices that it was replaced", which(seat)),
            Self::Draw(seat) => write!(f, "{} makes an operation up", which(seat)),
            Self::Append(seat, Luck::Written) => write!(f, "{} appends its open batch", which(seat)),
            Self::Append(seat, Luck::Full) => {
                write!(f, "{} appends its open batch, and the store is full", which(seat))
            }
            Self::Append(seat, Luck::Unknown { written }) => {
                write!(f, "{} appends its open batch, and the store fails (written: {written})", which(seat))
            }
            Self::Commit(seat) => write!(f, "{} publishes the batch and answers", which(seat)),
            Self::Beat(seat) => write!(f, "{} sends a heartbeat", which(seat)),
            Self::Compact => f.write_str("the store compacts the oldest batch away"),
            Self::Send => f.write_str("the client sends its operation"),
            Self::Arrive { call, seat } => write!(f, "call {call} arrives at {}", which(seat)),
            Self::Answer => f.write_str("the answer arrives"),
            Self::NoAnswer { .. } => f.write_str("no answer comes in time"),
            Self::GiveUp => f.write_str("the client waits for its operation no more"),
            Self::Reload => f.write_str("the client comes back with the operation that it saved"),
            Self::Connect(seat) => write!(f, "the replica subscribes with {}", which(seat)),
            Self::Push => f.write_str("the leader sends the next frame"),
            Self::Deliver => f.write_str("the next frame arrives"),
            Self::Drop => f.write_str("the next frame is lost"),
            Self::Repeat => f.write_str("the next frame arrives, and will again"),
            Self::Exchange => f.write_str("the next two frames change places"),
            Self::Alter => f.write_str("the next frame is altered"),
            Self::Cut => f.write_str("the stream breaks"),
            Self::Hang => f.write_str("the stream breaks silently"),
            Self::Closed => f.write_str("the replica learns that the stream has ended"),
            Self::Timeout => f.write_str("the replica's deadline passes"),
            Self::Restart { keeps } => write!(f, "the replica restarts (keeps its state: {keeps})"),
        }
    }
}
