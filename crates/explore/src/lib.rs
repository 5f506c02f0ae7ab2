//! A model checker: it visits every state of small worlds, each with a log, leaders, a replica and a producer.
//!
//! The simulation (`sim`) draws long lives of large worlds at random. This crate leaves nothing to chance, and so it must keep
//! its worlds small: [`explore`] takes every step that is possible in every state, nearest states first, within a budget of
//! what may happen. Each state is judged by the promises that the simulation checks. Then it is healed: nothing fails any
//! more and everybody gets a turn, and it must come to rest with everybody in step. So a report that says "all" is a proof
//! for these worlds, and the way to a broken promise is a shortest one.
//!
//! What is explored is the code that ships: [`engine::leader::Intake`] and all that it decides,
//! [`engine::leader::Subscription`], [`engine::Replica`] and [`follower::Outbox`]. Around them is what drives them, as
//! small as it can be: `leader` takes the steps of the sequencer and the feed, `replica` those of the session loop, `log` is
//! the store. Bytes, tasks and time are not in it. A frame is never late and never old, since time passes only when a deadline
//! does; so the part *late* of the replica's states is left to other tests.
//!
//! # What can happen
//!
//! | step | when it is possible | what it does |
//! |---|---|---|
//! | a leader starts | none leads | takes the next term, and reads the log's end and its producers |
//! | a second leader takes over (b) | one leads | the same; the other goes on until it notices |
//! | a leader is killed (b) | it runs | what it had not written, sent or answered is gone |
//! | a leader is told to stop (b) | it leads | it takes no more calls |
//! | a leader says goodbye | it was told to stop, or may not write any more | gives up its open batch and publishes nothing more |
//! | a leader exits | it said goodbye | as if it were killed |
//! | a leader notices that it was replaced | its term is not the newest | whoever waits gets an answer, and it writes no more |
//! | power is lost (b) | the log forgets | all leaders are killed, and some or all of what was not synced is gone |
//! | a leader makes an operation up (b) | it leads, and no commit is under way | adds it to the open batch |
//! | a leader appends its open batch | no commit is under way | the store writes it, or refuses if another one leads |
//! | … and the store is full (b) | | the batch is rolled back, and its callers hear so |
//! | … and the store fails (b) | | the commit is written or not, and the leader ends |
//! | a leader publishes the batch and answers | its commit is under way | unless it said goodbye: then nobody learns the outcome |
//! | a leader sends a heartbeat (b) | it did not say goodbye | puts it into the ring |
//! | the store compacts (b) | two batches are in history | the floor rises to the end of the oldest |
//! | the client sends | it waits for nothing | begins its next operation, unless one is pending, and sends that |
//! | a call arrives at a leader | no commit is under way there | it is answered, or waits for the open batch |
//! | the answer arrives | there is one | the outbox decides what it means |
//! | no answer comes | it waits; (b) if one can still come | the outbox is in doubt; the call may arrive later all the same |
//! | the client gives up (b) | an operation is pending | the next one takes its number |
//! | the client comes back (b) | an operation is pending | it settles what it had saved, and goes on under a new name |
//! | the replica subscribes with a leader | it has no stream | a welcome, and a snapshot if need be, are on their way |
//! | the leader sends the next frame | there is one, and room on the way | takes it from the ring or the store |
//! | the next frame arrives | one is on its way | the replica handles it |
//! | the next frame is lost, repeated, altered (b) | one is on its way | |
//! | the next two frames change places (b) | two are on their way | |
//! | the stream breaks (b), silently or not | it is open | what is on its way is lost |
//! | the replica learns that the stream has ended | it has | it pauses; what is still on its way is lost |
//! | the replica's deadline passes | its stream broke silently | it gives the stream up |
//! | the replica restarts (b) | | it keeps what it holds, or not |
//!
//! Steps marked (b) take from the budget. All but draws, heartbeats and compactions are failures, which are bounded together
//! as well.
//!
//! The network does not copy calls by itself: TCP does not, and proxies do not repeat a POST that was sent. A copy that arrives
//! after its original was refused could be done then, and no producer would know.
mod action;
mod budget;
mod client;
pub mod config;
mod describe;
mod heal;
mod invariants;
mod leader;
mod log;
mod part;
mod replica;
mod ring;
mod search;
mod sights;
mod step;
mod stream;
mod world;

pub use invariants::BrokenPromise;
pub use search::{Bound, Broken, Exploration, explore};
pub use sights::{Sight, Sights};
