//! The threads that read, each with a connection of its own.
//!
//! They are not tokio's, so that a commit or a call never waits for a thread that serves replicas which catch up.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use engine::Index;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::error::RowError;
use super::reader::SqliteReader;
use super::rows::Summary;
use crate::ReadError;

/// How many reads run at a time. They need little but the processor, and replicas that catch up may have one core of it.
/// A low priority instead would make writers wait: on a busy machine, a thread of low priority that holds a lock gets no
/// turn to release it.
pub(super) const READERS: u32 = 1;

/// The threads. Dropping the pool waits for the reads that run, and closes the connections.
#[derive(Debug)]
pub(super) struct Pool {
    /// A permit for each thread, given in the order of asking. Reads wait here and in no other queue.
    pub(super) free: Arc<Semaphore>,
    jobs: Option<Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
}

/// One read. Dropping it returns the permit.
struct Job {
    read: Box<dyn FnOnce(&mut Connector) + Send>,
    _place: OwnedSemaphorePermit,
}

/// Connects at the first read, and keeps the connection.
struct Connector {
    directory: PathBuf,
    summary: Summary,
    reader: Option<SqliteReader>,
}

impl Pool {
    /// Starts threads that read the log in `directory`, which was opened with `summary`.
    pub(super) fn start(directory: &std::path::Path, summary: Summary) -> std::io::Result<Self> {
        let (jobs, queue) = channel();
        let queue = Arc::new(Mutex::new(queue));
        let mut threads = Vec::new();
        for number in 1..=READERS {
            let queue = Arc::clone(&queue);
            let connector = Connector { directory: directory.to_owned(), summary, reader: None };
            let thread = std::thread::Builder::new().name(format!("log-reader-{number}"));
            threads.push(thread.spawn(move || read_all(&queue, connector))?);
        }
        Ok(Self { free: Arc::new(Semaphore::new(READERS as usize)), jobs: Some(jobs), threads })
    }

    /// Runs `read` on a thread that may wait for the disk. Skips it if this future was dropped meanwhile.
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
                // Whoever waits may be gone.
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
            let reader = SqliteReader::reopen(&self.directory, self.summary);
            self.reader = Some(reader.map_err(|error| RowError::sqlite(&error, Index::ZERO))?);
        }
        self.reader.as_mut().ok_or_else(|| ReadError::Unavailable("there is no connection".to_owned()))
    }
}

fn read_all(queue: &Mutex<Receiver<Job>>, mut connector: Connector) {
    loop {
        // One thread waits for a job and holds the lock; the others wait for the lock.
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
            // A panic was caught where it happened.
            let _ = thread.join();
        }
    }
}
