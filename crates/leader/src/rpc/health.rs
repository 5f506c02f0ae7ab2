//! `grpc.health.v1`: keeps its answers up to date.

use std::time::Duration;

use tonic::server::NamedService;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tracing::{info, warn};
use wire::pb::calculator_service_server::CalculatorServiceServer;
use wire::sharedcalculator::leader_server::LeaderServer;

use super::Calculator;
use super::legacy::Legacy;
use crate::http::health::Health;

/// The name under which `grpc.health.v1` tells whether operations can be made durable.
pub const WRITING: &str = "calculator.v1.CalculatorService/Submit";

/// How often the state is looked at for those who watch it. Whoever asks gets it as it is.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Keeps `grpc.health.v1` up to date, and logs once that a commit hangs and once that it ended. Returns when the server is gone.
pub(crate) async fn report(mut health: Health, reporter: HealthReporter) {
    let (mut told, mut hung) = (None, false);
    loop {
        let serves = health.serves();
        let writes = serves && health.writing().problem().is_none();
        if told != Some((serves, writes)) {
            for service in ["", CalculatorServiceServer::<Calculator>::NAME, LeaderServer::<Legacy>::NAME] {
                reporter.set_service_status(service, status(serves)).await;
            }
            reporter.set_service_status(WRITING, status(writes)).await;
            told = Some((serves, writes));
        }
        let hangs = health.writing().hangs();
        if hangs.is_some() != std::mem::replace(&mut hung, hangs.is_some()) {
            match hangs {
                Some(since) => warn!(?since, "a commit hangs: who submits is not answered until the disk is"),
                None => info!("the commit that hung has come to its end"),
            }
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            open = health.closes() => if !open { return },
        }
    }
}

fn status(good: bool) -> ServingStatus {
    if good { ServingStatus::Serving } else { ServingStatus::NotServing }
}
