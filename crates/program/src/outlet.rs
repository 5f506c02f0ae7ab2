//! Lines for a reader that may be slow or gone.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::panic;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::printable;

/// Waiting lines are written together, up to this size.
const WRITE_BYTES: usize = 64 << 10;

/// How soon to try again when a write would block. Another program can make a shared output non-blocking.
const WOULD_BLOCK: Duration = Duration::from_millis(10);

/// Writes lines on a thread of its own, so that no caller waits for the reader.
///
/// Lines that find the queue full, or that cannot be written, are dropped and counted. As soon as there is room, a line
/// in their place says how many are missing.
#[derive(Clone, Debug)]
pub struct Outlet {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    /// Notified after each change of `queue`.
    changed: Condvar,
}

#[derive(Debug)]
struct Queue {
    lines: VecDeque<Line>,
    /// The memory of `lines`.
    bytes: usize,
    /// The most that `bytes` may be.
    limit: usize,
    /// Lines that were dropped since a line last said so.
    dropped: u64,
    /// All lines that were dropped.
    lost: u64,
    /// Makes the line that says how many were dropped.
    dropped_line: fn(u64) -> String,
    /// Whether the thread is writing lines.
    writing: bool,
    /// Whether the last write failed. Then the line about dropped lines waits for the next line.
    failing: bool,
}

#[derive(Debug)]
struct Line {
    /// The text with its line end.
    text: String,
    /// How many lines are lost if this one is: 1, or as many as it reports as dropped.
    stands_for: u64,
}

impl Outlet {
    /// Writes to standard error. See [`start`](Self::start).
    ///
    /// # Errors
    ///
    /// If the system refuses a thread or an open file.
    pub fn stderr(limit: usize, dropped_line: fn(u64) -> String) -> io::Result<Self> {
        Self::start(unbuffered(io::stderr())?, limit, dropped_line, |_| {})
    }

    /// Writes to standard output, and calls `failed` for every write that fails. See [`start`](Self::start).
    ///
    /// # Errors
    ///
    /// If the system refuses a thread or an open file.
    pub fn stdout(
        limit: usize,
        dropped_line: fn(u64) -> String,
        failed: impl FnMut(io::Error) + Send + 'static,
    ) -> io::Result<Self> {
        Self::start(unbuffered(io::stdout())?, limit, dropped_line, failed)
    }

    /// Writes to `writer`. At most `limit` bytes wait in memory, beside some 64 KiB that are being written. `dropped_line`
    /// makes the line that says how many were dropped. The thread calls `failed` for every write that fails.
    ///
    /// # Errors
    ///
    /// If the system refuses a thread.
    pub fn start(
        writer: impl Write + Send + 'static,
        limit: usize,
        dropped_line: fn(u64) -> String,
        failed: impl FnMut(io::Error) + Send + 'static,
    ) -> io::Result<Self> {
        let queue = Queue {
            lines: VecDeque::new(),
            bytes: 0,
            limit,
            dropped: 0,
            lost: 0,
            dropped_line,
            writing: false,
            failing: false,
        };
        let shared = Arc::new(Shared { queue: Mutex::new(queue), changed: Condvar::new() });
        let outlet = Self { shared: Arc::clone(&shared) };
        // The thread is never joined, because it may be stuck in a write until the process ends.
        thread::Builder::new().name("outlet".to_owned()).spawn(move || write_lines(&shared, writer, failed))?;
        Ok(outlet)
    }

    /// Queues a line, given without its line end. Drops it if the queue is full.
    pub fn line(&self, mut text: String) {
        text.push('\n');
        self.shared.lock().push(Line { text, stands_for: 1 });
        self.shared.changed.notify_all();
    }

    /// Waits, at most `patience` long, until the thread has tried to write every line. Returns `false` if time ran out or the
    /// last write failed.
    #[must_use = "lines may be left"]
    pub fn flush(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let mut queue = self.shared.lock();
        while !queue.is_idle() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            queue = self.shared.changed.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        !queue.failing
    }

    /// How many lines were dropped since the start.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.shared.lock().lost
    }

    /// Reports panics through this outlet, each line as `format` writes it. With Rust's own report the thread that panicked
    /// would wait for a reader of standard error.
    pub fn take_panics(&self, format: fn(&str) -> String) {
        let outlet = self.clone();
        panic::set_hook(Box::new(move |panic| {
            let name = thread::current().name().unwrap_or("unnamed").to_owned();
            outlet.line(format(&format!("thread {name:?} {}", printable(&panic.to_string()))));
            let backtrace = Backtrace::capture();
            if backtrace.status() == BacktraceStatus::Captured {
                backtrace.to_string().lines().for_each(|line| outlet.line(format(line)));
            }
        }));
    }
}

/// A handle without the standard library's buffer and lock, because a thread that is stuck would hold that lock.
fn unbuffered(stream: impl AsFd) -> io::Result<File> {
    Ok(stream.as_fd().try_clone_to_owned()?.into())
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // A panic while the lock is held leaves the queue whole.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn push(&mut self, line: Line) {
        let missing = self.missing();
        if self.bytes + line.cost() + missing.as_ref().map_or(0, Line::cost) > self.limit {
            self.dropped += 1;
            self.lost += 1;
            return;
        }
        self.dropped = 0;
        for line in missing.into_iter().chain([line]) {
            self.bytes += line.cost();
            self.lines.push_back(line);
        }
    }

    /// The line that says how many lines were dropped, if any.
    fn missing(&self) -> Option<Line> {
        let text = || format!("{}\n", (self.dropped_line)(self.dropped));
        (self.dropped > 0).then(|| Line { text: text(), stands_for: self.dropped })
    }

    /// Lines to write together; none if there is nothing to do.
    fn take(&mut self) -> Vec<Line> {
        if self.lines.is_empty() {
            // A reader that comes back learns at once what is missing.
            let missing = self.missing().filter(|_| !self.failing);
            self.dropped = if missing.is_some() { 0 } else { self.dropped };
            return missing.into_iter().collect();
        }
        let mut taken = Vec::new();
        let mut size = 0;
        while let Some(line) = self.lines.pop_front() {
            if size > 0 && size + line.text.len() > WRITE_BYTES {
                self.lines.push_front(line);
                break;
            }
            size += line.text.len();
            self.bytes -= line.cost();
            taken.push(line);
        }
        taken
    }

    fn is_idle(&self) -> bool {
        self.lines.is_empty() && !self.writing && (self.dropped == 0 || self.failing)
    }
}

impl Line {
    /// The memory that it takes.
    fn cost(&self) -> usize {
        size_of::<Self>() + self.text.len()
    }
}

fn write_lines(shared: &Shared, mut writer: impl Write, mut failed: impl FnMut(io::Error)) {
    // Whether the last write ended in the middle of a line.
    let mut torn = false;
    loop {
        let lines = next(shared);
        let start = if torn { "\n" } else { "" };
        let text: String = [start].into_iter().chain(lines.iter().map(|line| line.text.as_str())).collect();
        let outcome = write(&mut writer, text.as_bytes());
        let mut queue = shared.lock();
        queue.failing = outcome.is_err();
        if let Err((written, _)) = &outcome {
            let mut end = start.len();
            let lost = lines.iter().filter(|line| {
                end += line.text.len();
                end > *written
            });
            for line in lost {
                queue.dropped += line.stands_for;
                // A line that reports dropped lines stands for lines that are counted already.
                queue.lost += u64::from(line.stands_for == 1);
            }
            torn = match written {
                0 => torn,
                written => text.as_bytes()[written - 1] != b'\n',
            };
        } else {
            torn = false;
        }
        queue.writing = false;
        drop(queue);
        if let Err((_, error)) = outcome {
            failed(error);
        }
        shared.changed.notify_all();
    }
}

/// Waits for lines to write.
fn next(shared: &Shared) -> Vec<Line> {
    let mut queue = shared.lock();
    loop {
        let lines = queue.take();
        if !lines.is_empty() {
            queue.writing = true;
            return lines;
        }
        queue = shared.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
    }
}

/// Writes all bytes, or returns how many were written before the error.
fn write(writer: &mut impl Write, bytes: &[u8]) -> Result<(), (usize, io::Error)> {
    let mut written = 0;
    while written < bytes.len() {
        match writer.write(&bytes[written..]) {
            Ok(0) => return Err((written, io::ErrorKind::WriteZero.into())),
            Ok(more) => written += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(WOULD_BLOCK),
            Err(error) => return Err((written, error)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn tell(dropped: u64) -> String {
        format!("dropped {dropped}")
    }

    /// A reader that takes one write for each answer, which says how many bytes it takes, or the error.
    struct Slow {
        answers: Receiver<io::Result<usize>>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = self.answers.recv().map_err(|_| io::ErrorKind::BrokenPipe)??.min(bytes.len());
            self.written.lock().unwrap().extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Test {
        outlet: Outlet,
        answers: Sender<io::Result<usize>>,
        written: Arc<Mutex<Vec<u8>>>,
        failures: Receiver<io::Error>,
    }

    impl Test {
        fn start(limit: usize) -> Self {
            let ((answers, reader), (failed, failures)) = (channel(), channel());
            let written = Arc::default();
            let slow = Slow { answers: reader, written: Arc::clone(&written) };
            let outlet = Outlet::start(slow, limit, tell, move |error| drop(failed.send(error))).unwrap();
            Self { outlet, answers, written, failures }
        }

        fn say(&self, lines: impl IntoIterator<Item = u32>) {
            lines.into_iter().for_each(|number| self.outlet.line(number.to_string()));
        }

        fn wait_until(&self, done: impl Fn(&Queue) -> bool) {
            let deadline = Instant::now() + PATIENCE;
            while !done(&self.outlet.shared.lock()) {
                assert!(Instant::now() < deadline);
                thread::sleep(Duration::from_millis(1));
            }
        }

        fn read(&self, writes: usize) {
            (0..writes).for_each(|_| self.answers.send(Ok(usize::MAX)).unwrap());
        }

        fn written(&self) -> Vec<String> {
            let written = self.written.lock().unwrap().clone();
            String::from_utf8(written).unwrap().lines().map(str::to_owned).collect()
        }
    }

    #[test]
    fn all_lines_arrive_in_order() {
        let test = Test::start(1 << 20);
        test.read(1_000);
        test.say(0..1_000);
        assert!(test.outlet.flush(PATIENCE));
        assert!(test.written().into_iter().eq((0..1_000).map(|number| number.to_string())));
    }

    #[test]
    fn a_line_in_their_place_counts_the_lines_that_found_no_room() {
        let test = Test::start(10 * (size_of::<Line>() + 20));
        test.say([0]);
        test.wait_until(|queue| queue.lines.is_empty());
        // This returns although nobody reads.
        test.say(1..=1_000);
        assert!(!test.outlet.flush(Duration::from_millis(10)), "nobody read");
        test.read(2);
        test.wait_until(|queue| queue.dropped == 0);
        let written = test.written().len() as u64;
        test.read(1_000);
        assert!(test.outlet.flush(PATIENCE));
        assert_eq!(test.written().last().unwrap(), &tell(1_001 - written), "the count comes without another line");
        test.say([7_777]);
        assert!(test.outlet.flush(PATIENCE));
        assert_eq!(test.written().last().unwrap(), "7777");
        assert_eq!(test.written().len() as u64, written + 2);
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted_and_a_torn_one_is_ended() {
        let test = Test::start(1 << 20);
        test.answers.send(Ok(1)).unwrap();
        test.answers.send(Err(io::ErrorKind::StorageFull.into())).unwrap();
        test.say([100]);
        assert!(!test.outlet.flush(PATIENCE));
        test.answers.send(Err(io::ErrorKind::StorageFull.into())).unwrap();
        test.say([200]);
        assert!(!test.outlet.flush(PATIENCE));
        test.read(1);
        test.say([300]);
        assert!(test.outlet.flush(PATIENCE));
        assert_eq!(test.written(), ["1", "dropped 2", "300"]);
        assert_eq!(test.failures.try_iter().count(), 2);
    }

    #[test]
    fn an_output_that_would_block_is_tried_again() {
        let test = Test::start(1 << 20);
        test.answers.send(Err(io::ErrorKind::WouldBlock.into())).unwrap();
        test.answers.send(Err(io::ErrorKind::Interrupted.into())).unwrap();
        test.read(1);
        test.say([1]);
        assert!(test.outlet.flush(PATIENCE));
        assert_eq!(test.written(), ["1"]);
    }
}
