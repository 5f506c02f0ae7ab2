//! The programs under test, as processes that end with the test.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use follower::Calls;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use wire::pb;
use wire::pb::calculator_service_client::CalculatorServiceClient;

use crate::scheme::{Files, Scheme, options_for};

/// How long a program may take to start.
pub(crate) const START: Duration = Duration::from_secs(20);

/// The folder of the programs: `CALCULATOR_BIN_DIR`, or `target/release`.
#[must_use]
pub fn bin_dir() -> PathBuf {
    std::env::var_os("CALCULATOR_BIN_DIR")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/release")), PathBuf::from)
}

/// A program of another project: the one that `variable` names, or the first of `names` that is installed.
///
/// # Errors
///
/// If there is none.
pub(crate) fn installed(variable: &str, names: &[&str]) -> anyhow::Result<PathBuf> {
    if let Some(path) = std::env::var_os(variable).filter(|path| !path.is_empty()) {
        return Ok(PathBuf::from(path));
    }
    // Debian keeps some programs where only root's `PATH` leads.
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/usr/local/sbin";
    let mut found = names.iter().filter_map(|name| which::which_in(name, Some(&path), "/").ok());
    found.next().with_context(|| {
        format!(
            "{} is not installed; `cargo xtask test --missing` says what is; {variable} can name another one",
            names[0]
        )
    })
}

/// An address on this machine that nobody listens on.
///
/// Its port is not one that the system gives to outgoing connections. Otherwise a client could take the port of a leader
/// that is restarting, by connecting to it.
///
/// # Errors
///
/// If no port is free.
pub fn free_address() -> anyhow::Result<SocketAddr> {
    // Linux gives outgoing connections 32768 and above, other systems 49152.
    let mut tried = (0..100).map(|_| SocketAddr::from(([127, 0, 0, 1], rand::random_range(20_000..32_000))));
    tried.find(|address| std::net::TcpListener::bind(address).is_ok()).context("no free port")
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
    /// If it cannot be started; the error says what to build.
    pub fn start(name: &str, arguments: &[&str]) -> anyhow::Result<Self> {
        let path = bin_dir().join(name);
        Self::spawn(Command::new(&path).args(arguments)).with_context(|| what_to_build(&path))
    }

    /// Starts `command` and collects what it prints.
    ///
    /// # Errors
    ///
    /// If it cannot be started.
    pub fn spawn(command: &mut Command) -> anyhow::Result<Self> {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn()?;
        let lines = Arc::default();
        collect(child.stdout.take(), &lines);
        collect(child.stderr.take(), &lines);
        Ok(Self { child, lines })
    }

    /// The process's id.
    ///
    /// # Errors
    ///
    /// If it has ended.
    pub fn id(&self) -> anyhow::Result<u32> {
        self.child.id().context("the process has ended")
    }

    /// Waits until the process ends by itself.
    ///
    /// # Errors
    ///
    /// If that takes too long.
    pub async fn ended(&mut self) -> anyhow::Result<ExitStatus> {
        let ended = tokio::time::timeout(START, self.child.wait()).await.context("the process did not end")?;
        ended.context("the process cannot be waited for")
    }

    /// The lines that it printed so far.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().map(|lines| lines.clone()).unwrap_or_default()
    }

    /// Waits for a line for which `pick` returns something, and returns that.
    ///
    /// # Errors
    ///
    /// If there is none in time or before the program ends; the error has what it printed instead.
    pub async fn wait_for<T>(&self, pick: impl Fn(&str) -> Option<T>) -> anyhow::Result<T> {
        let deadline = Instant::now() + START;
        loop {
            // The tasks that collect the lines hold a reference until the program closes its outputs.
            let ended = Arc::strong_count(&self.lines) == 1;
            let lines = self.lines();
            if let Some(found) = lines.iter().find_map(|line| pick(line)) {
                return Ok(found);
            }
            if ended || Instant::now() > deadline {
                bail!("the program did not print what was expected, but:\n{}", lines.join("\n"));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The processor time that it has used.
    ///
    /// # Errors
    ///
    /// If the process is gone, or this is not Linux.
    pub fn cpu(&self) -> anyhow::Result<Duration> {
        /// Linux reports hundredths of a second to user space, whatever the kernel's own tick is.
        const TICK: Duration = Duration::from_millis(10);

        let stat = std::fs::read_to_string(self.proc("stat")?).context("the process is gone")?;
        // The second field is the name in parentheses, which may hold spaces.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |at: usize| {
            fields.get(at).and_then(|field| field.parse::<u32>().ok()).context("/proc/PID/stat has another form")
        };
        Ok(TICK * (ticks(11)? + ticks(12)?))
    }

    /// Its resident memory, in bytes.
    ///
    /// # Errors
    ///
    /// If the process is gone, or this is not Linux.
    pub fn memory(&self) -> anyhow::Result<u64> {
        self.kibibytes("VmRSS:").map(|kib| kib * 1024)
    }

    /// Its highest resident memory so far, in bytes.
    ///
    /// # Errors
    ///
    /// If the process is gone, or this is not Linux.
    pub fn peak_memory(&self) -> anyhow::Result<u64> {
        self.kibibytes("VmHWM:").map(|kib| kib * 1024)
    }

    fn kibibytes(&self, field: &str) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(self.proc("status")?).context("the process is gone")?;
        let line = status.lines().find_map(|line| line.strip_prefix(field)).with_context(|| format!("no {field}"))?;
        line.trim().trim_end_matches("kB").trim().parse().with_context(|| format!("{field} is no number"))
    }

    fn proc(&self, file: &str) -> anyhow::Result<String> {
        Ok(format!("/proc/{}/{file}", self.id()?))
    }

    /// Kills it at once, as `kill -9` does.
    ///
    /// # Errors
    ///
    /// If the operating system refuses.
    pub async fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill().await.context("the process could not be killed")
    }
}

fn what_to_build(path: &Path) -> String {
    format!(
        "{} cannot be started; run `cargo xtask test`, or build it with `cargo build --release -p leader -p replica`",
        path.display()
    )
}

/// Runs `name` from [`bin_dir`] to its end and returns what it printed.
///
/// # Errors
///
/// If it cannot be started; the error says what to build.
pub async fn run_to_end(name: &str, arguments: &[&str]) -> anyhow::Result<Output> {
    let path = bin_dir().join(name);
    Command::new(&path).args(arguments).kill_on_drop(true).output().await.with_context(|| what_to_build(&path))
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
    /// The address that it listens on.
    pub address: SocketAddr,
    scheme: Scheme,
    /// Its certificate, for as long as it may read it again.
    _files: Option<Files>,
}

impl Leader {
    /// Starts a leader on a free port.
    ///
    /// # Errors
    ///
    /// If it does not start to listen.
    pub async fn start(arguments: &[&str]) -> anyhow::Result<Self> {
        Self::start_on("127.0.0.1:0", arguments).await
    }

    /// Starts a leader on `listen`, where all clients may come from one address. Its log is in memory unless `arguments`
    /// contain `--data-dir`.
    ///
    /// # Errors
    ///
    /// If it does not start to listen.
    pub async fn start_on(listen: &str, arguments: &[&str]) -> anyhow::Result<Self> {
        Self::launch(Scheme::of_run(), listen, arguments, None).await
    }

    /// Starts a leader on a free port that is reached by `scheme`, whatever the run's scheme is.
    ///
    /// # Errors
    ///
    /// If it does not start to listen.
    pub async fn start_over(scheme: Scheme, arguments: &[&str]) -> anyhow::Result<Self> {
        Self::launch(scheme, "127.0.0.1:0", arguments, None).await
    }

    /// Starts a leader on a free port that logs what `log` says, as in `RUST_LOG`.
    ///
    /// # Errors
    ///
    /// If it does not start to listen.
    pub async fn start_logging(log: &str, arguments: &[&str]) -> anyhow::Result<Self> {
        Self::launch(Scheme::of_run(), "127.0.0.1:0", arguments, Some(log)).await
    }

    async fn launch(scheme: Scheme, listen: &str, arguments: &[&str], log: Option<&str>) -> anyhow::Result<Self> {
        let path = bin_dir().join("calculator-leader");
        let mut command = Command::new(&path);
        // All clients of a test come from one address.
        command.args(["--listen", listen, "--max-per-client", "100000"]).args(arguments);
        if !arguments.contains(&"--data-dir") {
            command.arg("--ephemeral");
        }
        if let Some(log) = log {
            command.env("RUST_LOG", log);
        }
        let files = if scheme == Scheme::Https { Some(Files::write()?) } else { None };
        if let Some(files) = &files {
            command.arg("--tls-cert").arg(files.certificate()).arg("--tls-key").arg(files.key());
        }
        let program = Program::spawn(&mut command).with_context(|| what_to_build(&path))?;
        Ok(Self { scheme, _files: files, ..Self::up(program).await? })
    }

    /// Waits until the leader that runs as `program` listens, in cleartext.
    ///
    /// # Errors
    ///
    /// If it does not start to listen.
    pub async fn up(program: Program) -> anyhow::Result<Self> {
        let address = program
            .wait_for(|line| line.split_whitespace().find_map(|word| word.strip_prefix("listen=")?.parse().ok()))
            .await
            .context("the leader did not say where it listens")?;
        Ok(Self::at(program, address))
    }

    /// The leader that runs as `program` and will listen at `address` in cleartext.
    #[must_use]
    pub fn at(program: Program, address: SocketAddr) -> Self {
        Self { program, address, scheme: Scheme::Http, _files: None }
    }

    /// Its address as a URL.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_at(self.address)
    }

    /// The URL of another address that leads to it.
    #[must_use]
    pub fn url_at(&self, address: SocketAddr) -> String {
        format!("{}://{address}", self.scheme.name())
    }

    /// Single calls.
    ///
    /// # Errors
    ///
    /// If there is no certificate.
    pub fn calls(&self) -> anyhow::Result<Calls> {
        let url = self.url();
        Ok(follower::connect_with(&url, wire::Identity::default(), &options_for(&url)?)?.calls())
    }

    /// A connection for calls.
    ///
    /// # Errors
    ///
    /// If the leader cannot be reached.
    pub async fn client(&self) -> anyhow::Result<CalculatorServiceClient<Channel>> {
        Ok(CalculatorServiceClient::new(self.channel().await?))
    }

    /// A connection.
    ///
    /// # Errors
    ///
    /// If the leader cannot be reached.
    pub async fn channel(&self) -> anyhow::Result<Channel> {
        let mut endpoint = Endpoint::from_shared(self.url())?;
        if self.scheme == Scheme::Https {
            endpoint = endpoint.tls_config(ClientTlsConfig::new().ca_certificate(Files::write()?.root()?))?;
        }
        endpoint.connect().await.context("the leader cannot be reached")
    }

    /// Its answer to `GetStatus`.
    ///
    /// # Errors
    ///
    /// If it does not answer.
    pub async fn status(&self) -> anyhow::Result<pb::GetStatusResponse> {
        let status = self.client().await?.get_status(pb::GetStatusRequest {}).await;
        Ok(status.context("the leader did not answer GetStatus")?.into_inner())
    }
}

/// A `calculator-replica` process that writes JSON.
#[derive(Debug)]
pub struct ReplicaProcess {
    /// The process.
    pub program: Program,
    /// What it verifies its leader with, for as long as it may read it.
    _files: Option<Files>,
}

impl ReplicaProcess {
    /// Starts a replica that follows the leader at `url`.
    ///
    /// # Errors
    ///
    /// If it cannot be started.
    pub fn start(url: &str, name: &str) -> anyhow::Result<Self> {
        let path = bin_dir().join("calculator-replica");
        let mut command = Command::new(&path);
        command.args(["--leader", url, "--name", name, "--output", "json"]);
        let files = if Scheme::of(url) == Scheme::Https { Some(Files::write()?) } else { None };
        if let Some(files) = &files {
            command.arg("--tls-ca").arg(files.certificate());
        }
        let program = Program::spawn(&mut command).with_context(|| what_to_build(&path))?;
        Ok(Self { program, _files: files })
    }

    /// The digest and the value at each index where a batch or a snapshot ended.
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

    /// Waits until it holds `index` or a later one.
    ///
    /// # Errors
    ///
    /// If that takes too long; the error has its newest lines.
    pub async fn wait_for_index(&self, index: u64) -> anyhow::Result<()> {
        let deadline = Instant::now() + START;
        while self.held().last_key_value().is_none_or(|(held, _)| *held < index) {
            let lines = self.program.lines();
            let newest = &lines[lines.len().saturating_sub(5)..];
            anyhow::ensure!(
                Instant::now() < deadline,
                "the replica did not reach index {index}:\n{}",
                newest.join("\n")
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }
}
