//! Who wants to know what happens to a replica.

use engine::replica::Notice;
use engine::{Replica, Resume};

use crate::{LinkError, Standing};

/// Is told what happens to a replica. Every method is called from within the session loop and should return quickly.
pub trait Observer {
    /// Something happened; `replica` is in the state after it.
    fn notice(&mut self, notice: Notice, replica: &Replica);

    /// A stream could not be opened, or broke. A notice about the link follows.
    fn link_failed(&mut self, error: &LinkError) {
        let _ = error;
    }

    /// The leader judged a reported position.
    fn standing(&mut self, standing: Standing, at: Resume) {
        let _ = (standing, at);
    }
}
