//! Programs built from the tree as it is, and from a copy of it with a patch.
//!
//! The copy has a target folder of its own, which begins with links to what was compiled of other
//! people's crates, so only the workspace's own are compiled again. (It cannot share the folder:
//! cargo would take a patched crate for the one that it was copied from.)

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

/// The programs that a control runs.
const PROGRAMS: [&str; 3] = ["booking", "worker", "bank"];

/// What of the tree a build needs.
const PARTS: [&str; 5] = ["Cargo.toml", "Cargo.lock", "crates", "services", "tests"];

/// A folder with the three programs.
#[derive(Clone, Debug)]
pub struct Programs(PathBuf);

impl Programs {
    /// Where a program is.
    pub fn path(&self, program: &str) -> PathBuf {
        self.0.join(program)
    }
}

fn tree() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| tree().join("target"), PathBuf::from)
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    let end: Vec<_> = text.lines().rev().take(40).collect();
    let end: Vec<_> = end.into_iter().rev().collect();
    ensure!(
        output.status.success(),
        "{command:?}: {}\n{}",
        output.status,
        end.join("\n")
    );
    Ok(())
}

/// The programs of the tree as it is.
pub fn as_it_is() -> anyhow::Result<Programs> {
    build(&tree(), &target(), "as-it-is", None)
}

/// The programs of a copy with `negative-controls/<name>.patch`. Queries are checked against the
/// database behind `database_url`, which has the patched migrations.
pub fn patched(name: &str, database_url: &str) -> anyhow::Result<Programs> {
    let target = seeded_target()?;
    build(&copy(), &target, name, Some(database_url))
}

/// Makes the copy afresh with the patch in it; gives its migrations of `booking`, in order.
pub fn apply(name: &str) -> anyhow::Result<Vec<String>> {
    let copy = copy();
    if copy.exists() {
        std::fs::remove_dir_all(&copy)?;
    }
    std::fs::create_dir_all(&copy)?;
    for part in PARTS {
        // Times are kept, so that cargo compiles nothing again that did not change.
        run(Command::new("cp")
            .arg("-a")
            .arg(tree().join(part))
            .arg(&copy))?;
    }
    let patches = Path::new(env!("CARGO_MANIFEST_DIR")).join("negative-controls");
    // What another control had patched is older now than what was built from it.
    for patch in std::fs::read_dir(&patches)? {
        touch_what_it_patches(&std::fs::read_to_string(patch?.path())?, &copy)?;
    }
    let patch = patches.join(format!("{name}.patch"));
    let mut git = Command::new("git");
    // The copy is no repository, also where the target folder lies within one.
    git.env("GIT_CEILING_DIRECTORIES", copy.parent().unwrap_or(&copy))
        .current_dir(&copy);
    run(git.args(["apply", "--whitespace=nowarn"]).arg(patch))?;
    migrations(&copy)
}

fn copy() -> PathBuf {
    target().join("controls/tree")
}

/// Patched files, and the library of a service whose migrations are patched: it holds them.
fn touch_what_it_patches(patch: &str, copy: &Path) -> anyhow::Result<()> {
    let files = patch.lines().filter_map(|line| line.strip_prefix("+++ b/"));
    for file in files {
        let file = match file.split_once("/migrations/") {
            Some((service, _)) => format!("{service}/src/lib.rs"),
            None => file.to_owned(),
        };
        run(Command::new("touch").arg(copy.join(file)))?;
    }
    Ok(())
}

fn migrations(copy: &Path) -> anyhow::Result<Vec<String>> {
    let mut files: Vec<_> = std::fs::read_dir(copy.join("services/booking/migrations"))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.sort();
    files
        .iter()
        .map(|file| Ok(std::fs::read_to_string(file)?))
        .collect()
}

/// The copy's target folder: links to what others' crates were compiled to, once.
fn seeded_target() -> anyhow::Result<PathBuf> {
    let (seed, own) = (target().join("debug"), target().join("controls/target"));
    if own.join("debug").exists() || !seed.exists() {
        return Ok(own);
    }
    let debug = own.join("debug");
    std::fs::create_dir_all(&debug)?;
    for part in [".fingerprint", "build"] {
        run(Command::new("cp")
            .arg("-a")
            .arg(seed.join(part))
            .arg(&debug))?;
    }
    run(Command::new("cp")
        .arg("-al")
        .arg(seed.join("deps"))
        .arg(&debug))?;
    let mut ours = vec!["tests".to_owned()];
    for room in ["crates", "services"] {
        for entry in std::fs::read_dir(tree().join(room))? {
            ours.push(entry?.file_name().to_string_lossy().into_owned());
        }
    }
    // Named `<crate>-<hash>`, with `lib` before a library.
    let is_ours = |file: &str| {
        let name = file.rsplit_once('-').map_or(file, |(name, _)| name);
        let name = name.strip_prefix("lib").unwrap_or(name);
        ours.iter().any(|one| one == name)
    };
    for part in [".fingerprint", "build", "deps"] {
        for entry in std::fs::read_dir(debug.join(part))? {
            let entry = entry?;
            if !is_ours(&entry.file_name().to_string_lossy()) {
                continue;
            }
            if entry.file_type()?.is_dir() {
                std::fs::remove_dir_all(entry.path())?;
            } else {
                std::fs::remove_file(entry.path())?;
            }
        }
    }
    Ok(own)
}

/// Builds the programs in `built_in` and keeps them in a folder called `name`.
fn build(
    tree: &Path,
    built_in: &Path,
    name: &str,
    database_url: Option<&str>,
) -> anyhow::Result<Programs> {
    let cargo = |names: &[&str]| {
        let mut command = Command::new(env!("CARGO"));
        command.current_dir(tree).env("CARGO_TARGET_DIR", built_in);
        command.args(["build", "--locked", "--quiet"]);
        for name in names {
            command.args(["--bin", name]);
        }
        command
    };
    match database_url {
        None => run(cargo(&PROGRAMS)
            .env("SQLX_OFFLINE", "true")
            .env_remove("DATABASE_URL"))?,
        Some(url) => {
            // The bank's books are SQLite, and no patch touches them.
            run(cargo(&["bank"])
                .env("SQLX_OFFLINE", "true")
                .env_remove("DATABASE_URL"))?;
            run(cargo(&["booking", "worker"])
                .env("SQLX_OFFLINE", "false")
                .env("DATABASE_URL", url))?;
        }
    }
    let programs = target().join("controls").join(name);
    std::fs::create_dir_all(&programs)?;
    for program in PROGRAMS {
        let built = built_in.join("debug").join(program);
        let kept = programs.join(program);
        let _ = std::fs::remove_file(&kept);
        std::fs::copy(&built, kept).with_context(|| built.display().to_string())?;
    }
    Ok(Programs(programs))
}
