//! The follower's example of a replica, against a real leader.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;
#[allow(dead_code, reason = "the test calls `run` and not `main`")]
#[path = "../../follower/examples/replica.rs"]
mod example;

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use engine::Operation;
use follower::connect;
use leader::config::Generator;
use wire::Identity;

#[derive(Clone, Default)]
struct Output(Arc<Mutex<Vec<u8>>>);

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Output {
    fn last_line(&self) -> String {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().last().unwrap_or_default().to_owned()
    }
}

#[tokio::test]
async fn the_example_prints_value_index_and_digest() {
    let url = common::leader(Generator::Off).await;
    let output = Output::default();
    let submitting = async {
        let link = connect(&url, Identity::default()).unwrap();
        for operation in [Operation::Add(6), Operation::PowerOfTwo, Operation::Subtract(1)] {
            link.calls().submit(operation).await.unwrap();
        }
        // The digest depends on the log's id, which is new in every run.
        while !output.last_line().starts_with("value 35 index 3 digest ") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let ended = tokio::select! {
        ended = example::run(&url, output.clone()) => format!("it ended: {ended:?}"),
        done = tokio::time::timeout(Duration::from_secs(20), submitting) => format!("{done:?}"),
    };
    assert_eq!(ended, "Ok(())", "the last line is {:?}", output.last_line());
    assert_eq!(output.last_line().rsplit(' ').next().map(str::len), Some(16));
}
