//! How old history goes.

use engine::{Digest, Index};

use super::model::{Model, digest, read_all};
use super::{Setup, open};
use crate::{Compacted, Opened, Store};

/// A log of which a part was compacted away.
async fn compacted(place: &impl Store) -> (Opened, Model) {
    let mut opened = open(place).await;
    let mut model = Model::of(&opened);
    for events in [1, 2, 3].into_iter().cycle().take(120) {
        model.fill(&mut opened, [events]).await;
    }
    (opened, model)
}

/// The floor rises while the log grows, stays when it is opened again, and leaves as many events as it must.
pub async fn compaction_raises_the_floor_and_never_lowers_it<S: Store>(make: &impl Fn(Setup) -> S) {
    let place = make(Setup::SHORT);
    let mut opened = open(&place).await;
    let mut model = Model::of(&opened);
    let mut floors = vec![opened.reader.floor()];
    for round in 0..4 {
        for events in [1, 2, 3].into_iter().cycle().take(30) {
            model.fill(&mut opened, [events]).await;
            floors.push(opened.reader.floor());
            let kept = model.tail().position().index.events_since(opened.reader.floor());
            let all = model.tail().position().index.0;
            assert!(kept >= Setup::SHORT.retain.min(all), "only {kept} events are left of {all}");
        }
        assert_eq!(read_all(&*opened.reader).await, model.batches_above(opened.reader.floor()), "in round {round}");
        drop(opened);
        opened = open(&place).await;
        floors.push(opened.reader.floor());
    }
    assert!(floors.is_sorted(), "the floor fell: {floors:?}");
    floors.dedup();
    assert!(floors.len() > 3, "the floor did not rise: {floors:?}");
}

/// A read at or below the floor is refused and names the floor. The digest at the floor is known, for whoever stands
/// there, and none below it is.
pub async fn what_is_compacted_is_named_with_the_floor<S: Store>(make: &impl Fn(Setup) -> S) {
    let place = make(Setup::SHORT);
    let (mut opened, model) = compacted(&place).await;
    for _ in 0..2 {
        let floor = opened.reader.floor();
        assert!(floor > Index(1), "nothing was compacted");
        for asked in [0, 1, floor.0 - 1, floor.0].map(Index) {
            let refused = opened.reader.read(asked, usize::MAX).await;
            assert_eq!(refused, Err(Compacted { asked, floor }.into()));
        }
        assert_eq!(read_all(&*opened.reader).await, model.batches_above(floor));
        let known: [Option<Digest>; 2] = [None, Some(digest(floor.0))];
        for (index, expected) in [floor.0 - 1, floor.0].into_iter().zip(known) {
            assert_eq!(opened.reader.digest_at(Index(index)).await, Ok(expected), "at {index}");
        }
        drop(opened);
        opened = open(&place).await;
    }
}

/// The state at the floor is known, and those after it. Below it, none is.
pub async fn states_below_the_floor_are_gone<S: Store>(make: &impl Fn(Setup) -> S) {
    let place = make(Setup::SHORT);
    let (mut opened, model) = compacted(&place).await;
    for _ in 0..2 {
        let floor = opened.reader.floor();
        assert!(floor > Index(1), "nothing was compacted");
        for asked in [0, 1, floor.0 - 1].map(Index) {
            assert_eq!(opened.reader.snapshot_at(asked).await, Err(Compacted { asked, floor }.into()));
        }
        for index in (floor.0..=model.tail().position().index.0 + 1).map(Index) {
            assert_eq!(opened.reader.snapshot_at(index).await, Ok(model.state_at(index)), "at {index}");
        }
        drop(opened);
        opened = open(&place).await;
    }
}
