//! The containers of a project of Compose, and what can happen to them.

use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::Value;
use tokio::process::Command;
use tonic::transport::{Channel, Endpoint};
use wire::pb::calculator_service_client::CalculatorServiceClient;
use wire::pb::{self, Standing};

/// How long a change may take to show. Starting a container takes seconds on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(100);
/// How long a call may take. A leader that is cut off does not refuse it.
const CALL: Duration = Duration::from_secs(2);

/// A project that `cargo xtask test-containers` prepared, and removes.
pub(super) struct Stack {
    compose: Vec<String>,
    project: String,
    pub(super) url: String,
}

impl Stack {
    /// Compose reads the project and its files from the environment by itself.
    pub(super) fn from_environment() -> anyhow::Result<Self> {
        let variable = |name: &str| {
            std::env::var(name).with_context(|| format!("{name} is not set: run `cargo xtask test-containers`"))
        };
        let compose = variable("CALCULATOR_COMPOSE")?.split(' ').map(str::to_owned).collect();
        let url = format!("http://127.0.0.1:{}", variable("CALCULATOR_PORT")?);
        Ok(Self { compose, project: variable("COMPOSE_PROJECT_NAME")?, url })
    }

    /// Starts everything. Returns the containers of the replicas.
    pub(super) async fn up(&self, replicas: usize) -> anyhow::Result<Vec<String>> {
        self.compose(&["up", "--detach", "--no-build", "--scale", &format!("replica={replicas}")]).await?;
        let containers: Vec<_> = self.compose(&["ps", "-q", "replica"]).await?.lines().map(str::to_owned).collect();
        ensure!(containers.len() == replicas, "these replicas were started: {containers:?}");
        Ok(containers)
    }

    /// Stops everything in order.
    pub(super) async fn stop(&self) -> anyhow::Result<()> {
        self.compose(&["stop"]).await.map(drop)
    }

    /// The leader's container.
    pub(super) async fn leader(&self) -> anyhow::Result<String> {
        Ok(self.compose(&["ps", "-q", "leader"]).await?.trim().to_owned())
    }

    /// Cuts the leader off all networks, and from its published port.
    pub(super) async fn cut_off(&self, leader: &str) -> anyhow::Result<()> {
        docker(&["network", "disconnect", &self.network(), leader]).await.map(drop)
    }

    /// Connects the leader again, under the name by which replicas look for it.
    pub(super) async fn connect(&self, leader: &str) -> anyhow::Result<()> {
        docker(&["network", "connect", "--alias", "leader", &self.network(), leader]).await.map(drop)
    }

    fn network(&self) -> String {
        format!("{}_default", self.project)
    }

    async fn compose(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let program = &self.compose[0];
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
        let output = run(Command::new(program).args(&self.compose[1..]).args(arguments).current_dir(root)).await?;
        succeeded(&format!("compose {}", arguments.join(" ")), output)
    }

    async fn client(&self) -> anyhow::Result<CalculatorServiceClient<Channel>> {
        let endpoint = Endpoint::from_shared(self.url.clone())?.connect_timeout(CALL).timeout(CALL);
        Ok(CalculatorServiceClient::new(endpoint.connect().await?))
    }

    pub(super) async fn status(&self) -> anyhow::Result<pb::GetStatusResponse> {
        Ok(self.client().await?.get_status(pb::GetStatusRequest {}).await?.into_inner())
    }

    /// Waits until the leader's status is as wanted.
    pub(super) async fn wait_for_status(
        &self,
        what: &str,
        is_wanted: impl Fn(&pb::GetStatusResponse) -> bool,
    ) -> anyhow::Result<pb::GetStatusResponse> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.status().await;
            if let Ok(status) = &status
                && is_wanted(status)
            {
                return Ok(status.clone());
            }
            ensure!(Instant::now() < deadline, "{what}: the leader says {status:?}");
            tokio::time::sleep(POLL).await;
        }
    }

    /// The replicas that have a stream.
    pub(super) async fn replicas(&self) -> anyhow::Result<Vec<pb::ReplicaStatus>> {
        let listed = self.client().await?.list_replicas(pb::ListReplicasRequest {}).await?.into_inner().replicas;
        Ok(listed.into_iter().filter(|replica| replica.connected).collect())
    }

    /// Waits until exactly the replicas in these containers are connected, in step, and at `index` or later.
    pub(super) async fn wait_for_replicas(
        &self,
        containers: &[&String],
        index: u64,
    ) -> anyhow::Result<Vec<pb::ReplicaStatus>> {
        let mut wanted: Vec<_> = containers.iter().map(|container| name(container)).collect();
        wanted.sort();
        let is_wanted = |replicas: &[pb::ReplicaStatus]| {
            let names = replicas.iter().map(|replica| replica.replica.clone().unwrap_or_default().name);
            let reached = |replica: &pb::ReplicaStatus| replica.position.as_ref().is_some_and(|at| at.index >= index);
            names.eq(wanted.iter().cloned())
                && replicas.iter().all(|replica| replica.standing() == Standing::InStep && reached(replica))
        };
        let deadline = Instant::now() + PATIENCE;
        loop {
            let replicas = self.replicas().await;
            if let Ok(replicas) = &replicas
                && is_wanted(replicas)
            {
                return Ok(replicas.clone());
            }
            ensure!(Instant::now() < deadline, "{wanted:?} should be in step at {index}, but: {replicas:#?}");
            tokio::time::sleep(POLL).await;
        }
    }

    /// Pauses the random operations.
    pub(super) async fn pause_generator(&self) -> anyhow::Result<()> {
        let request = pb::ControlGeneratorRequest { paused: Some(true), rate: None };
        self.client().await?.control_generator(request).await?;
        Ok(())
    }
}

/// The name of the replica in a container: its host is named after the first twelve digits of the container's id.
fn name(container: &str) -> String {
    format!("replica-{}", &container[..container.len().min(12)])
}

/// Runs a command of Docker's that must succeed, and returns what it printed.
pub(super) async fn docker(arguments: &[&str]) -> anyhow::Result<String> {
    succeeded(&format!("docker {}", arguments.join(" ")), docker_output(arguments).await?)
}

/// Runs a command of Docker's that may fail.
pub(super) async fn docker_output(arguments: &[&str]) -> anyhow::Result<Output> {
    run(Command::new("docker").args(arguments)).await
}

/// The lines of JSON that a replica printed.
pub(super) async fn lines(container: &str) -> anyhow::Result<Vec<Value>> {
    let text = docker(&["logs", container]).await?;
    text.lines().map(|line| serde_json::from_str(line).with_context(|| format!("no JSON: {line}"))).collect()
}

async fn run(command: &mut Command) -> anyhow::Result<Output> {
    let program = command.as_std().get_program().to_owned();
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await;
    output.with_context(|| format!("cannot start {}", program.display()))
}

fn succeeded(what: &str, output: Output) -> anyhow::Result<String> {
    if !output.status.success() {
        bail!("{what}: {}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?)
}
