//! What becomes of a leader that another one replaced.

use std::time::Duration;

use super::model::{Model, read_all, submitted};
use super::{Setup, open};
use crate::{AppendError, Fenced, Lost, Store};

/// How soon a replaced leader must know.
const MUST_KNOW: Duration = Duration::from_secs(2);

/// Why the leader must stop, which it learns in time.
async fn learns(lost: &mut Lost) -> AppendError {
    let told = tokio::time::timeout(MUST_KNOW, lost.wait()).await;
    told.unwrap_or_else(|_| panic!("a replaced leader does not know after {MUST_KNOW:?}"))
}

/// After a second opening, the first can neither commit nor probe, however often it tries. The second can.
pub async fn a_second_opening_fences_the_first<S: Store>(make: &impl Fn(Setup) -> S) {
    let place = make(Setup::LONG);
    let mut first = open(&place).await;
    let mut model = Model::of(&first);
    model.fill(&mut first, [2, 3]).await;
    let mut second = open(&place).await;
    let fenced = Err(AppendError::Fenced(Fenced { own: first.term, by: second.term }));
    for _ in 0..3 {
        assert_eq!(first.writer.append(model.next(first.term, 1)).await, fenced);
        assert_eq!(first.writer.probe().await, fenced);
        model.fill(&mut second, [1]).await;
    }
    assert_eq!(second.lost.reason(), None);
    assert_eq!(read_all(&*second.reader).await, model.batches());
}

/// A commit that is refused because its leader was replaced changes neither batches nor producers.
pub async fn nothing_of_a_fenced_commit_is_kept<S: Store>(make: &impl Fn(Setup) -> S) {
    let place = make(Setup::LONG);
    let mut first = open(&place).await;
    let mut model = Model::of(&first);
    model.fill(&mut first, [2]).await;
    let second = open(&place).await;
    let mut commit = model.next(first.term, 4);
    commit.producers.written.push(submitted("fenced", 1, 3));
    assert!(matches!(first.writer.append(commit).await, Err(AppendError::Fenced(_))));
    assert_eq!(read_all(&*second.reader).await, model.batches());
    drop((first, second));
    let mut third = open(&place).await;
    assert_eq!((third.term.0, third.tail, &third.producers), (3, model.tail(), &Vec::new()));
    model.fill(&mut third, [1]).await;
    assert_eq!(read_all(&*third.reader).await, model.batches());
}

/// A leader that asks its store for nothing is told all the same, and so is everybody who waits with it.
pub async fn an_idle_leader_learns_within_two_seconds_that_it_was_replaced<S: Store>(make: &impl Fn(Setup) -> S) {
    let place = make(Setup::LONG);
    let mut first = open(&place).await;
    let mut with_it = first.lost.clone();
    assert_eq!(first.lost.reason(), None);
    let mut second = open(&place).await;
    let fenced = AppendError::Fenced(Fenced { own: first.term, by: second.term });
    assert_eq!(learns(&mut first.lost).await, fenced);
    assert_eq!(learns(&mut with_it).await, fenced);
    assert_eq!(first.lost.reason(), Some(fenced));
    assert!(tokio::time::timeout(MUST_KNOW, second.lost.wait()).await.is_err(), "nobody replaced the second leader");
}

/// A replaced leader serves its readers until they have said goodbye.
pub async fn a_replaced_leader_goes_on_reading<S: Store>(make: &impl Fn(Setup) -> S) {
    let place = make(Setup::LONG);
    let mut first = open(&place).await;
    let mut model = Model::of(&first);
    model.fill(&mut first, [2, 3]).await;
    let committed = model.batches();
    let mut second = open(&place).await;
    model.fill(&mut second, [1]).await;
    learns(&mut first.lost).await;
    drop(first.writer);
    let found = read_all(&*first.reader).await;
    assert!(found.starts_with(&committed), "the replaced leader does not find what it committed");
    assert_eq!(first.reader.digest_at(committed[1].end.index).await, Ok(Some(committed[1].end.digest)));
    drop(first.reader);
    model.fill(&mut second, [1]).await;
    assert_eq!(read_all(&*second.reader).await, model.batches());
}
