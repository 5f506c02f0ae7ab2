//! Which tabs may hold one of the browser's few connections.
//!
//! A browser opens at most six HTTP/1.1 connections to one address, and the stream of each live tab occupies one. With six
//! streams there would be none left: no operation could be submitted, and a seventh tab would stay blank because not even
//! the page would load. So only the [`STREAMS`] oldest tabs stream; the others say why they wait. The tabs announce
//! themselves on a broadcast channel, and every tab computes the same order.

use std::collections::BTreeMap;

use crate::saved::TabIdentity;

/// How many tabs may stream at once. One of the six connections stays free for loading pages and for calls.
pub const STREAMS: usize = 5;

/// How many rounds a tab may leave unanswered before it counts as closed. A tab that crashes says no goodbye.
const MISSED_ROUNDS: u8 = 2;

/// The tabs of this page that are open in this browser.
#[derive(Clone, Debug)]
pub struct Tabs {
    /// Chosen anew with every load of the page, because a duplicated tab inherits the other tab's identity.
    id: String,
    me: TabIdentity,
    others: BTreeMap<String, Other>,
}

#[derive(Clone, Debug)]
struct Other {
    tab: TabIdentity,
    missed: u8,
}

impl Tabs {
    /// Knows only the own tab, which has this `id` until it is closed or reloaded.
    #[must_use]
    pub fn new(id: String, me: TabIdentity) -> Self {
        Self { id, me, others: BTreeMap::new() }
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
        let (id, tab) = rest.split_once(' ')?;
        if id == self.id {
            return None;
        }
        let tab = TabIdentity::read(tab).ok()?;
        match kind {
            "hello" | "here" => {
                self.others.insert(id.to_owned(), Other { tab, missed: 0 });
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

    /// Whether the own tab is one of the oldest and may stream.
    #[must_use]
    pub fn may_stream(&self) -> bool {
        let mine = (self.me.opened, &self.id);
        let older = self.others.iter().filter(|(id, other)| (other.tab.opened, *id) < mine).count();
        older < STREAMS
    }

    /// Whether another tab has the same identity. Browsers copy the session storage of a tab that is duplicated.
    #[must_use]
    pub fn is_duplicate(&self) -> bool {
        self.others.values().any(|other| other.tab.id == self.me.id)
    }

    fn message(&self, kind: &str) -> String {
        format!("{kind} {} {}", self.id, self.me.write())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tab(number: u64) -> Tabs {
        Tabs::new(format!("tab{number}"), TabIdentity::new(number, 1_000 + number))
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

    #[test]
    fn the_oldest_five_of_eight_stream() {
        let mut tabs: Vec<Tabs> = (0..8).map(tab).collect();
        talk(&mut tabs);
        assert!(tabs.iter().all(|tab| tab.open() == 8));
        assert_eq!(streaming(&tabs), [true, true, true, true, true, false, false, false]);
    }

    #[test]
    fn tabs_opened_in_the_same_millisecond_agree_on_an_order() {
        let mut tabs: Vec<Tabs> = (0..8).map(|n| Tabs::new(format!("tab{n}"), TabIdentity::new(n, 1))).collect();
        talk(&mut tabs);
        assert_eq!(streaming(&tabs).into_iter().filter(|&streams| streams).count(), STREAMS);
    }

    #[test]
    fn when_a_tab_closes_the_next_in_line_may_stream() {
        let mut tabs: Vec<Tabs> = (0..7).map(tab).collect();
        talk(&mut tabs);
        let goodbye = tabs.remove(2).goodbye();
        for tab in &mut tabs {
            assert_eq!(tab.handle(&goodbye), None);
        }
        assert_eq!(streaming(&tabs), [true, true, true, true, true, false]);
    }

    #[test]
    fn a_tab_that_crashed_is_forgotten_after_a_few_rounds() {
        let mut tabs: Vec<Tabs> = (0..6).map(tab).collect();
        talk(&mut tabs);
        tabs.remove(0);
        for _ in 0..=MISSED_ROUNDS {
            talk(&mut tabs);
        }
        assert!(tabs.iter().all(|tab| tab.open() == 5 && tab.may_stream()));
    }

    #[test]
    fn a_duplicated_tab_notices() {
        let mut tabs = vec![
            Tabs::new("first".to_owned(), TabIdentity::new(1, 5)),
            Tabs::new("copy".to_owned(), TabIdentity::new(1, 5)),
        ];
        talk(&mut tabs);
        assert!(tabs[1].is_duplicate());
        tabs[1].rename(TabIdentity::new(2, 6));
        talk(&mut tabs);
        assert!(!tabs[0].is_duplicate() && !tabs[1].is_duplicate());
    }

    #[test]
    fn a_text_that_is_no_message_is_ignored() {
        let mut tab = tab(1);
        for text in ["", "hello", "hello x", "hello x y z", "shout x 1 0000000000000002 5", "bye nobody 1 2"] {
            assert_eq!(tab.handle(text), None, "{text:?}");
        }
        assert_eq!(tab.open(), 1);
    }
}
