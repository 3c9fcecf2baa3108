//! Programs built from the tree as it is, and from a copy of it with a patch.
//!
//! The copy has a target folder of its own, which begins with links to what was compiled of other
//! people's crates, so only the workspace's own are compiled again, and of those only what leads to
//! the programs that the patch changes. (It cannot share the folder: cargo would take a patched
//! crate for the one that it was copied from.)

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use tokio::sync::OnceCell;

use crate::scratch::Scratch;

/// The programs that a control runs.
const PROGRAMS: [&str; 3] = ["booking", "worker", "bank"];

/// A test that is built beside the programs, of a crate that they need anyway. Cargo then chooses
/// the features of other people's crates as it does for `cargo test`, and what was compiled there
/// serves here.
const BESIDE: &str = "rows";

/// What of the tree a build needs.
const PARTS: [&str; 6] = [
    "Cargo.toml",
    "Cargo.lock",
    ".sqlx",
    "crates",
    "services",
    "tests",
];

/// Folders with programs; one in an earlier folder goes before one in a later.
#[derive(Clone, Debug)]
pub struct Programs(Vec<PathBuf>);

impl Programs {
    /// Where a program is.
    pub fn path(&self, program: &str) -> PathBuf {
        let mut places = self.0.iter().map(|folder| folder.join(program));
        places
            .find(|place| place.exists())
            .unwrap_or_else(|| program.into())
    }
}

fn tree() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| tree().join("target"), PathBuf::from)
}

/// Everything that is made here.
fn shop() -> PathBuf {
    target().join("controls")
}

fn copy() -> PathBuf {
    shop().join("tree")
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

/// The programs of the tree as it is, built once for all controls.
pub async fn as_it_is() -> anyhow::Result<&'static Programs> {
    static BUILT: OnceCell<Programs> = OnceCell::const_new();
    let build = async || {
        let mut cargo = cargo(&tree(), &target(), &PROGRAMS);
        run(cargo
            .env("SQLX_OFFLINE", "true")
            .env_remove("BOOKING_DATABASE_URL"))?;
        Ok(Programs(vec![keep(&target(), "as-it-is", &PROGRAMS)?]))
    };
    BUILT.get_or_try_init(build).await
}

/// The programs of a copy with `negative-controls/<name>.patch`: those in `changed` are built from
/// it, the others are as they are. Queries are checked against a database with the patched
/// migrations, for no file says what they answer.
pub async fn patched(name: &str, changed: &[&str]) -> anyhow::Result<Programs> {
    let mut programs = as_it_is().await?.clone();
    let database = Scratch::new().await?;
    let build = async {
        database.migrate(&apply(name)?).await?;
        let target = seeded_target()?;
        let mut cargo = cargo(&copy(), &target, changed);
        // The bank's books are SQLite; of its queries no patch touches any.
        run(cargo
            .env("SQLX_OFFLINE", "false")
            .env("BOOKING_DATABASE_URL", database.url())
            .env_remove("BANK_DATABASE_URL"))?;
        keep(&target, name, changed)
    };
    let built = build.await;
    database.remove().await?;
    programs.0.insert(0, built?);
    Ok(programs)
}

fn cargo(tree: &Path, target: &Path, programs: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(tree).env("CARGO_TARGET_DIR", target);
    command.args([
        "build",
        "--workspace",
        "--locked",
        "--quiet",
        "--test",
        BESIDE,
    ]);
    for program in programs {
        command.args(["--bin", program]);
    }
    command
}

/// Keeps programs that were built in `target` in a folder called `name`, and nothing else there.
fn keep(target: &Path, name: &str, programs: &[&str]) -> anyhow::Result<PathBuf> {
    let folder = shop().join(name);
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    for program in programs {
        let built = target.join("debug").join(program);
        std::fs::copy(&built, folder.join(program)).with_context(|| built.display().to_string())?;
    }
    Ok(folder)
}

/// Makes the copy afresh with the patch in it; gives its migrations of `booking`, in order.
fn apply(name: &str) -> anyhow::Result<Vec<String>> {
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
    git.env("GIT_CEILING_DIRECTORIES", shop())
        .current_dir(&copy);
    run(git.args(["apply", "--whitespace=nowarn"]).arg(patch))?;
    migrations(&copy)
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

/// The copy's target folder: links to what others' crates were compiled to, made anew where those
/// have changed.
fn seeded_target() -> anyhow::Result<PathBuf> {
    let (seed, own) = (target().join("debug"), shop().join("target"));
    let lock = std::fs::read(tree().join("Cargo.lock"))?;
    let seeded_for = own.join("Cargo.lock");
    if std::fs::read(&seeded_for).is_ok_and(|before| before == lock) {
        return Ok(own);
    }
    if own.exists() {
        std::fs::remove_dir_all(&own)?;
    }
    let debug = own.join("debug");
    std::fs::create_dir_all(&debug)?;
    for (part, how) in [(".fingerprint", "-a"), ("build", "-a"), ("deps", "-al")] {
        run(Command::new("cp").arg(how).arg(seed.join(part)).arg(&debug))?;
    }
    forget_ours(&debug)?;
    // Last: what was interrupted begins anew.
    std::fs::write(seeded_for, lock)?;
    Ok(own)
}

/// Removes the workspace's own crates, and what is no crate but a program.
fn forget_ours(debug: &Path) -> anyhow::Result<()> {
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
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type()?.is_dir() {
                if is_ours(&name) {
                    std::fs::remove_dir_all(entry.path())?;
                }
            } else if is_ours(&name) || !name.contains('.') {
                std::fs::remove_file(entry.path())?;
            }
        }
    }
    Ok(())
}
