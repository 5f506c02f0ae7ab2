//! Who wants to know what happens to a replica.

use std::time::Duration;

use engine::replica::Notice;
use engine::{Replica, Resume, Standing};

use crate::LinkError;

/// Is told what happens to a replica. Every method is called from within the session loop and should return quickly.
pub trait Observer {
    /// Something happened; `replica` is in the state after it.
    fn notice(&mut self, notice: Notice, replica: &Replica);

    /// A stream could not be opened, or broke. A notice about the link follows.
    fn link_failed(&mut self, error: &LinkError) {
        let _ = error;
    }

    /// The replica waits this long before it tries the leader again. It may be told more than once for one pause.
    fn waiting(&mut self, pause: Duration) {
        let _ = pause;
    }

    /// The leader judged a reported position. It is never [`Standing::Unknown`].
    fn standing(&mut self, standing: Standing, at: Resume) {
        let _ = (standing, at);
    }
}
