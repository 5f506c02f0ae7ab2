//! What packages hold beside a program: man pages, and completions for shells.
//!
//! `PROGRAM --generate KIND` prints one. It is for those who make packages, so no help mentions it.

use std::io;

use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;

/// The flag.
pub(crate) const FLAG: &str = "--generate";

/// There is no such kind.
#[derive(Debug)]
pub(crate) struct UnknownKind;

/// Makes `kind`: `man`, `man:SUBCOMMAND`, `bash`, `elvish`, `fish`, `powershell` or `zsh`.
pub(crate) fn generate(mut command: Command, kind: &str) -> Result<io::Result<Vec<u8>>, UnknownKind> {
    let mut text = Vec::new();
    if let Ok(shell) = kind.parse::<Shell>() {
        let name = command.get_name().to_owned();
        clap_complete::generate(shell, &mut command, name, &mut text);
        return Ok(Ok(text));
    }
    command.build();
    let described = match kind.split_once(':') {
        None if kind == "man" => command,
        Some(("man", subcommand)) => {
            let name = format!("{}-{subcommand}", command.get_name());
            let found = command.find_subcommand(subcommand).ok_or(UnknownKind)?;
            // The page's name has no space.
            found.clone().display_name(name)
        }
        _ => return Err(UnknownKind),
    };
    Ok(Man::new(described).render(&mut text).map(|()| text))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    /// Does things.
    #[derive(Parser)]
    #[command(name = "example")]
    struct Example {
        /// How much
        #[arg(long)]
        how_much: bool,
        #[command(subcommand)]
        task: Option<Task>,
    }

    #[derive(clap::Subcommand)]
    enum Task {
        /// Does one thing
        One {
            /// Which
            #[arg(long)]
            which: bool,
        },
    }

    fn text(kind: &str) -> String {
        use clap::CommandFactory;
        String::from_utf8(generate(Example::command(), kind).unwrap().unwrap()).unwrap()
    }

    #[test]
    fn every_kind_names_the_programs_flags() {
        for kind in ["bash", "elvish", "fish", "powershell", "zsh"] {
            assert!(text(kind).contains("how-much"), "{kind}");
        }
        let page = text("man");
        assert!(page.contains("example") && page.contains("how\\-much") && page.contains("Does one thing"), "{page}");
        let page = text("man:one");
        assert!(page.contains("example\\-one") && page.contains("\\-\\-which"), "{page}");
    }

    #[test]
    fn other_kinds_are_refused() {
        use clap::CommandFactory;
        for kind in ["", "html", "man:two", "bash:one"] {
            assert!(generate(Example::command(), kind).is_err(), "{kind}");
        }
    }
}
