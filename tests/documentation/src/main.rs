//! The commands of the pages, executed.
//!
//! Each command that stands in a page runs here, and must print what the page says that it prints;
//! [`page`] says how pages are written. Reading the pages needs nothing. Running the commands of a
//! page needs a stack, which `make test` names: `BOXOFFICE_DOOR` is its address,
//! `BOXOFFICE_PROJECT` its compose project. The tests leave it to the reviewer whether a page
//! explains well.

mod output;
mod page;
mod problems;
mod shell;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use page::{Block, Page};
use shell::{Shell, Stack};

/// How long a block fenced as `console eventually` may take to come true.
const EVENTUALLY: Duration = Duration::from_secs(150);

/// Between two tries: a command of Compose takes half a second of processor time.
const PAUSE: Duration = Duration::from_secs(2);

/// The headings of a page about a note, all of them and in this order.
const NOTE: [&str; 6] = [
    "What the note says",
    "Where it lives",
    "Try it",
    "Watch it",
    "Break it",
    "What is promised (and what is not)",
];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn markdown_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let entries =
        std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            found.extend(markdown_below(&path));
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// README first, as a reader would.
fn pages() -> Vec<Page> {
    let root = repository();
    let mut paths = vec![root.join("README.md")];
    paths.extend(markdown_below(&root.join("docs")));
    paths.iter().map(|path| Page::read(path)).collect()
}

#[test]
fn every_command_that_a_page_shows_can_be_run() {
    for page in pages() {
        for block in page.blocks() {
            let place = format!("{}:{}", page.path.display(), block.line);
            let shell = ["sh", "bash", "shell", "zsh"]
                .iter()
                .any(|name| block.info.starts_with(name));
            assert!(
                !shell,
                "{place}: commands stand in blocks fenced as `console`"
            );
            if block.info.starts_with("console") {
                assert!(
                    block.is_run() || block.info == "console norun",
                    "{place}: unknown kind of block: {}",
                    block.info
                );
                block
                    .commands()
                    .unwrap_or_else(|error| panic!("{}: {error}", page.path.display()));
            }
        }
    }
}

#[test]
fn every_page_about_a_note_has_the_same_headings() {
    let notes = markdown_below(&repository().join("docs/notes"));
    assert!(!notes.is_empty());
    for path in notes {
        assert_eq!(Page::read(&path).headings(), NOTE, "{}", path.display());
    }
}

#[test]
fn every_linked_file_is_there() {
    for page in pages() {
        for file in page.linked_files() {
            assert!(
                file.exists(),
                "{}: {} is not there",
                page.path.display(),
                file.display()
            );
        }
    }
}

/// Runs the blocks of a page in one shell.
///
/// # Errors
/// The first command that ended with another code than 0 or printed something else.
fn run(page: &Page, stack: &Stack) -> Result<usize, String> {
    let folder = std::env::current_dir().map_err(|error| error.to_string())?;
    let mut shell = Shell::start(stack, &folder).map_err(|error| error.to_string())?;
    let mut count = 0;
    for block in page.blocks().iter().filter(|block| block.is_run()) {
        let deadline = Instant::now()
            + if block.is_eventual() {
                EVENTUALLY
            } else {
                Duration::ZERO
            };
        loop {
            match run_block(block, &mut shell) {
                Ok(commands) => {
                    count += commands;
                    break;
                }
                Err(_) if Instant::now() < deadline => {
                    std::thread::sleep(PAUSE);
                }
                Err(failure) => return Err(format!("{}: {failure}", page.path.display())),
            }
        }
    }
    Ok(count)
}

fn run_block(block: &Block, shell: &mut Shell) -> Result<usize, String> {
    let commands = block.commands()?;
    for command in &commands {
        let outcome = shell
            .run(&command.text)
            .map_err(|error| format!("line {}: {error}", command.line))?;
        if outcome.code != 0 || !output::matches(&command.prints, &outcome.printed) {
            return Err(format!(
                "line {}: {}\nended with {} and printed\n{}\n{}where the page says\n{}\n",
                command.line,
                command.text,
                outcome.code,
                outcome.printed,
                outcome.errors,
                command.prints.join("\n"),
            ));
        }
    }
    Ok(commands.len())
}

#[test]
fn a_page_that_says_what_is_not_so_is_found() {
    let stack = Stack {
        door: "nginx:8080".to_owned(),
        project: "none".to_owned(),
    };
    let page = |text: &str| Page {
        path: PathBuf::from("page.md"),
        text: text.to_owned(),
    };
    assert_eq!(
        run(&page("```console\n$ echo a\na\n$ echo b\n…\n```\n"), &stack),
        Ok(2)
    );
    let wrong = run(&page("```console\n$ echo a\nb\n```\n"), &stack).unwrap_err();
    assert!(wrong.contains("line 2"), "{wrong}");
    assert!(run(&page("```console\n$ false\n```\n"), &stack).is_err());
    assert!(run(&page("```console norun\n$ false\n```\n"), &stack) == Ok(0));
}

/// `PAGE` names the page. Its commands run in the working directory: a copy of the tree where the
/// engine finds what compose files mount.
#[test]
#[ignore = "needs a running stack: make test"]
fn the_page_prints_what_it_says() {
    let of = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
    let stack = Stack {
        door: of("BOXOFFICE_DOOR").replace("http://", ""),
        project: of("BOXOFFICE_PROJECT"),
    };
    let page = Page::read(&repository().join(of("PAGE")));
    let commands = run(&page, &stack).unwrap_or_else(|failure| panic!("{failure}"));
    assert!(commands > 0, "the page has no commands");
    println!("{commands} commands");
}
