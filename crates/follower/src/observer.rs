//! What a session tells its user.

use std::time::Duration;

use engine::replica::Notice;
use engine::{Replica, Resume, Standing};

use crate::LinkError;

/// Learns what happens to a replica. The session loop calls every method and waits for it, so each should return quickly.
///
/// ```
/// use engine::Replica;
/// use engine::replica::Notice;
/// use follower::Observer;
///
/// /// Counts the events that a replica applies.
/// #[derive(Default)]
/// struct Counter(usize);
///
/// impl Observer for Counter {
///     fn notice(&mut self, notice: Notice, _replica: &Replica) {
///         if let Notice::Applied { batch, .. } = notice {
///             self.0 += batch.operations().len();
///         }
///     }
/// }
/// ```
pub trait Observer {
    /// Something happened; `replica` is in the state after it.
    fn notice(&mut self, notice: Notice, replica: &Replica);

    /// A stream could not be opened, or broke. A notice about the link follows.
    fn link_failed(&mut self, error: &LinkError) {
        let _ = error;
    }

    /// The replica waits this long before it tries the leader again. Called once or more for each pause.
    fn waiting(&mut self, pause: Duration) {
        let _ = pause;
    }

    /// The leader judged a reported position. It is never [`Standing::Unknown`].
    fn standing(&mut self, standing: Standing, at: Resume) {
        let _ = (standing, at);
    }
}
