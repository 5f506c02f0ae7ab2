//! A replica whose output is not read for a while, in this process so that little has to be dropped.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use engine::Replica;
use engine::replica::Notice;
use follower::{LinkError, Observer, connect, follow};
use leader::config::Generator;
use program::Outlet;
use replica::output::{Format, Output};
use wire::Identity;

/// A writer that takes nothing before it is opened.
#[derive(Clone, Default)]
struct Gate(Arc<State>);

#[derive(Default)]
struct State {
    open: Mutex<bool>,
    opened: Condvar,
    written: Mutex<Vec<u8>>,
}

impl Write for Gate {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let open = self.0.open.lock().unwrap();
        drop(self.0.opened.wait_while(open, |open| !*open).unwrap());
        self.0.written.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Gate {
    fn open(&self) {
        *self.0.open.lock().unwrap() = true;
        self.0.opened.notify_all();
    }

    fn lines(&self) -> Vec<serde_json::Value> {
        let written = self.0.written.lock().unwrap().clone();
        String::from_utf8(written).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// An output that counts the batches.
struct Counted(Output, Arc<Mutex<u64>>);

impl Observer for Counted {
    fn notice(&mut self, notice: Notice, replica: &Replica) {
        *self.1.lock().unwrap() += u64::from(matches!(notice, Notice::Applied { .. }));
        self.0.notice(notice, replica);
    }

    fn link_failed(&mut self, error: &LinkError) {
        self.0.link_failed(error);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_that_a_stuck_output_misses_are_counted_in_their_place() {
    let url = common::leader(Generator::Rate(1_000)).await;
    let gate = Gate::default();
    let outlet = Outlet::start(gate.clone(), 20_000, Format::Json.dropped(), |_| {}).unwrap();
    let applied = Arc::default();
    let mut output = Counted(Output::new(Format::Json, url.clone(), outlet.clone()), Arc::clone(&applied));
    let link = connect(&url, Identity::default()).unwrap();
    let following = tokio::spawn(async move { follow(Replica::new(1), link, &mut output).await });

    let until = async |count: u64| {
        let deadline = Instant::now() + Duration::from_secs(20);
        while *applied.lock().unwrap() < count {
            assert!(Instant::now() < deadline, "a stuck output stops the replica");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    until(500).await;
    gate.open();
    let more = *applied.lock().unwrap() + 50;
    until(more).await;
    following.abort();
    let _ = following.await;
    assert!(outlet.flush(Duration::from_secs(10)));

    let lines = gate.lines();
    let dropped: u64 = lines.iter().filter_map(|line| line["lines"].as_u64()).sum();
    let applied_lines = lines.iter().filter(|line| line["type"] == "applied").count() as u64;
    assert!(dropped > 100, "{dropped}");
    assert_eq!(applied_lines + dropped, *applied.lock().unwrap(), "each line is there or counted");
    let mut next = None;
    for line in &lines {
        match line["type"].as_str().unwrap() {
            "applied" => {
                let (index, events) = (line["index"].as_u64().unwrap(), line["events"].as_u64().unwrap());
                assert!(next.is_none_or(|next| next == index - events + 1), "a line is missing at {index} in silence");
                next = Some(index + 1);
            }
            "dropped" => next = None,
            _ => {}
        }
    }
}
