//! The threads that read, each with a connection of its own.
//!
//! They are not tokio's: whoever writes or answers a call never waits for a thread behind replicas that catch up.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use engine::Index;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::error::RowError;
use super::reader::SqliteReader;
use super::rows::State;
use crate::ReadError;

/// How many reads run at a time. They use little but the processor, of which one core is what replicas that catch up may
/// have. (A low priority instead would make writers wait: on a busy machine a thread that holds a lock for a moment then gets
/// no turn to let go of it.)
pub(super) const READERS: u32 = 1;

/// The threads. Dropping it waits for the reads that run, and closes their connections.
#[derive(Debug)]
pub(super) struct Pool {
    /// A place for each thread, given in the order of asking: what waits for one is not queued anywhere else.
    pub(super) free: Arc<Semaphore>,
    jobs: Option<Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
}

/// One read. Its place is free again when it is dropped.
struct Job {
    read: Box<dyn FnOnce(&mut Connector) + Send>,
    _place: OwnedSemaphorePermit,
}

/// Connects when there is something to read, and keeps the connection.
struct Connector {
    directory: PathBuf,
    state: State,
    reader: Option<SqliteReader>,
}

impl Pool {
    /// Threads that read the log in `directory`, of which `state` was opened.
    pub(super) fn start(directory: &std::path::Path, state: State) -> std::io::Result<Self> {
        let (jobs, queue) = channel();
        let queue = Arc::new(Mutex::new(queue));
        let mut threads = Vec::new();
        for number in 1..=READERS {
            let queue = Arc::clone(&queue);
            let connector = Connector { directory: directory.to_owned(), state, reader: None };
            let thread = std::thread::Builder::new().name(format!("log-reader-{number}"));
            threads.push(thread.spawn(move || read_all(&queue, connector))?);
        }
        Ok(Self { free: Arc::new(Semaphore::new(READERS as usize)), jobs: Some(jobs), threads })
    }

    /// Runs `read` on a connection, on a thread where it may wait for the disk. One that is not wanted any more, because
    /// this was dropped, is left out.
    pub(super) async fn run<R: Send + 'static>(
        &self,
        read: impl FnOnce(&mut SqliteReader) -> Result<R, ReadError> + Send + 'static,
    ) -> Result<R, ReadError> {
        let unavailable = |reason: &str| ReadError::Unavailable(reason.to_owned());
        let place = Arc::clone(&self.free).acquire_owned().await;
        let place = place.map_err(|closed| ReadError::Unavailable(closed.to_string()))?;
        let (done, answer) = oneshot::channel();
        let read = move |connector: &mut Connector| {
            if !done.is_closed() {
                // It may have been dropped meanwhile.
                let _ = done.send(connector.connect().and_then(read));
            }
        };
        let job = Job { read: Box::new(read), _place: place };
        let jobs = self.jobs.as_ref().ok_or_else(|| unavailable("the log is being closed"))?;
        jobs.send(job).map_err(|_| unavailable("the threads that read it ended"))?;
        answer.await.map_err(|_| unavailable("reading it panicked"))?
    }
}

impl Connector {
    fn connect(&mut self) -> Result<&mut SqliteReader, ReadError> {
        if self.reader.is_none() {
            let reader = SqliteReader::reopen(&self.directory, self.state);
            self.reader = Some(reader.map_err(|error| RowError::sqlite(&error, Index::ZERO))?);
        }
        self.reader.as_mut().ok_or_else(|| ReadError::Unavailable("there is no connection".to_owned()))
    }
}

fn read_all(queue: &Mutex<Receiver<Job>>, mut connector: Connector) {
    loop {
        // Whoever waits for a job holds the lock meanwhile, and the others wait for the lock.
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { read, _place }) = job else { return };
        if catch_unwind(AssertUnwindSafe(|| read(&mut connector))).is_err() {
            connector.reader = None;
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.jobs = None;
        for thread in self.threads.drain(..) {
            // Panics are caught where they happen.
            let _ = thread.join();
        }
    }
}
