//! What the system knows of this process, under the names that Prometheus' own libraries use.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

/// Where user and system time stand in `/proc/self/stat`, counted after the command's name. See `proc_pid_stat(5)`.
const USER_TIME: usize = 11;
const SYSTEM_TIME: usize = 12;

/// This process. What the system does not tell is left out.
#[derive(Debug)]
pub(super) struct Process {
    started: f64,
}

impl Process {
    /// A process that starts now.
    pub(super) fn now() -> Self {
        Self { started: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64() }
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        if let Some(seconds) = processor_seconds() {
            let spent = ConstCounter::new(seconds);
            let help = "Processor time that was used";
            spent.encode(encoder.encode_descriptor("process_cpu_seconds", help, None, spent.metric_type())?)?;
        }
        let mut gauge = |name: &str, help: &str, value: Option<f64>| {
            let Some(value) = value else { return Ok(()) };
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
        };
        gauge("process_resident_memory_bytes", "Memory in use", resident_bytes())?;
        gauge("process_open_fds", "Open files and connections", open_files())?;
        let limit = getrlimit(Resource::Nofile).current;
        gauge("process_max_fds", "The most files and connections that may be open", limit.map(number))?;
        gauge("process_start_time_seconds", "When the process started, since 1970", Some(self.started))
    }
}

#[expect(clippy::cast_precision_loss, reason = "none of these comes near 2^53")]
fn number(value: u64) -> f64 {
    value as f64
}

fn processor_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name may hold spaces and parentheses.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |field: usize| fields.get(field)?.parse::<u64>().ok();
    Some(number(ticks(USER_TIME)? + ticks(SYSTEM_TIME)?) / number(clock_ticks_per_second()))
}

fn resident_bytes() -> Option<f64> {
    let memory = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = memory.split_whitespace().nth(1)?.parse().ok()?;
    Some(number(pages * page_size() as u64))
}

fn open_files() -> Option<f64> {
    // Reading the folder opens one more.
    Some(number((std::fs::read_dir("/proc/self/fd").ok()?.count() as u64).saturating_sub(1)))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_system_tells_what_this_process_uses() {
        let before = processor_seconds().unwrap();
        let busy = std::time::Instant::now();
        while busy.elapsed().as_millis() < 100 {
            std::hint::black_box(0);
        }
        assert!(processor_seconds().unwrap() > before);
        assert!(resident_bytes().unwrap() > 1e6);
        let files = open_files().unwrap();
        let _file = std::fs::File::open("/proc/self/stat").unwrap();
        assert!(open_files().unwrap() > files - 1.0 && files >= 3.0);
    }
}
