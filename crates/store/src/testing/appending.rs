//! What the writer takes.

use std::sync::Arc;

use engine::Index;

use super::model::{Model, read, read_all, submitted};
use super::{Setup, open};
use crate::{AppendError, NotNext, Store};

/// A batch that starts at or before the tail, or beyond the next event, is refused. Nothing of it is kept.
pub async fn a_batch_that_does_not_follow_is_refused_and_changes_nothing<S: Store>(make: &impl Fn(Setup) -> S) {
    let place = make(Setup::LONG);
    let mut opened = open(&place).await;
    let mut model = Model::of(&opened);
    model.fill(&mut opened, [3, 6]).await;
    for first in [1, 4, 9, 11, 1_000] {
        let mut commit = model.at(Index(first), opened.term, 3);
        commit.producers.written.push(submitted("refused", 1, first));
        let refused = opened.writer.append(commit).await;
        assert_eq!(refused, Err(AppendError::NotNext(NotNext { tail: Index(9), got: Index(first) })));
    }
    assert_eq!(read_all(&*opened.reader).await, model.batches());
    model.fill(&mut opened, [2]).await;
    drop(opened);
    let opened = open(&place).await;
    assert_eq!((opened.tail, opened.producers), (model.tail(), Vec::new()));
    assert_eq!(read_all(&*opened.reader).await, model.batches());
}

/// Once `append` returned, the commit is seen by whoever reads, however they got the reader.
pub async fn an_acknowledged_commit_is_read_by_every_reader<S: Store>(make: &impl Fn(Setup) -> S) {
    let place = make(Setup::LONG);
    let mut opened = open(&place).await;
    let readers = [Arc::clone(&opened.reader), Arc::clone(&opened.reader)];
    let mut model = Model::of(&opened);
    for events in [1, 2, 1, 3] {
        model.fill(&mut opened, [events]).await;
        let batch = &model.commits[model.commits.len() - 1].batch;
        for reader in &readers {
            assert_eq!(read(&**reader, batch.first, usize::MAX).await, std::slice::from_ref(batch));
            assert_eq!(reader.digest_at(batch.end.index).await, Ok(Some(batch.end.digest)));
        }
    }
}

/// A probe succeeds when a commit would, and leaves the log as it is.
pub async fn a_probe_changes_nothing<S: Store>(make: &impl Fn(Setup) -> S) {
    let place = make(Setup::LONG);
    let mut opened = open(&place).await;
    let mut model = Model::of(&opened);
    for events in [1, 4] {
        assert_eq!(opened.writer.probe().await, Ok(()));
        model.fill(&mut opened, [events]).await;
        assert_eq!(opened.writer.probe().await, Ok(()));
        assert_eq!(read_all(&*opened.reader).await, model.batches());
    }
    let term = opened.term;
    drop(opened);
    let opened = open(&place).await;
    assert_eq!((opened.term.0, opened.tail), (term.0 + 1, model.tail()));
    assert_eq!(read_all(&*opened.reader).await, model.batches());
}
