//! The token that a person gives the tab.

use std::rc::Rc;

use follower::InvalidToken;

use super::Session;

impl Session {
    /// Asks the person for a token, or does not.
    pub(in crate::ui) fn ask_for_token(&self, asks: bool) {
        self.change(|model| model.ask_for_token(asks));
    }

    /// Shows the leader this token from now on, and forgets it if it is empty. What was refused is tried again at once.
    ///
    /// # Errors
    ///
    /// [`InvalidToken`], and nothing changes.
    pub(in crate::ui) fn use_token(self: &Rc<Self>, token: &str) -> Result<(), InvalidToken> {
        let token = Some(token.trim()).filter(|token| !token.is_empty());
        self.leader.show(token.unwrap_or_default())?;
        self.storage.write_token(token);
        self.model.borrow_mut().handle_token(token.is_some());
        self.follow_again();
        self.watch.stop();
        self.tell_permission();
        self.watch_or_not();
        self.painter.request();
        Ok(())
    }

    /// Tells the other tabs if it is new whether this one may read: one that may not watches for nobody.
    pub(super) fn tell_permission(self: &Rc<Self>) {
        let may_read = self.model.borrow().may_read();
        let is_new = self.tabs.borrow_mut().allow(may_read);
        if is_new {
            self.ask();
            self.watch_or_not();
        }
    }
}
