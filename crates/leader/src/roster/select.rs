//! Which replicas are shown to those who watch, if there are too many to show all.

use std::cmp::Reverse;
use std::time::Duration;

use super::members::MEMORY;

/// The most places for replicas in trouble while others wait to be shown: one that comes or goes is seen even if hundreds are
/// late.
const TROUBLED: usize = 12;

/// What decides whether a replica is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) trouble: Option<Trouble>,
    /// The time since it came or left.
    pub(crate) changed: Duration,
}

/// What is wrong with a replica, from the least to the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Trouble {
    /// It lacks this many events that were committed a while ago.
    Late(u64),
    /// It has a stream and does not take or report anything.
    Stalled,
    /// The leader judged that what it holds is not the log's.
    Wrong,
}

/// The places in `candidates` of those to show, at most `room`, in ascending order. `candidates` are in the order in which
/// people see them.
///
/// Those in trouble come first, the worst ahead; then those that came or left within the last minute, the latest ahead; then
/// the others in their order.
pub(crate) fn choose(candidates: &[Candidate], room: usize) -> Vec<usize> {
    if candidates.len() <= room {
        return (0..candidates.len()).collect();
    }
    let places = |wanted: fn(&Candidate) -> bool| {
        let all = candidates.iter().enumerate();
        all.filter(move |(_, candidate)| wanted(candidate)).map(|(place, _)| place).collect::<Vec<_>>()
    };
    let candidate = |place: usize| candidates.get(place).copied();
    let mut troubled = places(|candidate| candidate.trouble.is_some());
    troubled.sort_by_key(|place| Reverse(candidate(*place).and_then(|candidate| candidate.trouble)));
    let rest = troubled.split_off(troubled.len().min(TROUBLED));
    let mut changed = places(|candidate| candidate.trouble.is_none() && candidate.changed < MEMORY);
    changed.sort_by_key(|place| candidate(*place).map(|candidate| candidate.changed));
    let calm = places(|candidate| candidate.trouble.is_none() && candidate.changed >= MEMORY);
    let mut chosen: Vec<usize> = [troubled, changed, rest, calm].concat();
    chosen.truncate(room);
    chosen.sort_unstable();
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn calm() -> Candidate {
        Candidate { trouble: None, changed: HOUR }
    }

    fn with(trouble: Trouble) -> Candidate {
        Candidate { trouble: Some(trouble), ..calm() }
    }

    fn changed(seconds: u64) -> Candidate {
        Candidate { changed: Duration::from_secs(seconds), ..calm() }
    }

    #[test]
    fn all_are_shown_while_there_is_room() {
        assert!(choose(&[], 20).is_empty());
        assert_eq!(choose(&[calm(), with(Trouble::Stalled), changed(1)], 3), [0, 1, 2]);
    }

    #[test]
    fn without_news_the_first_are_shown_and_stay() {
        let mut candidates = vec![calm(); 500];
        assert_eq!(choose(&candidates, 20), (0..20).collect::<Vec<_>>());
        candidates[3].changed = HOUR * 2;
        assert_eq!(choose(&candidates, 20), (0..20).collect::<Vec<_>>());
    }

    #[test]
    fn the_worst_and_the_latest_are_shown_in_the_order_of_all() {
        let mut candidates = vec![calm(); 500];
        candidates[490] = with(Trouble::Late(7));
        candidates[480] = with(Trouble::Wrong);
        candidates[470] = with(Trouble::Stalled);
        candidates[460] = changed(3);
        candidates[450] = changed(30);
        assert_eq!(choose(&candidates, 6), [0, 450, 460, 470, 480, 490]);
        assert_eq!(choose(&candidates, 4), [460, 470, 480, 490], "the latest change comes before an earlier one");
        assert_eq!(choose(&candidates, 2), [470, 480], "late is the least trouble");
        assert_eq!(choose(&candidates, 1), [480]);
    }

    #[test]
    fn the_furthest_behind_of_many_are_shown_and_one_that_comes_is_still_seen() {
        let mut candidates: Vec<_> = (1..=500).map(|events| with(Trouble::Late(events))).collect();
        candidates[0] = changed(1);
        let chosen = choose(&candidates, 20);
        assert_eq!(chosen.len(), 20);
        assert_eq!((chosen[0], &chosen[1..]), (0, &(481..500).collect::<Vec<_>>()[..]));
    }
}
