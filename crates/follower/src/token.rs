//! The token that a caller shows to a leader.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use thiserror::Error;

/// The longest token, in bytes. It travels in a header with every call.
pub const MAX_BYTES: usize = 512;

/// The token that calls show to the leader, if any. Cheap to clone: all clones are the same, so it can be set for links that
/// exist.
#[derive(Clone, Default)]
pub struct Token {
    header: Arc<Mutex<Option<String>>>,
}

/// The text cannot be a token. The error does not repeat it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a token has 1 to {MAX_BYTES} characters: letters, digits and any of - . _ ~ + / =")]
pub struct InvalidToken;

/// Why a leader refuses a call for its token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NotAllowed {
    /// The call shows none.
    #[error("this needs a token")]
    Missing,
    /// The leader does not know the one that it shows.
    #[error("the leader does not know the token")]
    Unknown,
    /// The one that it shows may read, and the call would change something.
    #[error("the token may only read")]
    OnlyReads,
}

impl NotAllowed {
    /// Reads the reason of a status, as `calculator.proto` lists them.
    pub(crate) fn by_reason(reason: &str) -> Option<Self> {
        match reason {
            "TOKEN_MISSING" => Some(Self::Missing),
            "TOKEN_UNKNOWN" => Some(Self::Unknown),
            "TOKEN_ONLY_READS" => Some(Self::OnlyReads),
            _ => None,
        }
    }
}

impl Token {
    /// Shows `token` from now on, without the white space around it; nothing if it is empty.
    ///
    /// # Errors
    ///
    /// [`InvalidToken`], and nothing changes.
    ///
    /// ```
    /// let token = follower::Token::default();
    /// token.set("one two").unwrap_err();
    /// token.set(" secret\n")?;
    /// # Ok::<(), follower::InvalidToken>(())
    /// ```
    pub fn set(&self, token: &str) -> Result<(), InvalidToken> {
        let token = token.trim();
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
        if token.len() > MAX_BYTES || !token.bytes().all(valid) {
            return Err(InvalidToken);
        }
        *self.header() = (!token.is_empty()).then(|| format!("Bearer {token}"));
        Ok(())
    }

    /// Whether there is one.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.header().is_some()
    }

    /// What the header `authorization` says.
    pub(crate) fn authorization(&self) -> Option<String> {
        self.header().clone()
    }

    fn header(&self) -> MutexGuard<'_, Option<String>> {
        self.header.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Token {
    /// Says only whether there is one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("is_set", &self.is_set()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_shown_until_it_is_emptied_and_never_printed() {
        let token = Token::default();
        let same = token.clone();
        assert_eq!(same.authorization(), None);
        token.set("  abc-._~+/=09\r\n").unwrap();
        assert_eq!(same.authorization().as_deref(), Some("Bearer abc-._~+/=09"));
        for invalid in ["a b", "ä", "a\nb", "\"", &"a".repeat(MAX_BYTES + 1)] {
            assert_eq!(token.set(invalid), Err(InvalidToken));
        }
        assert!(same.is_set() && !format!("{same:?}").contains("abc"));
        token.set(" \n").unwrap();
        assert!(!same.is_set());
    }
}
