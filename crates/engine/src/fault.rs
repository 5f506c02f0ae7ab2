//! Deliberate faults, with which the simulation and the model checker prove that they find faults.
//!
//! They exist only with the feature `faults`. Without it [`active`] is always `false`, and the compiler drops what depends on
//! it.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A fault that can be switched on. Each one breaks a promise of the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    /// A replica applies a batch that does not follow what it holds.
    SkipGapCheck,
    /// A replica applies a batch that it applied before.
    ApplyDuplicates,
    /// A replica leaves out the last operation of a batch.
    ApplyInPart,
    /// A replica does not compare its digest with a batch's.
    SkipDigestCheck,
    /// A replica follows a leader whose term is lower than one it saw.
    AcceptLowerTerm,
    /// A replica never notices that its leader is silent.
    NeverStale,
    /// A leader resumes a replica without comparing digests.
    ResumeWithoutDigestCheck,
    /// A leader leaves out the first event after the position that a replica resumes from.
    ResumeOneTooLate,
    /// A leader that starts does not remember who submitted what.
    ForgetProducers,
    /// A leader takes a repeated submission for a new one.
    AcceptRepeats,
    /// A leader takes a submission with an older sequence than the last.
    AcceptStaleSequence,
    /// A leader does not compare the expected index with the log.
    IgnoreExpectedIndex,
    /// A leader keeps the value of operations that the store did not take.
    KeepRolledBack,
    /// A leader answers before the store has made the operation durable.
    AcknowledgeBeforeDurable,
    /// A leader sends a batch to replicas before the store has made it durable.
    PublishBeforeDurable,
    /// A leader carries on after another one took over the log.
    IgnoreFencing,
    /// An idle leader does not learn that another one took over the log.
    TrustOldTerm,
    /// A leader takes a commit whose outcome it does not know for one that did not happen.
    ForgetUnknownOutcome,
    /// A leader says goodbye to a replica before it has sent it everything.
    GoodbyeFirst,
    /// A leader acknowledges operations after its goodbye, though they reach no replica.
    AcknowledgeAfterGoodbye,
    /// A leader names somebody as the author of the event after the one that they submitted.
    MisplaceAuthors,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 21] = [
        Self::SkipGapCheck,
        Self::ApplyDuplicates,
        Self::ApplyInPart,
        Self::SkipDigestCheck,
        Self::AcceptLowerTerm,
        Self::NeverStale,
        Self::ResumeWithoutDigestCheck,
        Self::ResumeOneTooLate,
        Self::ForgetProducers,
        Self::AcceptRepeats,
        Self::AcceptStaleSequence,
        Self::IgnoreExpectedIndex,
        Self::KeepRolledBack,
        Self::AcknowledgeBeforeDurable,
        Self::PublishBeforeDurable,
        Self::IgnoreFencing,
        Self::TrustOldTerm,
        Self::ForgetUnknownOutcome,
        Self::GoodbyeFirst,
        Self::AcknowledgeAfterGoodbye,
        Self::MisplaceAuthors,
    ];
}

/// The name on a command line: `skip-gap-check` for `SkipGapCheck`.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, letter) in format!("{self:?}").chars().enumerate() {
            if letter.is_uppercase() && place > 0 {
                f.write_str("-")?;
            }
            write!(f, "{}", letter.to_lowercase())?;
        }
        Ok(())
    }
}

/// A text that names no fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("choose from {}", Fault::ALL.map(|fault| fault.to_string()).join(", "))]
pub struct UnknownFault;

impl FromStr for Fault {
    type Err = UnknownFault;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|fault| fault.to_string() == text).ok_or(UnknownFault)
    }
}

#[cfg(feature = "faults")]
thread_local! {
    static ACTIVE: std::cell::Cell<Option<Fault>> = const { std::cell::Cell::new(None) };
}

/// Switches one fault on, or all off, for the current thread.
#[cfg(feature = "faults")]
pub fn switch(fault: Option<Fault>) {
    ACTIVE.set(fault);
}

/// Whether `fault` is switched on.
#[cfg(feature = "faults")]
#[must_use]
pub fn active(fault: Fault) -> bool {
    ACTIVE.get() == Some(fault)
}

/// Whether `fault` is switched on: never, without the feature `faults`.
#[cfg(not(feature = "faults"))]
#[must_use]
#[inline(always)]
pub const fn active(_fault: Fault) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_found_by_its_name() {
        for fault in Fault::ALL {
            assert_eq!(fault.to_string().parse(), Ok(fault));
        }
        assert_eq!(Fault::SkipGapCheck.to_string(), "skip-gap-check");
        assert_eq!("skip".parse::<Fault>(), Err(UnknownFault));
        assert!(UnknownFault.to_string().contains("never-stale"));
    }
}
