//! How numbers, times and events are written for people.

use std::fmt;
use std::time::Duration;

use engine::{Digest, Event, Index, Operation};

use crate::known::Known;

/// Shown in place of a number that is not there yet.
pub const NOTHING: &str = "–";

/// A value with its digits in groups of three: `−9,223,372,036,854,775,808`.
#[must_use]
pub fn grouped(value: i64) -> String {
    let digits = grouped_count(value.unsigned_abs());
    if value < 0 { format!("−{digits}") } else { digits }
}

/// An operation: `× −1,234`.
#[must_use]
pub fn operation(operation: Operation) -> String {
    match operation {
        Operation::Add(n) => format!("+ {}", grouped(n)),
        Operation::Subtract(n) => format!("− {}", grouped(n)),
        Operation::Multiply(n) => format!("× {}", grouped(n)),
        Operation::Divide(n) => format!("÷ {}", grouped(n)),
        Operation::SquareRoot | Operation::PowerOfTwo => operation.to_string(),
    }
}

/// A typed number with the other sign.
#[must_use]
pub fn with_other_sign(typed: &str) -> String {
    let typed = typed.trim();
    match typed.strip_prefix(['-', '−']) {
        Some(digits) => digits.trim_start().to_owned(),
        None => format!("-{}", typed.trim_start_matches('+')),
    }
}

/// A text of the leader or of the transport, with its negative numbers written as the page writes them.
#[must_use]
pub fn with_minus(text: &str) -> String {
    let mut written = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        let before = written.chars().next_back();
        let next = rest.peek().copied();
        // "-5", but not "log-1"; and "2^63 - 1".
        let is_sign = !before.is_some_and(char::is_alphanumeric) && next.is_some_and(|next| next.is_ascii_digit());
        let is_operator = next == Some(' ') && written.trim_end().ends_with(|before: char| before.is_ascii_digit());
        written.push(if character == '-' && (is_sign || is_operator) { '−' } else { character });
    }
    written
}

/// A text with its long numbers in groups of three digits.
#[must_use]
pub fn with_groups(text: &str) -> String {
    let mut written = String::with_capacity(text.len() + 8);
    let mut rest = text;
    while let Some(begin) = rest.find(|character: char| character.is_ascii_digit()) {
        let (before, from) = rest.split_at(begin);
        let end = from.find(|character: char| !character.is_ascii_digit()).unwrap_or(from.len());
        let (digits, after) = from.split_at(end);
        let is_word = before.ends_with(|character: char| character.is_alphanumeric() || ".,".contains(character));
        written.push_str(before);
        match digits.parse() {
            Ok(number) if digits.len() > 3 && !is_word => written.push_str(&grouped_count(number)),
            _ => written.push_str(digits),
        }
        rest = after;
    }
    written.push_str(rest);
    written
}

/// Why a call or a stream broke, for people.
///
/// Browsers use different texts, with names of JavaScript classes. They all mean that the connection broke.
#[must_use]
pub fn broken_link(text: &str) -> String {
    /// What browsers and their bindings call a connection that broke.
    const BROWSERS: [&str; 12] = [
        "js api error",
        "jsvalue",
        "typeerror",
        "networkerror",
        "domexception",
        "aborterror",
        "failed to fetch",
        "load failed",
        "network error",
        "input stream",
        "network connection was lost",
        "the operation was aborted",
    ];
    const PROXY: &str = "HTTP status code ";

    let lower = text.to_ascii_lowercase();
    if let Some((_, code)) = text.split_once(PROXY) {
        let code: String = code.chars().take_while(char::is_ascii_digit).collect();
        return format!("something between this tab and the leader answered with HTTP status {code}");
    }
    if BROWSERS.iter().any(|name| lower.contains(name)) {
        return "the connection broke or could not be made".to_owned();
    }
    with_minus(text)
}

/// Hundredths of a percent for the style sheet: `12.05%`. Writing a float would take much more code.
#[must_use]
pub fn percent(hundredths: i64) -> String {
    let sign = if hundredths < 0 { "-" } else { "" };
    format!("{sign}{}.{:02}%", hundredths.abs() / 100, hundredths.abs() % 100)
}

/// A count with its digits in groups of three.
#[must_use]
pub fn grouped_count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count as far as it is known: `1,234`, `≥ 1,234`.
#[must_use]
pub fn known(count: Known) -> String {
    match count {
        Known::Not => NOTHING.to_owned(),
        Known::AtLeast(count) => format!("≥ {}", grouped_count(count)),
        Known::Exactly(count) => grouped_count(count),
    }
}

/// `#1,234`.
#[must_use]
pub fn index(index: Index) -> String {
    format!("#{}", grouped_count(index.0))
}

/// `#1,234`, or `#1,234 to #1,240`.
#[must_use]
pub fn range(first: Index, last: Index) -> String {
    if first == last { index(first) } else { format!("{} to {}", index(first), index(last)) }
}

/// The ends of a digest, for a quick look: `b918…e29f`.
#[must_use]
pub fn short_digest(digest: Digest) -> String {
    let hex = digest.to_string();
    let (start, end) = (hex.get(..4).unwrap_or(&hex), hex.get(hex.len().saturating_sub(4)..).unwrap_or(""));
    format!("{start}…{end}")
}

/// `1 event`, `57 events`.
#[must_use]
pub fn events(count: u64) -> String {
    if count == 1 { "1 event".to_owned() } else { format!("{} events", grouped_count(count)) }
}

/// Whole milliseconds. 64 bits are enough, and dividing 128 would take much more code.
#[must_use]
pub fn millis(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000).saturating_add(duration.subsec_millis().into())
}

/// A duration in a fitting unit: `< 1 ms`, `12 ms`, `1.2 s`, `3 min`.
#[must_use]
pub fn duration(duration: Duration) -> String {
    let millis = millis(duration);
    match millis {
        0 => "< 1 ms".to_owned(),
        1..1_000 => format!("{millis} ms"),
        1_000..60_000 => format!("{}.{} s", millis / 1_000, millis % 1_000 / 100),
        _ => format!("{} min", millis / 60_000),
    }
}

/// A digest or log id in groups of four digits, so that people can compare two of them.
#[must_use]
pub fn in_fours(hex: &str) -> String {
    let mut text = String::with_capacity(hex.len() + hex.len() / 4);
    for (at, digit) in hex.chars().enumerate() {
        if at > 0 && at % 4 == 0 {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// A committed event: `#1,234: × 3 → 42`.
#[must_use]
pub fn committed(event: Event) -> String {
    format!("#{}: {} → {}", grouped_count(event.index.0), operation(event.operation), grouped(event.value))
}

/// A local time of day, in seconds after midnight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeOfDay(pub u32);

/// Writes `hh:mm:ss`.
impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}:{:02}", self.0 / 3_600 % 24, self.0 / 60 % 60, self.0 % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_keeps_all_its_digits() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(-999), "−999");
        assert_eq!(grouped(1_000), "1,000");
        assert_eq!(grouped(i64::MAX), "9,223,372,036,854,775,807");
        assert_eq!(grouped(i64::MIN), "−9,223,372,036,854,775,808");
        assert_eq!(grouped_count(u64::MAX), "18,446,744,073,709,551,615");
    }

    #[test]
    fn durations_have_a_fitting_unit() {
        let written = |micros| duration(Duration::from_micros(micros));
        assert_eq!(written(999), "< 1 ms");
        assert_eq!(written(12_900), "12 ms");
        assert_eq!(written(1_290_000), "1.2 s");
        assert_eq!(written(185_000_000), "3 min");
    }

    #[test]
    fn one_event_is_not_many() {
        assert_eq!(events(1), "1 event");
        assert_eq!(events(1_057), "1,057 events");
        assert_eq!(range(Index(7), Index(7)), "#7");
        assert_eq!(range(Index(999), Index(1_000)), "#999 to #1,000");
    }

    #[test]
    fn hex_digits_come_in_fours() {
        assert_eq!(in_fours("0123456789abcdef"), "0123 4567 89ab cdef");
        assert_eq!(in_fours(""), "");
        assert_eq!(short_digest(Digest(0x0123_4567_89ab_cdef)), "0123…cdef");
    }

    #[test]
    fn a_committed_event_shows_index_operation_and_value() {
        let event = Event { index: Index(1_234), operation: Operation::Multiply(3), value: 42 };
        assert_eq!(committed(event), "#1,234: × 3 → 42");
    }

    #[test]
    fn negative_numbers_are_written_in_one_way() {
        assert_eq!(operation(Operation::Add(-5)), "+ −5");
        assert_eq!(operation(Operation::Subtract(-1_234)), "− −1,234");
        assert_eq!(operation(Operation::PowerOfTwo), "x²");
        assert_eq!(
            with_minus("-9 + -5 overflows: the result lies outside -2^63 to 2^63 - 1"),
            "−9 + −5 overflows: the result lies outside −2^63 to 2^63 − 1"
        );
        assert_eq!(with_minus("log-1 of 2026-11-25, (-3)"), "log-1 of 2026-11-25, (−3)");
    }

    #[test]
    fn percentages_need_no_floats() {
        assert_eq!([percent(1_205), percent(-5), percent(-10_000)], ["12.05%", "-0.05%", "-100.00%"]);
    }

    #[test]
    fn long_numbers_in_a_text_are_grouped() {
        assert_eq!(with_groups("cannot divide 14707489217 by zero"), "cannot divide 14,707,489,217 by zero");
        assert_eq!(with_groups("-9 + 12345"), "-9 + 12,345");
        assert_eq!(with_groups("1,234 and abc1234 and 2^63"), "1,234 and abc1234 and 2^63");
    }

    #[test]
    fn the_sign_of_a_typed_number_changes_back_and_forth() {
        for (typed, changed) in [("5", "-5"), ("-5", "5"), (" −12 ", "12"), ("+7", "-7"), ("", "-"), ("-", "")] {
            assert_eq!(with_other_sign(typed), changed, "{typed:?}");
        }
    }

    #[test]
    fn a_broken_connection_is_reported_in_plain_words() {
        for said in [
            "JS API error: TypeError: Failed to fetch",
            "JS API error: TypeError: network error",
            "TypeError: NetworkError when attempting to fetch resource.",
            "TypeError: Load failed",
            "JsValue(TypeError: Error in input stream)",
            "AbortError: The user aborted a request.",
        ] {
            assert_eq!(broken_link(said), "the connection broke or could not be made", "{said}");
        }
        assert_eq!(
            broken_link("grpc-status header missing, mapped from HTTP status code 502"),
            "something between this tab and the leader answered with HTTP status 502"
        );
        assert_eq!(broken_link("the leader has too much to do"), "the leader has too much to do");
    }

    #[test]
    fn a_time_of_day_has_two_digits_each() {
        assert_eq!(TimeOfDay(9 * 3_600 + 5 * 60 + 7).to_string(), "09:05:07");
    }
}
