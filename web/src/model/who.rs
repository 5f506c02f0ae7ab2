//! Who submitted an event, as the page names it.

use std::rc::Rc;

use engine::{Author, Authors, Identity};

/// Who submitted an event. Except for the generator, it is a claim that nobody verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// The leader's own generator.
    Generator,
    /// Somebody with an identity. Cheap to clone.
    Named(Rc<Identity>),
    /// Somebody who did not say.
    Unnamed,
    /// It is not known: the leader is older than authors, or what it sent cannot be read.
    Unknown,
}

impl Who {
    /// Who submitted each of `events` events.
    #[must_use]
    pub fn each(authors: &Authors, events: usize) -> Vec<Self> {
        let mut last: Option<Rc<Identity>> = None;
        let who = |author: Author<'_>| match author {
            Author::Generator => Self::Generator,
            Author::Unnamed => Self::Unnamed,
            Author::Unknown => Self::Unknown,
            Author::Named(identity) => {
                let known = last.take().filter(|known| **known == *identity);
                let known = known.unwrap_or_else(|| Rc::new(identity.clone()));
                last = Some(Rc::clone(&known));
                Self::Named(known)
            }
        };
        authors.each().take(events).map(who).collect()
    }

    /// Whether it is the replica with the id `own`.
    #[must_use]
    pub fn is(&self, own: &str) -> bool {
        matches!(self, Self::Named(identity) if !own.is_empty() && identity.id == own)
    }

    /// The name for people, and for the filter of the event log. Nothing if it is not known.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Named(identity) if identity.name.is_empty() => &identity.id,
            Self::Named(identity) => &identity.name,
            Self::Generator => "generator",
            Self::Unnamed => "somebody",
            Self::Unknown => "",
        }
    }
}
