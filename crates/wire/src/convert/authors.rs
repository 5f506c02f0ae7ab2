//! The authors that `Batch` and `ReadEventsResponse` carry, and their message `AuthorRun`.

use engine::{AuthorRun, Authors, Identity};

use crate::pb;

/// The dictionary and the runs of `authors`, as they travel.
pub(super) fn to_wire(authors: &Authors) -> (Vec<pb::Replica>, Vec<pb::AuthorRun>) {
    let dictionary = authors.dictionary().iter().cloned().map(Into::into).collect();
    let runs = authors.runs().iter().map(|run| pb::AuthorRun { events: run.events, author: run.author }).collect();
    (dictionary, runs)
}

/// What travelled as `dictionary` and `runs`. Nobody depends on authors, so those that break the contract are not known
/// instead of an error.
pub(super) fn from_wire(dictionary: Vec<pb::Replica>, runs: Vec<pb::AuthorRun>) -> Authors {
    let mut malformed = Vec::new();
    let mut identities = Vec::with_capacity(dictionary.len());
    for (place, replica) in (1_u32..).zip(dictionary) {
        identities.push(Identity::try_from(replica).unwrap_or_else(|_| {
            malformed.push(place);
            Identity::default()
        }));
    }
    let run = |run: pb::AuthorRun| {
        let author = if malformed.contains(&run.author) { u32::MAX } else { run.author };
        AuthorRun { events: run.events, author }
    };
    let runs = runs.into_iter().map(run).collect();
    Authors::new(identities, runs)
}

#[cfg(test)]
mod tests {
    use engine::Author;
    use engine::author::MAX_AUTHOR_BYTES;
    use prost::Message;

    use super::*;
    use crate::ReplicaKind;

    fn batch(authors: &Authors) -> pb::Batch {
        let (authors, author_runs) = to_wire(authors);
        pb::Batch { authors, author_runs, ..Default::default() }
    }

    #[test]
    fn authors_cost_no_more_in_a_frame_than_was_counted() {
        for (length, alternate) in [(0, 1), (1, 2), (1, 500), (64, 100), (64, 2)] {
            let mut authors = Authors::default();
            for offset in 0.. {
                // The generator is in between, and numbers are large.
                let text = format!("{:0length$}", offset % alternate);
                let identity = Identity { id: text.clone(), name: text, kind: ReplicaKind::Browser };
                let identity = (length > 0).then_some(&identity);
                if !authors.add(offset * 300, identity) {
                    break;
                }
                assert!(batch(&authors).encoded_len() <= authors.cost());
            }
            assert!(authors.cost() > MAX_AUTHOR_BYTES - 200, "{length}, {alternate}: {}", authors.cost());
        }
    }

    #[test]
    fn authors_that_break_the_contract_are_not_known() {
        let mut authors = Authors::default();
        for (offset, name) in ["anna", "bert"].into_iter().enumerate() {
            authors.add(offset, Some(&Identity { name: name.to_owned(), ..Identity::default() }));
        }
        let mut message = batch(&authors);
        message.authors[0].name = "n".repeat(65);
        message.author_runs.push(pb::AuthorRun { events: 1, author: 3 });
        let read = from_wire(message.authors, message.author_runs);
        let each: Vec<_> = read.each().take(4).collect();
        let bert = Author::Named(&authors.dictionary()[1]);
        assert_eq!(each, [Author::Unknown, bert, Author::Unknown, Author::Generator]);
    }
}
