//! The words of the field, as the page explains them.

/// A word that the page explains where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// The place of an event in the log.
    Index,
    /// The newest event.
    Tail,
    /// The running hash.
    Digest,
    /// The count of leaders.
    Term,
    /// A value at a position.
    Snapshot,
    /// Missing events.
    Gap,
    /// Going on from the own position.
    Resume,
    /// Where history starts.
    Floor,
    /// Two histories.
    Divergence,
    /// A sign of life.
    Heartbeat,
    /// What draws random operations.
    Generator,
}

impl Word {
    /// All words.
    pub const ALL: [Self; 11] = [
        Self::Index,
        Self::Tail,
        Self::Digest,
        Self::Term,
        Self::Snapshot,
        Self::Gap,
        Self::Resume,
        Self::Floor,
        Self::Divergence,
        Self::Heartbeat,
        Self::Generator,
    ];

    /// The word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Index => "Index",
            Self::Tail => "Tail",
            Self::Digest => "Digest",
            Self::Term => "Term",
            Self::Snapshot => "Snapshot",
            Self::Gap => "Gap",
            Self::Resume => "Resume",
            Self::Floor => "Floor",
            Self::Divergence => "Divergence",
            Self::Heartbeat => "Heartbeat",
            Self::Generator => "Generator",
        }
    }

    /// The word with this name, in lower case.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|word| word.name().eq_ignore_ascii_case(name))
    }

    /// What a text of a telling is about: the first of these words that it uses, unless it says that there was none.
    #[must_use]
    pub fn main_in(text: &str) -> Option<Self> {
        let uses = |wanted: Self| {
            let mut before = "";
            text.split(|c: char| !c.is_alphabetic()).any(|word| {
                let is_used = Self::by_name(word) == Some(wanted) && !["no", "not"].contains(&before);
                before = word;
                is_used
            })
        };
        [Self::Gap, Self::Divergence, Self::Resume, Self::Snapshot, Self::Heartbeat, Self::Term, Self::Digest]
            .into_iter()
            .find(|word| uses(*word))
    }

    /// What it means.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Index => {
                "Each operation in the log has a number, from 1. Two replicas at the same index have done exactly the same \
                 operations."
            }
            Self::Tail => {
                "The newest operation in the leader’s log. A replica that has applied it is level with the leader."
            }
            Self::Digest => {
                "A fingerprint of the whole history up to an index: a 64-bit hash, made from the digest before it, the \
                 operation and the new value. If two replicas have the same digest at the same index, they did the same \
                 operations in the same order. Change one old operation, and every later digest differs."
            }
            Self::Term => {
                "Counts the leaders that opened this log. After a restart the leader has the next term. A leader with a lower \
                 term than one already seen is out of date, and replicas leave it."
            }
            Self::Snapshot => {
                "The value at an index, without the operations that led to it. A replica takes one when the leader cannot send \
                 it the operations that it lacks, or when what it holds turned out wrong."
            }
            Self::Gap => {
                "Operations that did not arrive: the next one that comes does not follow the last one that was applied. A \
                 replica then applies nothing and asks again."
            }
            Self::Resume => {
                "To go on where one stopped. The replica names its index and digest. If the leader has the same digest there, \
                 they share all of history up to it, and only the later operations are sent."
            }
            Self::Floor => {
                "Where the leader’s history starts. It is #0 until the log has grown long; then the oldest operations are \
                 dropped to save room, and a snapshot stands for them."
            }
            Self::Heartbeat => {
                "What the leader sends when it has nothing else to say: that it is there, and where its log ends. So a replica \
                 also misses the last operation of all."
            }
            Self::Generator => {
                "The leader draws random operations by itself, so that there is something to see. People’s own operations go \
                 into the same log."
            }
            Self::Divergence => {
                "A replica holds another value or history than the leader at the same index. Its digest shows it at once. It \
                 drops what it holds and takes a snapshot."
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_that_a_text_is_about_is_found() {
        assert_eq!(Word::main_in("A gap: a snapshot follows."), Some(Word::Gap));
        assert_eq!(Word::main_in("“I hold #12 with digest 12…34.” The leader agrees: resume."), Some(Word::Resume));
        assert_eq!(Word::main_in("2 events came. 38 ms in truth, no snapshot."), None);
        assert_eq!(Word::main_in("The leader does not resume: a snapshot."), Some(Word::Snapshot));
        assert_eq!(Word::main_in("One is missing"), None);
        assert!(Word::ALL.into_iter().all(|word| Word::by_name(word.name()) == Some(word)));
    }
}
