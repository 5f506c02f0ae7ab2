//! Requests as a leader receives them.

use engine::leader::{LogView, Proposed, Sequencer};
use engine::{Index, Resume, Submission, Verdict};
use prost::Message;
use wire::{Identity, pb};

use crate::samples;

/// Any bytes, and valid requests that were altered, each read as each kind of request.
///
/// # Panics
///
/// If a decoded request does not survive being encoded again, or a leader treats it wrongly.
pub fn check(input: &[u8]) {
    understand(input);
    let requests = samples::requests();
    let (which, alterations) = input.split_first().unwrap_or((&0, &[]));
    understand(&samples::altered(&requests[usize::from(*which) % requests.len()], alterations));
}

fn understand(bytes: &[u8]) {
    if let Ok(request) = pb::SubscribeRequest::decode(bytes) {
        identify(request.replica);
        position(request.resume_from);
    }
    if let Ok(request) = pb::ReportProgressRequest::decode(bytes) {
        identify(request.replica);
        position(request.position);
    }
    if let Ok(request) = pb::SubmitRequest::decode(bytes)
        && let Ok(submission) = Submission::try_from(request)
    {
        let encoded = pb::SubmitRequest::from(submission.clone()).encode_to_vec();
        let again = pb::SubmitRequest::decode(encoded.as_slice()).map(Submission::try_from);
        assert_eq!(again, Ok(Ok(submission.clone())));
        submit(&submission);
    }
}

fn identify(replica: Option<pb::Replica>) {
    let Ok(identity) = Identity::try_from(replica.unwrap_or_default()) else { return };
    assert!(identity.id.len().max(identity.name.len()) <= wire::identity::MAX_BYTES);
    let encoded = pb::Replica::from(identity.clone()).encode_to_vec();
    assert_eq!(pb::Replica::decode(encoded.as_slice()).map(Identity::try_from), Ok(Ok(identity)));
}

/// Only a replica that holds the leader's digest may resume.
fn position(position: Option<pb::LogPosition>) {
    let Some(Ok(resume)) = position.map(Resume::try_from) else { return };
    let encoded = pb::LogPosition::from(resume).encode_to_vec();
    assert_eq!(pb::LogPosition::decode(encoded.as_slice()).map(Resume::try_from), Ok(Ok(resume)));
    let (middle, tail) = (samples::middle(), samples::tail());
    let view = LogView { log: samples::LOG, term: samples::TERM, tail: tail.position(), floor: Index(2) };
    let there = [middle, tail].into_iter().find(|there| there.position().index == resume.position.index);
    let verdict = view.verdict(Some(resume), there.map(|there| there.position().digest).into());
    let held = there.filter(|there| (there.log(), there.position()) == (resume.log, resume.position));
    assert_eq!(verdict == Verdict::Resumed, held.is_some(), "{resume:?}");
}

/// A submission with a producer's number is in the log once, however often it comes.
fn submit(submission: &Submission) {
    let mut sequencer = Sequencer::new(samples::TERM, samples::tail(), samples::producers());
    let before = sequencer.newest();
    match sequencer.submit(submission) {
        Err(error) => {
            assert!(!error.to_string().is_empty());
            assert_eq!(sequencer.newest(), before);
        }
        Ok(Proposed::Repeated(_)) => assert_eq!(sequencer.newest(), before),
        Ok(Proposed::New(event)) => {
            assert_eq!(event.index, before.position().index.next());
            assert!(submission.expected.is_none_or(|expected| expected == before.position().index));
            if submission.producer.is_some() {
                assert_eq!(sequencer.submit(submission), Ok(Proposed::Repeated(event)));
            }
            sequencer.roll_back();
            assert_eq!(sequencer.newest(), before);
        }
    }
}
