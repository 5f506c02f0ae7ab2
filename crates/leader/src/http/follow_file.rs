//! Takes over changed files.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tracing::{info, warn};

/// How often files are looked at. Polling also sees files that are exchanged through a symbolic link, as Kubernetes does, and
/// files on a network's disk.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Loads files again and again, and puts what differs into `newest`, for as long as it runs. Files that cannot be used are
/// reported once and change nothing. `what` names them in the log.
pub(crate) async fn follow<T, E>(
    load: impl Fn() -> Result<T, E> + Send + Sync + 'static,
    newest: watch::Sender<T>,
    what: &'static str,
) where
    T: PartialEq + Send + 'static,
    E: Display + Send + 'static,
{
    let load = Arc::new(load);
    let mut reported = None;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        // A file on a network's disk may take long.
        let load = Arc::clone(&load);
        let Ok(looked) = tokio::task::spawn_blocking(move || load()).await else { return };
        match looked {
            Ok(loaded) => {
                reported = None;
                let differs = |held: &mut T| {
                    let differs = *held != loaded;
                    *held = loaded;
                    differs
                };
                if newest.send_if_modified(differs) {
                    info!("took over the changed {what}");
                }
            }
            Err(error) => {
                let error = error.to_string();
                if reported.as_ref() != Some(&error) {
                    warn!(error, "the changed {what} cannot be used, so the earlier one stays in force");
                }
                reported = Some(error);
            }
        }
    }
}
