//! A stranger's text on a terminal.

use std::borrow::Cow;
use std::fmt::Write;

/// `text` on one line, without anything that controls a terminal or hides or reorders text. Control characters, line and
/// paragraph separators, and invisible characters that change directions or widths become escapes as in JSON. So the text
/// is safe in a line for people, and JSON keeps its meaning.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    let Some(first) = text.find(is_unsafe) else {
        return Cow::Borrowed(text);
    };
    let mut escaped = String::with_capacity(text.len() + 16);
    escaped.push_str(&text[..first]);
    for character in text[first..].chars() {
        match character {
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            _ if is_unsafe(character) => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    let _ = write!(escaped, "\\u{unit:04x}");
                }
            }
            _ => escaped.push(character),
        }
    }
    Cow::Owned(escaped)
}

/// Whether a terminal does anything with `character` but show it in its place.
///
/// The joiners U+200C and U+200D stay: names in Persian and many pictures need them.
fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'
                | '\u{200e}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_controls_a_terminal_is_escaped() {
        for (text, shown) in [
            ("\u{1b}[2J\u{1b}]0;title\u{7}", r"\u001b[2J\u001b]0;title\u0007"),
            ("ok\nerror: forged", r"ok\nerror: forged"),
            ("over\rwritten\tand\u{8}back", r"over\rwritten\tand\u0008back"),
            ("C1: \u{9b}31m \u{85} DEL: \u{7f} NUL: \0", r"C1: \u009b31m \u0085 DEL: \u007f NUL: \u0000"),
            (
                "\u{202e}txt.exe\u{202c} \u{2066}x\u{2069} \u{200f}\u{61c}",
                r"\u202etxt.exe\u202c \u2066x\u2069 \u200f\u061c",
            ),
            ("lines\u{2028}and\u{2029}paragraphs", r"lines\u2028and\u2029paragraphs"),
            ("un\u{200b}seen\u{feff}\u{e0041}", r"un\u200bseen\ufeff\udb40\udc41"),
        ] {
            assert_eq!(printable(text), shown);
        }
    }

    #[test]
    fn ordinary_text_stays_as_it_is() {
        for text in ["", "replica-1", "größer, 数, عدد", r"C:\new", "می\u{200c}خواهم", "👩\u{200d}💻"]
        {
            assert!(matches!(printable(text), Cow::Borrowed(same) if same == text), "{text}");
        }
    }
}
