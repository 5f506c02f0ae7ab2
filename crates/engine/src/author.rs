//! Who submitted what: authors of events, for people. Nobody verifies them, and no digest covers them.

use std::collections::BTreeMap;

/// The most bytes of a replica's id, and of its name.
pub const MAX_IDENTITY_BYTES: usize = 64;

/// What the authors of one batch may cost, in bytes of a frame at most. With as many operations as a batch may hold, the
/// weakest supported link still gets through it in less than four seconds.
pub const MAX_AUTHOR_BYTES: usize = 2_048;

/// What an identity costs beside its two texts, and what a run costs, in bytes of a frame at most.
const IDENTITY_BYTES: usize = 9;
const RUN_BYTES: usize = 8;

/// Stands in a run for an author that is not known.
const UNKNOWN: u32 = u32::MAX;

/// The identity that a replica, or who submits, gives. Only its lengths are checked; it is for people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    /// Chosen at random by the replica when it starts; empty if it gives none. At most [`MAX_IDENTITY_BYTES`] long.
    pub id: String,
    /// A name for people, at most [`MAX_IDENTITY_BYTES`] long. Need not be unique.
    pub name: String,
    /// What program it is.
    pub kind: ReplicaKind,
}

/// What program a replica is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ReplicaKind {
    /// The replica does not say.
    #[default]
    Unknown,
    /// A process of its own.
    Native,
    /// A page in a browser.
    Browser,
}

/// The author of one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Author<'a> {
    /// The leader's own generator. Events that a leader of an earlier version committed look like this, too.
    Generator,
    /// Somebody who did not say who it is.
    Unnamed,
    /// Somebody who claims to be this.
    Named(&'a Identity),
    /// It is not known.
    Unknown,
}

/// The authors of consecutive events: a dictionary, and runs of events with the same author.
///
/// Any dictionary with any runs has a meaning, because it comes from outside: an event whose author is not in the dictionary
/// has one that is not known, and events after the last run are the generator's.
///
/// ```
/// use engine::{Author, Authors, Identity};
///
/// let me = Identity { name: "me".to_owned(), ..Identity::default() };
/// let mut authors = Authors::default();
/// // The first two events are the generator's.
/// assert!(authors.add(2, Some(&me)));
/// assert!(authors.add(3, None));
/// let each: Vec<_> = authors.each().take(5).collect();
/// use Author::{Generator, Named, Unnamed};
/// assert_eq!(each, [Generator, Generator, Named(&me), Unnamed, Generator]);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Authors {
    dictionary: Vec<Identity>,
    runs: Vec<AuthorRun>,
}

/// Consecutive events with the same author.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AuthorRun {
    /// How many events.
    pub events: u32,
    /// The author's place in the dictionary, from 1; 0 for the leader's generator. Beyond the dictionary, the author is not
    /// known.
    pub author: u32,
}

/// What one more event adds.
struct Addition {
    /// Where its author is in the dictionary, from 0.
    known: Option<usize>,
    /// How many events of the generator are before it.
    between: usize,
    cost: usize,
}

impl Authors {
    /// The authors that a dictionary and runs name.
    #[must_use]
    pub fn new(dictionary: Vec<Identity>, runs: Vec<AuthorRun>) -> Self {
        Self { dictionary, runs }
    }

    /// For `events` events whose authors are not known.
    #[must_use]
    pub fn unknown(events: usize) -> Self {
        let run = AuthorRun { events: u32::try_from(events).unwrap_or(u32::MAX), author: UNKNOWN };
        Self { dictionary: Vec::new(), runs: vec![run] }
    }

    /// The authors of consecutive events, however many bytes they take.
    #[must_use]
    pub fn of<'a>(each: impl IntoIterator<Item = Author<'a>>) -> Self {
        let unnamed = Identity::default();
        let mut places = BTreeMap::new();
        let mut authors = Self::default();
        let mut generated = 0;
        for author in each {
            let identity = match author {
                Author::Generator => {
                    generated += 1;
                    continue;
                }
                Author::Named(identity) => Some(identity.clone()),
                Author::Unnamed => Some(unnamed.clone()),
                Author::Unknown => None,
            };
            let place = identity.map_or(UNKNOWN, |identity| {
                *places.entry(identity).or_insert_with_key(|identity| {
                    authors.dictionary.push(identity.clone());
                    u32::try_from(authors.dictionary.len()).unwrap_or(UNKNOWN)
                })
            });
            authors.extend_run(0, std::mem::take(&mut generated));
            authors.extend_run(place, 1);
        }
        authors
    }

    /// Who occurs, each once if this version wrote it.
    #[must_use]
    pub fn dictionary(&self) -> &[Identity] {
        &self.dictionary
    }

    /// The runs, from the first event on.
    #[must_use]
    pub fn runs(&self) -> &[AuthorRun] {
        &self.runs
    }

    /// The author of each event, without end.
    pub fn each(&self) -> impl Iterator<Item = Author<'_>> + '_ {
        let runs = self.runs.iter().flat_map(|run| std::iter::repeat_n(self.author(run.author), run.events as usize));
        runs.chain(std::iter::repeat(Author::Generator))
    }

    /// The author of the event at `offset`, from 0. To look at many, [`each`](Self::each) is faster.
    #[must_use]
    pub fn author_of(&self, offset: usize) -> Author<'_> {
        let mut left = offset;
        for run in &self.runs {
            match left.checked_sub(run.events as usize) {
                Some(after) => left = after,
                None => return self.author(run.author),
            }
        }
        Author::Generator
    }

    /// Notes that `identity` submitted the event at `offset`, which lies after all that were noted before. Returns `false`
    /// and does nothing if there is no room.
    pub fn add(&mut self, offset: usize, identity: Option<&Identity>) -> bool {
        let addition = self.addition(offset, identity);
        if !self.fits(&addition) {
            return false;
        }
        let Addition { known, between, .. } = addition;
        if known.is_none() {
            self.dictionary.push(identity.cloned().unwrap_or_default());
        }
        let place = known.map_or(self.dictionary.len(), |known| known + 1);
        self.extend_run(0, between);
        self.extend_run(u32::try_from(place).unwrap_or(UNKNOWN), 1);
        true
    }

    /// Whether [`add`](Self::add) has room. It always has for the first.
    #[must_use]
    pub fn has_room(&self, offset: usize, identity: Option<&Identity>) -> bool {
        self.fits(&self.addition(offset, identity))
    }

    fn fits(&self, addition: &Addition) -> bool {
        // A batch that has none yet takes any, so that whoever submits gets ahead.
        self.dictionary.is_empty() || self.cost() + addition.cost <= MAX_AUTHOR_BYTES
    }

    fn addition(&self, offset: usize, identity: Option<&Identity>) -> Addition {
        let unnamed = Identity::default();
        let identity = identity.unwrap_or(&unnamed);
        let known = self.dictionary.iter().position(|known| known == identity);
        let noted: usize = self.runs.iter().map(|run| run.events as usize).sum();
        let between = offset.saturating_sub(noted);
        let last = self.runs.last().filter(|_| between == 0);
        let continues = known.is_some_and(|known| last.is_some_and(|run| run.author as usize == known + 1));
        let new_runs = usize::from(between > 0) + usize::from(!continues);
        let cost = new_runs * RUN_BYTES + if known.is_none() { cost(identity) } else { 0 };
        Addition { known, between, cost }
    }

    /// What the dictionary and the runs take in a frame, in bytes at most.
    #[must_use]
    pub fn cost(&self) -> usize {
        self.runs.len() * RUN_BYTES + self.dictionary.iter().map(cost).sum::<usize>()
    }

    fn extend_run(&mut self, author: u32, events: usize) {
        let events = u32::try_from(events).unwrap_or(u32::MAX);
        match self.runs.last_mut().filter(|run| run.author == author) {
            Some(run) => run.events += events,
            None if events > 0 => self.runs.push(AuthorRun { events, author }),
            None => {}
        }
    }

    fn author(&self, place: u32) -> Author<'_> {
        let Some(place) = place.checked_sub(1) else { return Author::Generator };
        match self.dictionary.get(place as usize) {
            Some(identity) if identity.id.is_empty() && identity.name.is_empty() => Author::Unnamed,
            Some(identity) => Author::Named(identity),
            None => Author::Unknown,
        }
    }
}

fn cost(identity: &Identity) -> usize {
    IDENTITY_BYTES + identity.id.len() + identity.name.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Identity {
        Identity { id: format!("id-{name}"), name: name.to_owned(), kind: ReplicaKind::Native }
    }

    fn names(authors: &Authors, events: usize) -> Vec<String> {
        let each: Vec<_> = authors.each().take(events).collect();
        assert_eq!(each, (0..events).map(|offset| authors.author_of(offset)).collect::<Vec<_>>());
        let name = |author: Author<'_>| match author {
            Author::Generator => "-".to_owned(),
            Author::Unnamed => "?".to_owned(),
            Author::Named(identity) => identity.name.clone(),
            Author::Unknown => "!".to_owned(),
        };
        each.into_iter().map(name).collect()
    }

    #[test]
    fn each_event_has_the_author_that_was_noted() {
        let mut authors = Authors::default();
        let (a, b) = (named("a"), named("b"));
        for (offset, identity) in [(1, Some(&a)), (2, Some(&a)), (3, Some(&b)), (6, None), (7, Some(&a))] {
            assert!(authors.add(offset, identity));
        }
        assert_eq!(names(&authors, 9), ["-", "a", "a", "b", "-", "-", "?", "a", "-"]);
        assert_eq!((authors.dictionary().len(), authors.runs().len()), (3, 6));
    }

    #[test]
    fn the_authors_of_several_batches_become_those_of_a_page() {
        let (a, b) = (named("a"), named("b"));
        let (mut first, mut second) = (Authors::default(), Authors::default());
        first.add(1, Some(&a));
        first.add(2, None);
        second.add(0, Some(&b));
        second.add(1, Some(&a));
        let unknown = Authors::unknown(1);
        let page = Authors::of(first.each().take(4).chain(second.each().skip(1).take(2)).chain(unknown.each().take(2)));
        assert_eq!(names(&page, 8), ["-", "a", "?", "-", "a", "-", "!", "-"]);
        assert_eq!(page.dictionary(), [a, Identity::default()]);
    }

    #[test]
    fn the_generator_costs_nothing() {
        assert_eq!((Authors::default().cost(), names(&Authors::default(), 2)), (0, vec!["-".to_owned(); 2]));
    }

    #[test]
    fn what_does_not_fit_is_refused_and_changes_nothing() {
        let mut authors = Authors::default();
        let mut taken = 0;
        loop {
            let before = authors.clone();
            let next = Identity { id: format!("{taken:064}"), ..named(&format!("{taken:064}")) };
            assert_eq!(authors.has_room(taken, Some(&next)), authors.cost() + 9 + 128 + 8 <= MAX_AUTHOR_BYTES);
            if !authors.add(taken, Some(&next)) {
                assert_eq!(authors, before);
                break;
            }
            taken += 1;
        }
        assert!((10..20).contains(&taken), "{taken} of the longest identities fit");
        assert!(Authors::default().has_room(0, Some(&named(&"x".repeat(3_000)))), "the first always fits");
        // One that is known already still fits if its run goes on.
        let last = authors.dictionary().last().cloned();
        assert!(authors.add(taken, last.as_ref()));
    }

    #[test]
    fn a_dictionary_and_runs_that_do_not_fit_together_are_not_known() {
        let run = |events, author| AuthorRun { events, author };
        let runs = vec![run(1, 1), run(0, 1), run(1, 2), run(1, UNKNOWN), run(u32::MAX, 0), run(u32::MAX, 7)];
        let authors = Authors::new(vec![named("a")], runs);
        assert_eq!(names(&authors, 5), ["a", "!", "!", "-", "-"]);
        assert_eq!(names(&Authors::unknown(2), 2), ["!", "!"]);
    }
}
