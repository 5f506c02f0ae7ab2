//! Updates `grpc.health.v1`.

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

/// The service name under which `grpc.health.v1` says whether operations can be made durable.
pub const WRITING: &str = "calculator.v1.CalculatorService/Submit";

const UPDATE_EVERY: Duration = Duration::from_millis(200);

/// Updates `grpc.health.v1`, and logs once when a commit hangs and once when it finishes. Returns when the server is gone.
pub(crate) async fn report(mut health: Health, reporter: HealthReporter) {
    let (mut reported, mut hung) = (None, false);
    loop {
        let serves = health.serves();
        let writes = serves && health.writing().problem().is_none();
        if reported != Some((serves, writes)) {
            for service in ["", CalculatorServiceServer::<Calculator>::NAME, LeaderServer::<Legacy>::NAME] {
                reporter.set_service_status(service, status(serves)).await;
            }
            reporter.set_service_status(WRITING, status(writes)).await;
            reported = Some((serves, writes));
        }
        let hangs = health.writing().hangs();
        if hangs.is_some() != std::mem::replace(&mut hung, hangs.is_some()) {
            match hangs {
                Some(since) => warn!(?since, "a commit hangs: submissions wait until the disk answers"),
                None => info!("the commit that hung has finished"),
            }
        }
        tokio::select! {
            () = tokio::time::sleep(UPDATE_EVERY) => {}
            open = health.closes() => if !open { return },
        }
    }
}

fn status(good: bool) -> ServingStatus {
    if good { ServingStatus::Serving } else { ServingStatus::NotServing }
}
