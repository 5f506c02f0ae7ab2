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

/// Bytes of each frame where bytes are bounded: large, so that what a store adds to a frame counts little.
const LARGE_FRAME: usize = 1_900;

/// Appends a commit of one event with a large frame.
async fn append_large(opened: &mut Opened, model: &mut Model) {
    let mut commit = model.next(opened.term, 1);
    commit.batch.frame = vec![0x5a; LARGE_FRAME].into();
    model.append(opened, commit).await;
}

/// Bytes of the frames that can be read.
async fn kept_bytes(opened: &Opened) -> u64 {
    read_all(&*opened.reader).await.iter().map(|batch| batch.frame.len() as u64).sum()
}

/// The frames that are kept never take more than the bound, and nothing goes long before it must: with what a store needs
/// beside them, they take at least half of it. The size that a store gives agrees with that.
pub async fn history_stays_within_its_bytes<S: Store>(make: &impl Fn(Setup) -> S) {
    let bound = Setup::SMALL.retain_bytes;
    let place = make(Setup::SMALL);
    let mut opened = open(&place).await;
    let mut model = Model::of(&opened);
    let mut written = 0;
    for round in 0..3 {
        for _ in 0..120 {
            append_large(&mut opened, &mut model).await;
            written += LARGE_FRAME as u64;
            let kept = kept_bytes(&opened).await;
            assert!(kept <= bound, "{kept} bytes are kept in round {round}");
            assert!(kept >= written.min(bound / 2), "only {kept} bytes are kept of {written}");
            if let Some(size) = opened.reader.size() {
                assert!(size.history >= kept && size.history <= bound + bound / 4, "{kept} bytes are kept: {size:?}");
            }
        }
        drop(opened);
        opened = open(&place).await;
    }
    assert!(opened.reader.floor() > Index(1), "nothing was compacted");
}

/// History is kept as long as the bound on its events and that on its bytes both allow.
pub async fn the_stricter_of_two_bounds_decides<S: Store>(make: &impl Fn(Setup) -> S) {
    for (retain, fewest, most) in [(20, 20, 40), (1_000_000, 69, 137)] {
        let setup = Setup { retain, ..Setup::SMALL };
        let place = make(setup);
        let mut opened = open(&place).await;
        let mut model = Model::of(&opened);
        for _ in 0..200 {
            append_large(&mut opened, &mut model).await;
        }
        let kept = read_all(&*opened.reader).await.len();
        assert!((fewest..=most).contains(&kept), "{kept} events are kept with {setup:?}");
    }
}
