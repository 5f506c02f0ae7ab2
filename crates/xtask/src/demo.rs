//! `cargo xtask demo`: runs a leader and some replicas on this machine.

use std::fs;
use std::future::pending;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::num::NonZeroU16;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use program::Outlet;
use rustix::process::Signal;
use tokio::process::Command;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::certificate::Certificate;
use crate::demo_child::{DemoChild, Ended};
use crate::health::Health;
use crate::interrupt::Interrupt;
use crate::wasm_cargo::WasmCargo;
use crate::workspace::Workspace;
use crate::{needs, page, process};

const LEADER: &str = "leader";

/// Output that waits for a reader of the console, in bytes; more is dropped and counted.
const CONSOLE_BYTES: usize = 1 << 20;
/// How long the last lines may wait for the reader.
const LAST_WORDS: Duration = Duration::from_secs(1);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many native replicas to start.
    #[arg(long, value_name = "N", default_value_t = 2)]
    replicas: usize,

    /// The port for the page, gRPC and gRPC-Web.
    #[arg(long, value_name = "PORT", default_value = "8080")]
    port: NonZeroU16,

    /// Time between the leader's random operations, such as `10ms..1s`.
    #[arg(long, value_name = "MIN..MAX")]
    pace: Option<String>,

    /// Random operations per second.
    #[arg(long, value_name = "N")]
    rate: Option<u64>,

    /// Speak TLS, with a certificate that the demo makes in target/demo.
    #[arg(long)]
    tls: bool,

    /// Keep the log in memory instead of in target/demo/data.
    #[arg(long)]
    ephemeral: bool,

    /// Compile quickly instead of well.
    #[arg(long)]
    dev: bool,
}

pub(crate) async fn run(args: &Args, wasm: &WasmCargo, workspace: &Workspace, interrupt: &Interrupt) -> Result<()> {
    build(args, wasm, workspace, interrupt).await?;
    Demo::new(args, workspace, interrupt)?.run().await
}

async fn build(args: &Args, wasm: &WasmCargo, workspace: &Workspace, interrupt: &Interrupt) -> Result<()> {
    needs::add_wasm_target(wasm, workspace, interrupt).await?;
    page::build(args.dev, wasm, workspace, interrupt).await?;
    println!("compiling the leader and the replica");
    let mut cargo = workspace.cargo("build");
    cargo.args(["--package", "leader", "--package", "replica"]);
    if !args.dev {
        cargo.arg("--release");
    }
    process::run("compiling the leader and the replica", cargo, interrupt).await
}

struct Demo<'a> {
    args: &'a Args,
    workspace: &'a Workspace,
    interrupt: &'a Interrupt,
    /// Holds the logs, and is the folder that the programs run in.
    folder: PathBuf,
    /// `None`: cleartext.
    certificate: Option<Certificate>,
    stop: watch::Sender<bool>,
    /// Not written to directly: the demo goes on when nobody reads its output.
    console: Outlet,
    /// Kills the programs that are still in it when it is dropped.
    running: JoinSet<Result<Ended>>,
}

impl<'a> Demo<'a> {
    fn new(args: &'a Args, workspace: &'a Workspace, interrupt: &'a Interrupt) -> Result<Self> {
        let folder = workspace.target_dir.join("demo");
        fs::create_dir_all(&folder).with_context(|| format!("cannot create the folder {}", folder.display()))?;
        let console = Outlet::stdout(CONSOLE_BYTES, |lines| format!("{lines} lines are missing here"), |_| {})
            .context("cannot write to standard output")?;
        let certificate = args.tls.then(|| Certificate::in_folder(&folder)).transpose()?;
        Ok(Self {
            args,
            workspace,
            interrupt,
            folder,
            certificate,
            stop: watch::Sender::new(false),
            console,
            running: JoinSet::new(),
        })
    }

    /// Returns when everything that it started has ended.
    async fn run(mut self) -> Result<()> {
        let interrupt = self.interrupt;
        let outcome = tokio::select! {
            outcome = self.start_and_watch() => outcome,
            () = interrupt.requested() => {
                self.say("\nending the demo (Ctrl-C again kills it)");
                Ok(())
            }
        };
        self.stop.send_replace(true);
        while let Some(ended) = self.running.join_next().await {
            let ended = ended.context("a task of the demo failed")??;
            if ended.status.signal() == Some(Signal::KILL.as_raw()) {
                self.say(&format!("{} (pid {}) did not end and was killed", ended.name, ended.pid));
            }
        }
        let _ = self.console.flush(LAST_WORDS);
        outcome
    }

    fn say(&self, text: &str) {
        self.console.line(text.to_owned());
    }

    /// Returns only when something fails, or the leader ends before it is ready.
    async fn start_and_watch(&mut self) -> Result<()> {
        // Checked before the leader starts: on a port in use, another program would answer in its place.
        let port_is_free = is_free(self.address());
        let authority = self.certificate.as_ref().map(|certificate| certificate.authority.as_path());
        let health = Health::of(self.address(), authority)?;
        let mut programs = vec![self.start_leader()?];
        tokio::select! {
            ready = health.becomes_ready(), if port_is_free => ready?,
            ended = next_end(&mut self.running) => return Err(leader_ended(&ended?)),
        }
        for number in 1..=self.args.replicas {
            programs.push(self.start_replica(number)?);
        }
        self.say(&self.banner(&programs));
        loop {
            let ended = next_end(&mut self.running).await?;
            let (others, command) = if ended.name == LEADER {
                ("The replicas keep trying; this starts it again", self.command_for_the_leader())
            } else {
                ("The others go on; this starts another one", self.command_for_a_replica())
            };
            self.say(&format!("{} (pid {}) ended: {}. {others}:\n  {command}", ended.name, ended.pid, ended.status));
        }
    }

    fn start_leader(&mut self) -> Result<Program> {
        let mut command = self.command("calculator-leader");
        command.args(["--listen", &self.address().to_string()]);
        if self.args.ephemeral {
            command.arg("--ephemeral");
        } else {
            command.arg("--data-dir").arg(self.data_dir());
        }
        if let Some(Certificate { certificate, key, .. }) = &self.certificate {
            command.arg("--tls-cert").arg(certificate).arg("--tls-key").arg(key);
        }
        if let Some(pace) = &self.args.pace {
            command.args(["--pace", pace]);
        }
        if let Some(rate) = self.args.rate {
            command.args(["--rate", &rate.to_string()]);
        }
        self.start(LEADER.to_owned(), command)
    }

    fn start_replica(&mut self, number: usize) -> Result<Program> {
        let name = format!("replica-{number}");
        let mut command = self.command("calculator-replica");
        command.args(["--leader", &self.url(), "--name", &name, "--output", "log"]);
        if let Some(Certificate { authority, .. }) = &self.certificate {
            command.arg("--tls-ca").arg(authority);
        }
        self.start(name, command)
    }

    fn start(&mut self, name: String, command: Command) -> Result<Program> {
        let log = self.folder.join(format!("{name}.log"));
        let child = DemoChild::start(&name, self.name_width(), command, &log, &self.console)?;
        let program = Program { name, pid: child.pid(), log };
        self.running.spawn(child.finish(self.stop.subscribe(), self.interrupt.clone()));
        Ok(program)
    }

    /// The log stays here from one demo to the next.
    fn data_dir(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn command(&self, binary: &str) -> Command {
        let mut command = self.workspace.command(self.workspace.bin_dir(self.args.dev).join(binary));
        command.current_dir(&self.folder);
        command
    }

    fn banner(&self, programs: &[Program]) -> String {
        let width = self.name_width();
        let mut text = format!("\nThe calculator runs. Its page: {}\n\n", self.url());
        if let Some(Certificate { authority, .. }) = &self.certificate {
            text += &format!(
                "The browser warns, because it does not know who signed the certificate. Go on (Advanced, Proceed), or let\n\
                 it trust {}, whose key is kept nowhere.\n\n",
                self.workspace.shown(authority)
            );
        }
        for Program { name, pid, log } in programs {
            text += &format!("  {name:width$}  pid {pid:<8} {}\n", self.workspace.shown(log));
        }
        text += "\nThings to try:\n";
        text += "  open the page in several tabs, and send operations from one of them\n";
        if let [_, Program { name, pid, log }, ..] = programs {
            text += &format!("  tail -f {}   (each value that {name} holds)\n", self.workspace.shown(log));
            text += &format!("  kill -9 {pid}   (kills {name}; the others go on)\n");
        }
        if let [leader, ..] = programs {
            text += &format!("  kill -9 {}   (kills the leader; the demo says how to start it again)\n", leader.pid);
        }
        text += &format!("  {}   (starts another replica, which catches up)\n", self.command_for_a_replica());
        if !self.args.ephemeral {
            text += &format!("  {}   (prints the log)\n", self.command_for_an_export());
            let data = self.data_dir();
            text += &format!("\nThe log is in {}; the next demo continues it.\n", self.workspace.shown(&data));
        }
        text += "\nCtrl-C ends everything that the demo started.\n";
        text
    }

    /// Not `cargo run`, which would compile half of the package again with other features.
    fn command_for_a_replica(&self) -> String {
        let program = self.workspace.bin_dir(self.args.dev).join("calculator-replica");
        let trust = self.certificate.as_ref().map_or_else(String::new, |certificate| {
            format!(" --tls-ca {}", self.workspace.shown(&certificate.authority))
        });
        format!("{} --leader {}{trust}", self.workspace.shown(&program), self.url())
    }

    fn command_for_the_leader(&self) -> String {
        let program = self.workspace.bin_dir(self.args.dev).join("calculator-leader");
        let log = if self.args.ephemeral {
            "--ephemeral".to_owned()
        } else {
            format!("--data-dir {}", self.workspace.shown(&self.data_dir()))
        };
        let tls = self.certificate.as_ref().map_or_else(String::new, |Certificate { certificate, key, .. }| {
            let [certificate, key] = [certificate, key].map(|file| self.workspace.shown(file));
            format!(" --tls-cert {certificate} --tls-key {key}")
        });
        format!("{} --listen {} {log}{tls}", self.workspace.shown(&program), self.address())
    }

    fn command_for_an_export(&self) -> String {
        let program = self.workspace.bin_dir(self.args.dev).join("calculator-leader");
        format!("{} export --data-dir {}", self.workspace.shown(&program), self.workspace.shown(&self.data_dir()))
    }

    fn url(&self) -> String {
        let scheme = if self.certificate.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address())
    }

    fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.args.port.get()))
    }

    fn name_width(&self) -> usize {
        format!("replica-{}", self.args.replicas).len()
    }
}

/// A program in the banner.
struct Program {
    name: String,
    pid: u32,
    log: PathBuf,
}

/// Waits until a program ends.
async fn next_end(running: &mut JoinSet<Result<Ended>>) -> Result<Ended> {
    match running.join_next().await {
        Some(ended) => ended.context("a task of the demo failed")?,
        None => pending().await,
    }
}

fn leader_ended(leader: &Ended) -> anyhow::Error {
    anyhow!("the leader (pid {}) ended by itself: {}", leader.pid, leader.status)
}

/// Only a port in use counts as not free; the leader reports any other problem.
fn is_free(address: SocketAddr) -> bool {
    !TcpListener::bind(address).is_err_and(|error| error.kind() == ErrorKind::AddrInUse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_not_free() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        assert!(!is_free(address));
        drop(listener);
        assert!(is_free(address));
    }
}
