//! `ControlGenerator`: pauses and paces what draws random operations.

use tonic::{Code, Status};
use tracing::info;
use wire::pb;
use wire::status::{invalid, status};

use super::Calculator;
use crate::generator::ControlRefused;

pub(super) fn answer(
    calculator: &Calculator,
    request: pb::ControlGeneratorRequest,
) -> Result<pb::ControlGeneratorResponse, Status> {
    let pb::ControlGeneratorRequest { paused, rate } = request;
    let now = calculator.generation.control(paused, rate)?;
    if paused.is_some() || rate.is_some() {
        info!(paused = now.paused, rate = now.rate, "a caller controls the generator");
    }
    Ok(pb::ControlGeneratorResponse { generator: Some(now.into()) })
}

impl From<ControlRefused> for Status {
    fn from(refused: ControlRefused) -> Self {
        let message = refused.to_string();
        match refused {
            ControlRefused::Off => status(Code::PermissionDenied, "CONTROL_OFF", &[], &message),
            ControlRefused::Ended => status(Code::FailedPrecondition, "NO_GENERATOR", &[], &message),
            ControlRefused::Rate { .. } => invalid(&message),
        }
    }
}
