//! The programs under test, as processes that end with the test.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};

/// How long a program may take to start.
const START: Duration = Duration::from_secs(20);

/// Where the programs are: `CALCULATOR_BIN_DIR`, or `target/release`.
#[must_use]
pub fn bin_dir() -> PathBuf {
    std::env::var_os("CALCULATOR_BIN_DIR")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/release")), PathBuf::from)
}

/// A running program. It is killed when this is dropped.
#[derive(Debug)]
pub struct Program {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Program {
    /// Starts `name` from [`bin_dir`] and collects what it prints.
    ///
    /// # Errors
    ///
    /// If it cannot be started, with what to build.
    pub fn start(name: &str, arguments: &[&str]) -> anyhow::Result<Self> {
        let path = bin_dir().join(name);
        let mut child = Command::new(&path)
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{} cannot be started; run `cargo xtask test`, or build it with `cargo build --release -p leader -p replica`", path.display()))?;
        let lines = Arc::default();
        collect(child.stdout.take(), &lines);
        collect(child.stderr.take(), &lines);
        Ok(Self { child, lines })
    }

    /// Everything printed so far, by lines.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().map(|lines| lines.clone()).unwrap_or_default()
    }

    /// Waits for a line that `pick` takes something from.
    ///
    /// # Errors
    ///
    /// If none comes in time, with what was printed instead.
    pub async fn wait_for<T>(&self, pick: impl Fn(&str) -> Option<T>) -> anyhow::Result<T> {
        let deadline = Instant::now() + START;
        loop {
            let lines = self.lines();
            if let Some(found) = lines.iter().find_map(|line| pick(line)) {
                return Ok(found);
            }
            if Instant::now() > deadline {
                bail!("the program did not print what was expected, but:\n{}", lines.join("\n"));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The processor time that it used so far.
    ///
    /// # Errors
    ///
    /// If the process is gone, or this is not Linux.
    pub fn cpu(&self) -> anyhow::Result<Duration> {
        /// Linux reports in hundredths of a second to user space, whatever the kernel's own tick.
        const TICK: Duration = Duration::from_millis(10);

        let stat = std::fs::read_to_string(self.proc("stat")?).context("the process is gone")?;
        // The second field is the name in parentheses, which may hold spaces.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks =
            |at: usize| fields.get(at).and_then(|field| field.parse::<u32>().ok()).context("an odd /proc/PID/stat");
        Ok(TICK * (ticks(11)? + ticks(12)?))
    }

    /// The memory that it holds now, in bytes.
    ///
    /// # Errors
    ///
    /// If the process is gone, or this is not Linux.
    pub fn memory(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(self.proc("status")?).context("the process is gone")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().context("an odd VmRSS")?;
        Ok(kib * 1024)
    }

    fn proc(&self, file: &str) -> anyhow::Result<String> {
        let id = self.child.id().context("the process has ended")?;
        Ok(format!("/proc/{id}/{file}"))
    }

    /// Kills it at once, as `kill -9` does.
    ///
    /// # Errors
    ///
    /// If the operating system will not.
    pub async fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill().await.context("the process could not be killed")
    }
}

fn collect(stream: Option<impl AsyncRead + Unpin + Send + 'static>, lines: &Arc<Mutex<Vec<String>>>) {
    let Some(stream) = stream else { return };
    let lines = Arc::clone(lines);
    tokio::spawn(async move {
        let mut stream = BufReader::new(stream).lines();
        while let Ok(Some(line)) = stream.next_line().await {
            if let Ok(mut lines) = lines.lock() {
                lines.push(line);
            }
        }
    });
}

/// A `calculator-leader` process.
#[derive(Debug)]
pub struct Leader {
    /// The process.
    pub program: Program,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Leader {
    /// Starts one on a free port.
    ///
    /// # Errors
    ///
    /// If it does not come up.
    pub async fn start(arguments: &[&str]) -> anyhow::Result<Self> {
        Self::start_on("127.0.0.1:0", arguments).await
    }

    /// Starts one on `listen`. Its log lives in memory unless `arguments` name a `--data-dir`.
    ///
    /// # Errors
    ///
    /// If it does not come up.
    pub async fn start_on(listen: &str, arguments: &[&str]) -> anyhow::Result<Self> {
        let memory: &[&str] = if arguments.contains(&"--data-dir") { &[] } else { &["--ephemeral"] };
        let program = Program::start("calculator-leader", &[&["--listen", listen], memory, arguments].concat())?;
        let address = program
            .wait_for(|line| line.split_whitespace().find_map(|word| word.strip_prefix("listen=")?.parse().ok()))
            .await
            .context("the leader did not say where it listens")?;
        Ok(Self { program, address })
    }

    /// Its address as replicas take it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// A `calculator-replica` process that writes JSON.
#[derive(Debug)]
pub struct Replica {
    /// The process.
    pub program: Program,
}

impl Replica {
    /// Starts one that follows the leader at `url`.
    ///
    /// # Errors
    ///
    /// If it cannot be started.
    pub fn start(url: &str, name: &str) -> anyhow::Result<Self> {
        let arguments = ["--leader", url, "--name", name, "--output", "json"];
        Ok(Self { program: Program::start("calculator-replica", &arguments)? })
    }

    /// What it held: for each index where a batch or snapshot ended, the digest and the value.
    #[must_use]
    pub fn held(&self) -> BTreeMap<u64, (String, String)> {
        let lines = self.program.lines();
        let objects = lines.iter().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let held = objects.filter_map(|line| {
            let text = |field: &str| line[field].as_str().map(str::to_owned);
            Some((line["index"].as_u64()?, (text("digest")?, text("value")?)))
        });
        held.collect()
    }
}
