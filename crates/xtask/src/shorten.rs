//! Shortens the page's generated loader and its style sheet: readers of the page download no comments and no long names.

use std::collections::BTreeMap;

/// The text without comments that fill lines, without indentation and without empty lines. Only for files that have no text
/// of several lines and no code after a comment, as the loader and our style sheets.
pub(crate) fn without_comments(text: &str) -> String {
    let mut short = String::with_capacity(text.len());
    let mut in_comment = false;
    for line in text.lines().map(str::trim) {
        in_comment |= line.starts_with("/*");
        let is_code = !in_comment && !line.is_empty() && !line.starts_with("//");
        in_comment &= !line.ends_with("*/");
        if is_code {
            short.push_str(line);
            short.push('\n');
        }
    }
    short
}

/// Short names for the functions that the module and its loader call each other by.
///
/// Each of the long ones ends in a hash that cannot be compressed, and stands in both files.
#[derive(Debug, Default)]
pub(crate) struct Names(BTreeMap<String, String>);

impl Names {
    /// The short name for `long`. Names that the loader uses for other things too stay as they are.
    pub(crate) fn shorten(&mut self, long: &str) -> String {
        if !long.contains("__") {
            return long.to_owned();
        }
        let next = format!("_{}", self.0.len());
        self.0.entry(long.to_owned()).or_insert(next).clone()
    }

    /// The loader with the short names.
    pub(crate) fn apply(&self, loader: &str) -> String {
        let is_of_a_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '$';
        let mut short = String::with_capacity(loader.len());
        let mut rest = loader;
        while let Some(begin) = rest.find(is_of_a_word) {
            let end = rest[begin..].find(|c| !is_of_a_word(c)).map_or(rest.len(), |length| begin + length);
            let word = &rest[begin..end];
            short.push_str(&rest[..begin]);
            short.push_str(self.0.get(word).map_or(word, String::as_str));
            rest = &rest[end..];
        }
        short + rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_indentation_go_and_code_stays() {
        let text = "/* The value\n   of all. */\n.a {\n  color: red;\n\n  /* Beside. */\n  margin: 0;\n}\n// Done.\nlet b = 4 // 2;\n";
        assert_eq!(without_comments(text), ".a {\ncolor: red;\nmargin: 0;\n}\nlet b = 4 // 2;\n");
    }

    #[test]
    fn whole_names_are_shortened_alike_in_both_files() {
        let mut names = Names::default();
        assert_eq!(names.shorten("__wbg_set_12ab"), "_0");
        assert_eq!(names.shorten("__wbg_set_12abc"), "_1");
        assert_eq!(names.shorten("__wbg_set_12ab"), "_0");
        assert_eq!(names.shorten("memory"), "memory");
        let loader = "import_.__wbg_set_12ab = () => wasm.memory.__wbg_set_12abc(__wbg_set_12abcd);";
        assert_eq!(names.apply(loader), "import_._0 = () => wasm.memory._1(__wbg_set_12abcd);");
    }
}
