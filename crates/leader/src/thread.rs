//! Runs a future on a thread of its own, so that no other task delays it.

use std::future::Future;
use std::io;
use std::thread::JoinHandle;

use tokio::runtime::Builder;
use tokio::sync::oneshot;

/// A future that runs on a thread of its own. Dropping this drops the future at its next await.
#[derive(Debug)]
pub(crate) struct Thread<T> {
    /// The future's result; closed without one if it was stopped or panicked. `None` once it was received.
    result: Option<oneshot::Receiver<T>>,
    /// Dropping it stops the future.
    stop: oneshot::Sender<()>,
    handle: Option<JoinHandle<()>>,
}

impl<T: Send + 'static> Thread<T> {
    pub(crate) fn run(name: &str, future: impl Future<Output = T> + Send + 'static) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (done, result) = oneshot::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let handle = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            let ended = runtime.block_on(async {
                tokio::select! {
                    ended = future => Some(ended),
                    _ = stopped => None,
                }
            });
            drop(runtime);
            if let Some(ended) = ended {
                // An error means that the receiver is gone.
                let _ = done.send(ended);
            }
        })?;
        Ok(Self { result: Some(result), stop, handle: Some(handle) })
    }

    /// Waits until the future ends, and returns its result once; a second call waits forever. Panics if the future did.
    pub(crate) async fn ended(&mut self) -> T {
        if let Some(result) = &mut self.result {
            let ended = result.await;
            self.result = None;
            if let Ok(ended) = ended {
                return ended;
            }
            if let Some(Err(panic)) = self.handle.take().map(JoinHandle::join) {
                std::panic::resume_unwind(panic);
            }
        }
        std::future::pending().await
    }

    /// Stops the future, and waits until it is dropped.
    pub(crate) async fn stop(self) {
        drop(self.stop);
        if let Some(result) = self.result {
            // Without a result, it returns an error once the thread has dropped the future.
            let _ = result.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_thread_runs_while_all_other_threads_are_busy() {
        let mut thread = Thread::run("other", async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            std::thread::current().name().map(str::to_owned)
        });
        // This runtime has one thread.
        std::thread::sleep(Duration::from_millis(500));
        let name = thread.as_mut().unwrap().result.as_mut().unwrap().try_recv().unwrap();
        assert_eq!(name.as_deref(), Some("other"));
    }

    #[tokio::test]
    async fn a_thread_that_ended_can_be_stopped() {
        let mut thread = Thread::run("other", async { 7 }).unwrap();
        assert_eq!(thread.ended().await, 7);
        thread.stop().await;
    }

    #[tokio::test]
    async fn stopping_drops_the_future() {
        let (alive, mut gone) = oneshot::channel::<()>();
        let thread = Thread::run("other", async move {
            let _alive = alive;
            std::future::pending::<()>().await;
        });
        thread.unwrap().stop().await;
        assert!(matches!(gone.try_recv(), Err(oneshot::error::TryRecvError::Closed)));
    }
}
