//! The threads that serve streams, so that other calls do not wait behind them.

use std::future::Future;
use std::io;
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::rpc::subscribe::SubscribeService;
use crate::rpc::watch_replicas::WatchService;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::Notify;

const STREAMS: [&str; 3] = [SubscribeService::PATH, WatchService::PATH, "/sharedcalculator.Leader/StreamUpdates"];

/// The threads that serve streams. Dropping it ends their tasks.
#[derive(Debug)]
pub(crate) struct Readers {
    handle: Handle,
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
}

impl Readers {
    /// Starts half as many threads as there are processors, and at least one.
    pub(crate) fn start() -> io::Result<Self> {
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
        Self::with_threads((processors / 2).max(1))
    }

    pub(crate) fn with_threads(threads: usize) -> io::Result<Self> {
        let runtime =
            Builder::new_multi_thread().worker_threads(threads).thread_name("readers").enable_all().build()?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    pub(crate) fn handle(&self) -> Handle {
        self.handle.clone()
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Inside another runtime, a shutdown that waits would panic.
            runtime.shutdown_background();
        }
    }
}

/// Where a connection is served: on the server's threads until it opens a stream, and then on the readers.
#[derive(Debug)]
pub(crate) struct Place {
    readers: Handle,
    reads: AtomicBool,
    moved: Notify,
}

impl Place {
    pub(crate) fn new(readers: Handle) -> Arc<Self> {
        Arc::new(Self { readers, reads: AtomicBool::new(false), moved: Notify::new() })
    }

    /// Notes a call of `path` on the connection.
    pub(crate) fn called(&self, path: &str) {
        if STREAMS.contains(&path) && !self.reads.swap(true, Ordering::Relaxed) {
            self.moved.notify_one();
        }
    }

    pub(crate) fn readers(&self) -> &Handle {
        &self.readers
    }

    /// Waits for the connection's first stream. Only one task may wait.
    pub(crate) async fn reads(&self) {
        self.moved.notified().await;
    }

    /// Spawns a call where its connection is served.
    pub(crate) fn spawn(&self, call: impl Future<Output: Send + 'static> + Send + 'static) {
        if self.reads.load(Ordering::Relaxed) {
            self.readers.spawn(call);
        } else {
            tokio::spawn(call);
        }
    }
}
