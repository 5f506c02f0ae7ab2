//! Errors of calls: a code, a message for people, and `google.rpc` details for programs.
//!
//! Programs depend on the reasons and their metadata, which the comments in `calculator.proto` list.

use std::collections::HashMap;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// What `ErrorInfo.domain` says.
pub const DOMAIN: &str = "calculator.v1";

/// The most bytes of a message. It travels in a header, and proxies and clients accept only some kilobytes of headers.
const MAX_MESSAGE: usize = 1_000;

/// A status with a reason and its metadata. Long texts are cut.
///
/// ```
/// use tonic::Code;
/// use tonic_types::StatusExt;
/// use wire::status::{DOMAIN, status};
///
/// let floor = [("floor", "12".to_owned())];
/// let status = status(Code::OutOfRange, "COMPACTED", &floor, "events up to 12 were compacted away");
/// let info = status.get_details_error_info().unwrap();
/// assert_eq!((info.domain.as_str(), info.reason.as_str()), (DOMAIN, "COMPACTED"));
/// assert_eq!(info.metadata["floor"], "12");
/// ```
#[must_use]
pub fn status(code: Code, reason: &str, metadata: &[(&str, String)], message: &str) -> Status {
    with_retry(code, reason, metadata, None, message)
}

/// A status with a reason, its metadata, and after how long to try again.
///
/// ```
/// use std::time::Duration;
/// use tonic::Code;
/// use tonic_types::StatusExt;
/// use wire::status::with_retry;
///
/// let second = Some(Duration::from_secs(1));
/// let status = with_retry(Code::ResourceExhausted, "QUEUE_FULL", &[], second, "the leader has too much to do");
/// assert_eq!(status.get_details_retry_info().unwrap().retry_delay, second);
/// ```
#[must_use]
pub fn with_retry(
    code: Code,
    reason: &str,
    metadata: &[(&str, String)],
    retry_after: Option<Duration>,
    message: &str,
) -> Status {
    let metadata: HashMap<String, String> =
        metadata.iter().map(|(key, value)| ((*key).to_owned(), bounded(value))).collect();
    let mut details = ErrorDetails::with_error_info(reason, DOMAIN, metadata);
    if retry_after.is_some() {
        details.set_retry_info(retry_after);
    }
    Status::with_error_details(code, bounded(message), details)
}

/// The status for a malformed request.
///
/// ```
/// assert_eq!(wire::status::invalid("page_size must not be negative").code(), tonic::Code::InvalidArgument);
/// ```
#[must_use]
pub fn invalid(message: &str) -> Status {
    status(Code::InvalidArgument, "INVALID_REQUEST", &[], message)
}

fn bounded(text: &str) -> String {
    if text.len() <= MAX_MESSAGE {
        return text.to_owned();
    }
    let end = (0..=MAX_MESSAGE).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    format!("{}…", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_between_characters() {
        let status = status(Code::Internal, "REASON", &[("key", "ä".repeat(5_000))], &"ö".repeat(5_000));
        assert_eq!(status.message(), format!("{}…", "ö".repeat(500)));
        let info = status.get_details_error_info().unwrap();
        assert_eq!(info.metadata["key"].len(), 1_000 + '…'.len_utf8());
    }
}
