//! A page of the documentation: its headings, its links, and the commands that readers type.
//!
//! Commands stand in blocks fenced as `console`. A line that begins with `$ ` is typed, lines that
//! begin with `> ` go on with it, every other line is what it prints. In what it prints, `…` stands
//! for anything within a line, and a line of nothing but `…` for any number of lines. A block
//! fenced as `console eventually` is typed again until it prints what the page says, for a while;
//! one fenced as `console norun` is left to the reader.

use std::path::{Path, PathBuf};

/// What a reader types, and what it prints.
#[derive(Debug, PartialEq, Eq)]
pub struct Command {
    /// The line of the page, from 1.
    pub line: usize,
    /// The text, continuation lines included.
    pub text: String,
    /// The lines it prints.
    pub prints: Vec<String>,
}

/// A fenced block.
#[derive(Debug, PartialEq, Eq)]
pub struct Block {
    /// The line of the opening fence, from 1.
    pub line: usize,
    /// What stands after the fence.
    pub info: String,
    /// The lines between the fences.
    pub lines: Vec<String>,
}

impl Block {
    /// Whether its commands are run.
    pub fn is_run(&self) -> bool {
        matches!(self.info.as_str(), "console" | "console eventually")
    }

    /// Whether its commands are typed again until they print what the page says.
    pub fn is_eventual(&self) -> bool {
        self.info == "console eventually"
    }

    /// Its commands.
    ///
    /// # Errors
    /// It begins with something that is no command, or continues none.
    pub fn commands(&self) -> Result<Vec<Command>, String> {
        let mut commands: Vec<Command> = Vec::new();
        for (offset, text) in self.lines.iter().enumerate() {
            let line = self.line + 1 + offset;
            if let Some(typed) = text.strip_prefix("$ ") {
                commands.push(Command {
                    line,
                    text: typed.to_owned(),
                    prints: Vec::new(),
                });
                continue;
            }
            let Some(command) = commands.last_mut() else {
                return Err(format!("line {line}: a console block begins with `$ `"));
            };
            match text.strip_prefix("> ") {
                Some(more) if command.prints.is_empty() => {
                    command.text.push('\n');
                    command.text.push_str(more);
                }
                _ => command.prints.push(text.clone()),
            }
        }
        if commands.is_empty() {
            return Err(format!(
                "line {}: a console block without a command",
                self.line
            ));
        }
        Ok(commands)
    }
}

/// A page.
#[derive(Debug)]
pub struct Page {
    /// Where it stands.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
}

impl Page {
    /// Reads the page at `path`.
    pub fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self {
            path: path.to_owned(),
            text,
        }
    }

    /// The fenced blocks, in order.
    pub fn blocks(&self) -> Vec<Block> {
        let mut blocks = Vec::new();
        let mut open: Option<Block> = None;
        for (index, line) in self.text.lines().enumerate() {
            match (line.strip_prefix("```"), open.as_mut()) {
                (Some(info), None) => {
                    open = Some(Block {
                        line: index + 1,
                        info: info.trim().to_owned(),
                        lines: Vec::new(),
                    });
                }
                (Some(_), Some(_)) => blocks.extend(open.take()),
                (None, Some(block)) => block.lines.push(line.to_owned()),
                (None, None) => {}
            }
        }
        assert!(
            open.is_none(),
            "{}: a fence is never closed",
            self.path.display()
        );
        blocks
    }

    /// The lines outside of fenced blocks.
    fn prose(&self) -> Vec<&str> {
        let mut fenced = false;
        self.text
            .lines()
            .filter(|line| {
                let fence = line.starts_with("```");
                fenced ^= fence;
                !fenced && !fence
            })
            .collect()
    }

    /// The headings of level two.
    pub fn headings(&self) -> Vec<&str> {
        self.prose()
            .into_iter()
            .filter_map(|line| line.strip_prefix("## "))
            .collect()
    }

    /// The files that links and pictures point at, relative ones only.
    pub fn linked_files(&self) -> Vec<PathBuf> {
        let folder = self.path.parent().unwrap_or_else(|| Path::new("."));
        let mut files = Vec::new();
        for line in self.prose() {
            for part in line.split("](").skip(1) {
                let target = part.split([')', ' ', '#']).next().unwrap_or_default();
                let elsewhere = target.contains("://") || target.starts_with("mailto:");
                if !target.is_empty() && !elsewhere {
                    files.push(folder.join(target));
                }
            }
        }
        files
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(text: &str) -> Page {
        Page {
            path: PathBuf::from("docs/page.md"),
            text: text.to_owned(),
        }
    }

    #[test]
    fn a_command_goes_on_over_lines_and_what_follows_is_what_it_prints() {
        let text = "# T\n\n```console\n$ curl \\\n>   -s x\nok\n$ true\n```\n## H\n";
        let page = page(text);
        let blocks = page.blocks();
        assert_eq!(blocks.len(), 1);
        let commands = blocks[0].commands().unwrap();
        assert_eq!(commands[0].text, "curl \\\n  -s x");
        assert_eq!(commands[0].prints, ["ok"]);
        assert_eq!((commands[1].line, commands[1].text.as_str()), (7, "true"));
        assert_eq!(page.headings(), ["H"]);
    }

    #[test]
    fn a_console_block_that_does_not_begin_with_a_command_is_a_mistake() {
        assert!(
            page("```console\nok\n```\n").blocks()[0]
                .commands()
                .is_err()
        );
        assert!(page("```console\n```\n").blocks()[0].commands().is_err());
    }

    #[test]
    fn links_elsewhere_are_not_files() {
        let found = page("[a](../b.md#c) [d](https://e/f) ![g](h.svg)\n").linked_files();
        assert_eq!(
            found,
            [PathBuf::from("docs/../b.md"), PathBuf::from("docs/h.svg")]
        );
    }
}
