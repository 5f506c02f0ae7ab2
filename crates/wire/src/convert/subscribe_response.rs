//! `SubscribeResponse`: one frame of the stream.

use engine::Frame;

use super::{DecodeError, Missing};
use crate::pb;
use crate::pb::subscribe_response::Frame as PbFrame;

impl From<&Frame> for pb::SubscribeResponse {
    fn from(frame: &Frame) -> Self {
        let frame = match frame {
            Frame::Welcome(welcome) => PbFrame::Welcome((*welcome).into()),
            Frame::Snapshot(snapshot) => PbFrame::Snapshot((*snapshot).into()),
            Frame::Batch(batch) => PbFrame::Batch(batch.into()),
            Frame::Heartbeat(heartbeat) => PbFrame::Heartbeat((*heartbeat).into()),
            Frame::Goodbye(goodbye) => PbFrame::Goodbye((*goodbye).into()),
        };
        Self { frame: Some(frame) }
    }
}

impl TryFrom<pb::SubscribeResponse> for Frame {
    type Error = DecodeError;

    fn try_from(response: pb::SubscribeResponse) -> Result<Self, Self::Error> {
        Ok(match response.frame.ok_or(Missing("frame"))? {
            PbFrame::Welcome(welcome) => Self::Welcome(welcome.try_into()?),
            PbFrame::Snapshot(snapshot) => Self::Snapshot(snapshot.try_into()?),
            PbFrame::Batch(batch) => Self::Batch(batch.try_into()?),
            PbFrame::Heartbeat(heartbeat) => Self::Heartbeat(heartbeat.into()),
            PbFrame::Goodbye(goodbye) => Self::Goodbye(goodbye.into()),
        })
    }
}
