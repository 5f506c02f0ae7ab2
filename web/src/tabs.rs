//! Which tabs may hold one of the browser's few connections.
//!
//! A browser opens at most six HTTP/1.1 connections to one address, and every stream occupies one. With six streams there
//! would be none left: no operation could be submitted, and another tab would stay blank because not even the page would
//! load. So only the oldest tabs follow the log; the others say why they wait. The oldest tab that is visible watches the
//! replicas, for all visible tabs: it hands each roster on to them. So one connection is free.
//!
//! Over HTTP/2 and HTTP/3 all tabs share one connection, and many more follow.
//!
//! The tabs announce themselves on a broadcast channel, and every tab computes the same order.

use std::collections::BTreeMap;

use crate::saved::TabIdentity;

/// How the browser reaches the leader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Connections {
    /// Over six connections, with one call at a time on each.
    #[default]
    Six,
    /// Over one connection that carries all calls.
    Shared,
}

impl Connections {
    /// What is known from the name of the protocol, as browsers tell it.
    #[must_use]
    pub fn over(protocol: &str) -> Self {
        if matches!(protocol, "h2" | "h3") { Self::Shared } else { Self::Six }
    }

    /// How many tabs may follow the log at once.
    #[must_use]
    pub fn streams(self) -> usize {
        match self {
            // One is for watching the replicas, and one stays free for loading pages and for calls.
            Self::Six => 4,
            // Proxies allow 100 calls at once and more on a connection. Ten are for watching and for other calls.
            Self::Shared => 90,
        }
    }

    /// The same for people who wonder why their tab waits.
    #[must_use]
    pub fn rule(self) -> &'static str {
        match self {
            Self::Six => {
                "A browser allows six connections to one address: 4 tabs use one each to stay live, one shows who follows, \
                 and the last is kept free for loading pages and for operations. So this tab has to wait for a free one."
            }
            Self::Shared => "The 90 oldest stay live.",
        }
    }
}

/// How many rounds a tab may leave unanswered before it counts as closed. A tab that crashes says no goodbye.
const MISSED_ROUNDS: u8 = 2;

/// Written in place of what a tab shows, if it is hidden.
const NOTHING: &str = "-";

/// Written there if the leader does not let the tab read. Whether it is visible makes no difference then.
const NOT_ALLOWED: &str = "x";

/// The bytes before a roster that say which leader it is from.
const LEADER_BYTES: usize = 8;

/// The tabs of this page that are open in this browser.
#[derive(Clone, Debug)]
pub struct Tabs {
    /// Chosen anew with every load of the page, because a duplicated tab inherits the other tab's identity.
    id: String,
    me: TabIdentity,
    /// The leader that the page came from: a number made from its address. One address can have several, below paths.
    leader: u64,
    connections: Connections,
    visible: bool,
    /// Whether the leader lets the own tab read.
    may_read: bool,
    others: BTreeMap<String, Other>,
}

#[derive(Clone, Debug)]
struct Other {
    tab: TabIdentity,
    /// The leader that it shows; `None` while it is hidden.
    shows: Option<u64>,
    /// Whether its leader lets it read. If not, it needs no place, and watches for nobody.
    may_read: bool,
    missed: u8,
}

impl Tabs {
    /// Knows only the own tab, which has this `id` until it is closed or reloaded, and shows this `leader` that it reaches
    /// over these `connections`.
    #[must_use]
    pub fn new(id: String, me: TabIdentity, leader: u64, connections: Connections) -> Self {
        Self { id, me, leader, connections, visible: false, may_read: true, others: BTreeMap::new() }
    }

    /// The own tab.
    #[must_use]
    pub fn me(&self) -> &TabIdentity {
        &self.me
    }

    /// Gives the own tab another identity.
    pub fn rename(&mut self, me: TabIdentity) {
        self.me = me;
    }

    /// The own tab is visible now, or hidden. The next message tells the others.
    pub fn show(&mut self, visible: bool) {
        self.visible = visible;
    }

    /// The leader lets the own tab read, or does not. Returns whether that is new; the next message tells the others.
    pub fn allow(&mut self, may_read: bool) -> bool {
        std::mem::replace(&mut self.may_read, may_read) != may_read
    }

    /// Begins a round: returns the message that all tabs answer. Tabs that left the last rounds unanswered are forgotten.
    #[must_use]
    pub fn ask(&mut self) -> String {
        self.others.retain(|_, other| {
            other.missed += 1;
            other.missed <= MISSED_ROUNDS
        });
        self.message("hello")
    }

    /// The message to send when the own tab goes away.
    #[must_use]
    pub fn goodbye(&self) -> String {
        self.message("bye")
    }

    /// Another tab sent `text`. Returns the answer to send to all tabs, if any.
    #[must_use]
    pub fn handle(&mut self, text: &str) -> Option<String> {
        let (kind, rest) = text.split_once(' ')?;
        let (id, rest) = rest.split_once(' ')?;
        let (shows, tab) = rest.split_once(' ')?;
        if id == self.id {
            return None;
        }
        let may_read = shows != NOT_ALLOWED;
        let shows = match shows {
            NOTHING | NOT_ALLOWED => None,
            leader => Some(u64::from_str_radix(leader, 16).ok()?),
        };
        let tab = TabIdentity::read(tab).ok()?;
        match kind {
            "hello" | "here" => {
                self.others.insert(id.to_owned(), Other { tab, shows, may_read, missed: 0 });
                (kind == "hello").then(|| self.message("here"))
            }
            "bye" => {
                self.others.remove(id);
                None
            }
            _ => None,
        }
    }

    /// How many tabs are open, the own one included.
    #[must_use]
    pub fn open(&self) -> usize {
        self.others.len() + 1
    }

    /// Whether the own tab is one of the oldest and may follow the log.
    #[must_use]
    pub fn may_stream(&self) -> bool {
        self.older().filter(|other| other.may_read).count() < self.connections.streams()
    }

    /// Whether the own tab is to watch the replicas: it is visible, and the oldest that shows this leader. What others watch
    /// is not for a tab that may not read; it tries for itself.
    #[must_use]
    pub fn watches(&self) -> bool {
        self.visible && !(self.may_read && self.older().any(|other| other.shows == Some(self.leader)))
    }

    /// Whether the own tab is visible, and another one watches for it.
    #[must_use]
    pub fn is_told(&self) -> bool {
        self.visible && !self.watches()
    }

    /// What to send to all tabs so that those that show this leader get an encoded roster; `None` if there are none.
    #[must_use]
    pub fn hand_on(&self, roster: &[u8]) -> Option<Vec<u8>> {
        let wanted = self.others.values().any(|other| other.shows == Some(self.leader));
        wanted.then(|| [&self.leader.to_le_bytes(), roster].concat())
    }

    /// The encoded roster in what another tab sent; `None` if it is not for this tab.
    #[must_use]
    pub fn handed<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let (leader, roster) = bytes.split_first_chunk::<LEADER_BYTES>()?;
        (self.is_told() && u64::from_le_bytes(*leader) == self.leader).then_some(roster)
    }

    /// Whether another tab has the same identity. Browsers copy the session storage of a tab that is duplicated.
    #[must_use]
    pub fn is_duplicate(&self) -> bool {
        self.others.values().any(|other| other.tab.id == self.me.id)
    }

    fn older(&self) -> impl Iterator<Item = &Other> {
        let mine = (self.me.opened, &self.id);
        self.others.iter().filter(move |(id, other)| (other.tab.opened, *id) < mine).map(|(_, other)| other)
    }

    fn message(&self, kind: &str) -> String {
        let Self { id, leader, .. } = self;
        let tab = self.me.write();
        let shows = match (self.may_read, self.visible) {
            (false, _) => NOT_ALLOWED.to_owned(),
            (true, false) => NOTHING.to_owned(),
            (true, true) => format!("{leader:016x}"),
        };
        format!("{kind} {id} {shows} {tab}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEADER: u64 = 7;

    fn tab(number: u64) -> Tabs {
        over(Connections::Six, number)
    }

    fn over(connections: Connections, number: u64) -> Tabs {
        Tabs::new(format!("tab{number:02}"), TabIdentity::new(number, 1_000 + number), LEADER, connections)
    }

    /// Lets every tab ask once, and carries all messages to all others.
    fn talk(tabs: &mut [Tabs]) {
        for asking in 0..tabs.len() {
            let mut messages = vec![(asking, tabs[asking].ask())];
            while let Some((sender, message)) = messages.pop() {
                for (receiver, tab) in tabs.iter_mut().enumerate() {
                    if receiver != sender {
                        messages.extend(tab.handle(&message).map(|answer| (receiver, answer)));
                    }
                }
            }
        }
    }

    fn streaming(tabs: &[Tabs]) -> Vec<bool> {
        tabs.iter().map(Tabs::may_stream).collect()
    }

    fn watching(tabs: &[Tabs]) -> Vec<usize> {
        tabs.iter().enumerate().filter(|(_, tab)| tab.watches()).map(|(place, _)| place).collect()
    }

    #[test]
    fn the_oldest_four_of_eight_stream() {
        let mut tabs: Vec<Tabs> = (0..8).map(tab).collect();
        talk(&mut tabs);
        assert!(tabs.iter().all(|tab| tab.open() == 8));
        assert_eq!(streaming(&tabs), [true, true, true, true, false, false, false, false]);
    }

    #[test]
    fn over_one_connection_many_more_stream_but_not_more_than_proxies_carry() {
        for protocol in ["h2", "h3"] {
            let mut tabs: Vec<Tabs> = (0..93).map(|number| over(Connections::over(protocol), number)).collect();
            talk(&mut tabs);
            let streams = streaming(&tabs);
            assert!(streams[..90].iter().all(|streams| *streams) && !streams[90..].contains(&true), "{streams:?}");
        }
        for protocol in ["http/1.1", "http/1.0", ""] {
            assert_eq!(Connections::over(protocol), Connections::Six);
        }
    }

    #[test]
    fn a_tab_that_may_not_read_takes_no_place_and_watches_for_nobody() {
        let mut tabs: Vec<Tabs> = (0..6).map(tab).collect();
        tabs.iter_mut().for_each(|tab| tab.show(true));
        talk(&mut tabs);
        assert!(tabs[0].allow(false) && !tabs[0].allow(false));
        talk(&mut tabs);
        assert_eq!(streaming(&tabs), [true, true, true, true, true, false], "the first one only tries");
        assert_eq!(watching(&tabs), [0, 1], "the first one tries for itself");
        let sent = tabs[1].hand_on(b"roster").unwrap();
        assert_eq!((tabs[0].handed(&sent), tabs[2].handed(&sent)), (None, Some(&b"roster"[..])));
        assert!(tabs[5].allow(false));
        talk(&mut tabs);
        assert_eq!(tabs[5].handed(&sent), None, "it may not read what others may");
        assert!(tabs.iter().all(|tab| tab.open() == 6));
        assert!(tabs[0].allow(true));
        talk(&mut tabs);
        assert_eq!(watching(&tabs), [0, 5]);
        assert_eq!(streaming(&tabs)[..5], [true, true, true, true, false]);
    }

    #[test]
    fn tabs_opened_in_the_same_millisecond_agree_on_an_order() {
        let mut tabs: Vec<Tabs> =
            (0..8).map(|n| Tabs::new(format!("tab{n}"), TabIdentity::new(n, 1), LEADER, Connections::Six)).collect();
        tabs.iter_mut().for_each(|tab| tab.show(true));
        talk(&mut tabs);
        assert_eq!(streaming(&tabs).into_iter().filter(|&streams| streams).count(), 4);
        assert_eq!(watching(&tabs), [0]);
    }

    #[test]
    fn when_a_tab_closes_the_next_in_line_may_stream() {
        let mut tabs: Vec<Tabs> = (0..6).map(tab).collect();
        talk(&mut tabs);
        let goodbye = tabs.remove(2).goodbye();
        for tab in &mut tabs {
            assert_eq!(tab.handle(&goodbye), None);
        }
        assert_eq!(streaming(&tabs), [true, true, true, true, false]);
    }

    #[test]
    fn the_oldest_visible_tab_watches_for_all_visible_ones() {
        let mut tabs: Vec<Tabs> = (0..4).map(tab).collect();
        talk(&mut tabs);
        assert!(watching(&tabs).is_empty(), "hidden tabs need no roster");
        assert_eq!(tabs[0].hand_on(b"roster"), None);

        tabs[1].show(true);
        tabs[3].show(true);
        talk(&mut tabs);
        assert_eq!(watching(&tabs), [1]);
        let sent = tabs[1].hand_on(b"roster").unwrap();
        let handed: Vec<_> = tabs.iter().map(|tab| tab.handed(&sent)).collect();
        assert_eq!(handed, [None, None, None, Some(&b"roster"[..])]);

        tabs[1].show(false);
        talk(&mut tabs);
        assert_eq!(watching(&tabs), [3]);
        assert_eq!(tabs[3].handed(&sent), None, "it watches itself");
        assert_eq!(tabs[3].hand_on(b"roster"), None, "nobody else looks");
    }

    #[test]
    fn a_tab_of_another_leader_watches_its_own() {
        let elsewhere = |number: u64| {
            Tabs::new(format!("x{number}"), TabIdentity::new(number, number), LEADER + 1, Connections::Six)
        };
        let mut tabs = vec![elsewhere(1), tab(1), tab(2)];
        tabs.iter_mut().for_each(|tab| tab.show(true));
        talk(&mut tabs);
        assert_eq!(watching(&tabs), [0, 1]);
        assert_eq!(tabs[0].hand_on(b"roster"), None);
        let sent = tabs[1].hand_on(b"roster").unwrap();
        assert_eq!((tabs[0].handed(&sent), tabs[2].handed(&sent)), (None, Some(&b"roster"[..])));
        assert_eq!(tabs[2].handed(b"short"), None);
    }

    #[test]
    fn a_tab_that_crashed_is_forgotten_after_a_few_rounds() {
        let mut tabs: Vec<Tabs> = (0..5).map(tab).collect();
        tabs.iter_mut().for_each(|tab| tab.show(true));
        talk(&mut tabs);
        tabs.remove(0);
        for _ in 0..=MISSED_ROUNDS {
            talk(&mut tabs);
        }
        assert!(tabs.iter().all(|tab| tab.open() == 4 && tab.may_stream()));
        assert_eq!(watching(&tabs), [0]);
    }

    #[test]
    fn a_duplicated_tab_notices() {
        let mut tabs = vec![
            Tabs::new("first".to_owned(), TabIdentity::new(1, 5), LEADER, Connections::Six),
            Tabs::new("copy".to_owned(), TabIdentity::new(1, 5), LEADER, Connections::Six),
        ];
        talk(&mut tabs);
        assert!(tabs[1].is_duplicate());
        tabs[1].rename(TabIdentity::new(2, 6));
        talk(&mut tabs);
        assert!(!tabs[0].is_duplicate() && !tabs[1].is_duplicate());
    }

    #[test]
    fn a_tab_with_a_given_name_is_counted_like_any_other() {
        let mut named = tab(1);
        named.rename(named.me().named("a name of words").unwrap());
        let mut tabs = vec![tab(0), named];
        talk(&mut tabs);
        assert!(tabs.iter().all(|tab| tab.open() == 2));
    }

    #[test]
    fn a_text_that_is_no_message_is_ignored() {
        let mut tab = tab(1);
        for text in [
            "",
            "hello",
            "hello x",
            "hello x y z",
            "shout x - 1 0000000000000002 5",
            "bye nobody - 1 2",
            "hello x soon 1 0000000000000002 5",
            // Of a page of an earlier version.
            "hello x 1 0000000000000002 5",
        ] {
            assert_eq!(tab.handle(text), None, "{text:?}");
        }
        assert_eq!(tab.open(), 1);
    }
}
