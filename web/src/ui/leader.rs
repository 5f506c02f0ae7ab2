//! The leader that the page came from, and the token that it is shown.

use follower::{Calls, GrpcLink, InvalidToken, Options, Token};
use wire::Identity;

use super::browser;

/// Makes links to the leader. All links of the page show the same token.
#[derive(Clone, Default)]
pub(super) struct Leader {
    token: Token,
}

impl Leader {
    /// Shows `token` from now on, with links that exist as well; nothing if it is empty.
    pub(super) fn show(&self, token: &str) -> Result<(), InvalidToken> {
        self.token.set(token)
    }

    /// A new link.
    pub(super) fn link(&self, identity: Identity) -> GrpcLink {
        let options = Options { token: self.token.clone() };
        let link = follower::connect_with(&browser::base(), identity, &options);
        link.expect("in a browser every address is taken, and a wrong one shows when it is called")
    }

    /// Single calls, for a caller of its own.
    pub(super) fn calls(&self) -> Calls {
        self.link(Identity::default()).calls()
    }
}
