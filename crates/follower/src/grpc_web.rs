//! gRPC-Web's bodies: messages with a prefix of five bytes, then trailers with the outcome.
//!
//! It knows neither HTTP nor the browser, so that it is tested everywhere.

use tonic::Code;

use crate::CallError;

/// The prefix: flags, and the length of what follows.
const PREFIX: usize = 5;

/// The flag of trailers.
const TRAILERS: u8 = 0x80;

/// The largest message or trailers that are accepted, in bytes; tonic accepts as much.
const MAX_MESSAGE: usize = 4 << 20;

/// The body of a request with one message.
#[must_use]
pub fn request(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut body = Vec::with_capacity(PREFIX + message.len());
    body.push(0);
    body.extend_from_slice(&length.to_be_bytes());
    body.extend_from_slice(message);
    body
}

/// The body of an answer, as far as it has arrived.
#[derive(Debug, Default)]
pub struct Body {
    bytes: Vec<u8>,
    /// Bytes before it were taken.
    taken: usize,
}

/// What a body consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// An encoded message.
    Message(&'a [u8]),
    /// The call succeeded, and nothing follows.
    End,
}

impl Body {
    /// Room for the next `length` bytes. The caller writes them.
    pub fn room(&mut self, length: usize) -> &mut [u8] {
        self.bytes.drain(..self.taken);
        self.taken = 0;
        let end = self.bytes.len();
        self.bytes.resize(end + length, 0);
        &mut self.bytes[end..]
    }

    /// Takes the next part; `None` if more bytes are needed.
    ///
    /// # Errors
    ///
    /// The outcome of a call that failed, or what is wrong with the body. Nothing after it can be read.
    pub fn next_part(&mut self) -> Result<Option<Part<'_>>, CallError> {
        let Some((&[flags, length @ ..], _)) = self.bytes[self.taken..].split_first_chunk::<PREFIX>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(length) as usize;
        if length > MAX_MESSAGE {
            return Err(CallError::unknown(format!("the leader's answer has a message of {length} bytes")));
        }
        let begin = self.taken + PREFIX;
        let Some(content) = self.bytes.get(begin..begin + length) else {
            return Ok(None);
        };
        self.taken = begin + length;
        match flags {
            0 => Ok(Some(Part::Message(content))),
            TRAILERS => {
                let trailers = String::from_utf8_lossy(content);
                let outcome = outcome(&|name| trailer(&trailers, name));
                outcome.unwrap_or_else(|| Err(broken())).map(|()| Some(Part::End))
            }
            _ => Err(CallError::unknown("the leader's answer is compressed, which was not asked for")),
        }
    }
}

/// The answer ended before its trailers.
pub(crate) fn broken() -> CallError {
    CallError::unknown("the connection to the leader broke")
}

/// The outcome of a call by its headers or trailers; `None` if they do not tell it.
///
/// # Errors
///
/// That of the call.
pub fn outcome(header: &dyn Fn(&str) -> Option<String>) -> Option<Result<(), CallError>> {
    let code = Code::from_i32(header("grpc-status")?.parse().unwrap_or(Code::Unknown as i32));
    if code == Code::Ok {
        return Some(Ok(()));
    }
    let message = header("grpc-message").map(|text| percent_decoded(&text)).unwrap_or_default();
    let details = header("grpc-status-details-bin").and_then(|text| base64_decoded(&text)).unwrap_or_default();
    Some(Err(CallError::new(code, message, &details)))
}

fn trailer(trailers: &str, name: &str) -> Option<String> {
    trailers.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    })
}

/// Text with `%41` for `A`. What is no such code stays as it is.
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let code = after.first_chunk::<2>().and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()).filter(|_| byte == b'%') {
            Some(decoded) => {
                bytes.push(decoded);
                rest = &after[2..];
            }
            None => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Bytes in base64, whose padding may be left out, as gRPC's headers have them.
fn base64_decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    let (mut bits, mut count) = (0_u32, 0);
    for digit in text.trim_end_matches('=').bytes() {
        let digit = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(digit);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count).to_le_bytes()[0]);
            bits &= (1 << count) - 1;
        }
    }
    (count < 6).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(flags: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = request(content);
        bytes[0] = flags;
        bytes
    }

    /// What is in `bytes` when they arrive in pieces of `size`.
    fn read(bytes: &[u8], size: usize) -> Result<Vec<Vec<u8>>, CallError> {
        let mut body = Body::default();
        let mut messages = Vec::new();
        for piece in bytes.chunks(size) {
            body.room(piece.len()).copy_from_slice(piece);
            while let Some(part) = body.next_part()? {
                match part {
                    Part::Message(message) => messages.push(message.to_vec()),
                    Part::End => return Ok(messages),
                }
            }
        }
        Err(broken())
    }

    fn failure(trailers: &str) -> CallError {
        read(&framed(TRAILERS, trailers.as_bytes()), 1 << 16).unwrap_err()
    }

    #[test]
    fn messages_arrive_in_pieces_of_any_size() {
        let sent: Vec<Vec<u8>> = vec![vec![], vec![1], vec![2; 300]];
        let mut bytes: Vec<u8> = sent.iter().flat_map(|message| framed(0, message)).collect();
        bytes.extend(framed(TRAILERS, b"grpc-status: 0\r\n"));
        for size in 1..=bytes.len() {
            assert_eq!(read(&bytes, size).unwrap(), sent, "pieces of {size}");
        }
    }

    #[test]
    fn an_answer_that_ends_before_its_trailers_is_broken() {
        let whole = [framed(0, &[1, 2, 3]), framed(TRAILERS, b"grpc-status:0\r\n")].concat();
        for end in 0..whole.len() {
            assert_eq!(read(&whole[..end], 7), Err(broken()), "{end} bytes");
        }
        assert_eq!(failure("x: y\r\n"), broken());
    }

    #[test]
    fn a_message_that_is_too_large_or_compressed_is_refused() {
        let length = u32::try_from(MAX_MESSAGE + 1).unwrap().to_be_bytes();
        assert!(read(&[&[0][..], &length].concat(), 9).unwrap_err().message.contains("4194305"));
        assert!(read(&framed(1, b"zip"), 9).unwrap_err().message.contains("compressed"));
    }

    #[test]
    fn the_outcome_is_read_from_trailers() {
        // What the leader's own library makes of a refusal.
        let refusal =
            wire::status::status(Code::OutOfRange, "OVERFLOW", &[("index", "5".to_owned())], "too large – 100 %");
        let mut headers = http::HeaderMap::new();
        refusal.add_header(&mut headers).unwrap();
        let lines: Vec<String> =
            headers.iter().map(|(name, value)| format!("{name}:{}\r\n", value.to_str().unwrap())).collect();
        let error = failure(&lines.concat());
        assert_eq!(error, CallError::from(refusal));
        assert_eq!((error.message.as_str(), error.reason.as_str()), ("too large – 100 %", "OVERFLOW"));
        assert_eq!(error.number("index"), 5);
    }

    #[test]
    fn names_of_trailers_have_no_case_and_values_may_have_spaces() {
        let error = failure("Grpc-Message:  a%20b%2\r\nGRPC-STATUS: 14 \r\n");
        assert_eq!((error.code, error.message.as_str()), (Code::Unavailable, "a b%2"));
        assert_eq!(failure("grpc-status: what\r\n").code, Code::Unknown);
        assert_eq!(failure("grpc-status: 5\r\ngrpc-status-details-bin: !\r\n").code, Code::NotFound);
    }

    #[test]
    fn base64_is_read_with_and_without_padding() {
        for (text, bytes) in
            [("", &b""[..]), ("Zg==", b"f"), ("Zg", b"f"), ("Zm8=", b"fo"), ("Zm9v", b"foo"), ("+/8", b"\xfb\xff")]
        {
            assert_eq!(base64_decoded(text).as_deref(), Some(bytes), "{text}");
        }
        for text in ["Z", "Zm9vY", "Zm 9v", "Zm-_"] {
            assert_eq!(base64_decoded(text), None, "{text}");
        }
    }
}
