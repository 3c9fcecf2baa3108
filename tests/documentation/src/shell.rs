//! The reader's shell: one bash a page, so that variables live on from command to command.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// How the page's address of the door is written.
const DOOR_IN_PAGES: &str = "localhost:8080";

/// The longest a command may take before it is interrupted.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(90);

/// How often a command that does not end is interrupted, a second apart. The engine's client wants
/// it three times.
const INTERRUPTS: u32 = 10;

/// Marks the end of a command's output; no command prints it.
const END: &str = "-- end of command --";

/// How many shells were started: each has a file of its own for what commands complain about.
static SHELLS: AtomicU32 = AtomicU32::new(0);

/// Which stack the commands are for.
#[derive(Clone, Debug)]
pub struct Stack {
    /// Host and port of the door.
    pub door: String,
    /// The compose project.
    pub project: String,
}

/// A running bash.
pub struct Shell {
    bash: Child,
    input: ChildStdin,
    lines: Receiver<String>,
    stack: Stack,
    folder: PathBuf,
    errors: PathBuf,
}

/// What a command did.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Its exit code.
    pub code: i32,
    /// What it wrote to standard output.
    pub printed: String,
    /// What it wrote to standard error, for the report.
    pub errors: String,
}

impl Shell {
    /// Starts bash in `folder`.
    pub fn start(stack: &Stack, folder: &Path) -> std::io::Result<Self> {
        let number = SHELLS.fetch_add(1, Ordering::Relaxed);
        let errors =
            std::env::temp_dir().join(format!("documentation-{}-{number}", std::process::id()));
        let mut bash = Command::new("bash")
            .args(["--noprofile", "--norc"])
            .current_dir(folder)
            .process_group(0)
            .env("COMPOSE_PROJECT_NAME", &stack.project)
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let (Some(mut input), Some(output)) = (bash.stdin.take(), bash.stdout.take()) else {
            return Err(std::io::Error::other("bash has no pipes"));
        };
        // A shell with a trap outlives the interrupt that ends what it runs.
        input.write_all(b"trap : INT\n")?;
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self {
            bash,
            input,
            lines,
            stack: stack.clone(),
            folder: folder.to_owned(),
            errors,
        })
    }

    /// Types `command` and waits for its end. One that does not end is interrupted, as a reader
    /// would do it, and the shell can be used further.
    ///
    /// # Errors
    /// The shell ended, or the command took too long: then with what was running.
    pub fn run(&mut self, command: &str) -> Result<Outcome, String> {
        self.run_within(command, COMMAND_TIMEOUT)
    }

    fn run_within(&mut self, command: &str, limit: Duration) -> Result<Outcome, String> {
        let command = command.replace(DOOR_IN_PAGES, &self.stack.door);
        let errors = self.errors.display();
        // A command must not read the next ones as its input; the mark stands on a line of its own
        // whether or not the output ended with one.
        let typed = format!(
            "{{ {command}\n}} </dev/null 2>'{errors}'\nprintf '\\n%s %s\\n' '{END}' \"$?\"\n"
        );
        self.input
            .write_all(typed.as_bytes())
            .map_err(|error| error.to_string())?;
        if let Some(outcome) = self.read_outcome(limit)? {
            return Ok(outcome);
        }
        let failure = format!(
            "no end after {} s: {command}\n{}",
            limit.as_secs(),
            self.running()
        );
        // Told at once, because a block that comes true later hides it.
        let _ = writeln!(std::io::stderr(), "{failure}");
        for _ in 0..INTERRUPTS {
            self.interrupt();
            if self.read_outcome(Duration::from_secs(1))?.is_some() {
                break;
            }
        }
        Err(failure)
    }

    /// Reads until the mark, or nothing when it has not come after `limit`.
    fn read_outcome(&self, limit: Duration) -> Result<Option<Outcome>, String> {
        let deadline = Instant::now() + limit;
        let mut printed = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = match self.lines.recv_timeout(left) {
                Ok(line) => line,
                Err(RecvTimeoutError::Timeout) => return Ok(None),
                Err(RecvTimeoutError::Disconnected) => return Err("the shell ended".to_owned()),
            };
            if let Some(code) = line.strip_prefix(END) {
                let code = code.trim().parse().unwrap_or(-1);
                while printed.last().is_some_and(String::is_empty) {
                    printed.pop();
                }
                let errors = std::fs::read_to_string(&self.errors).unwrap_or_default();
                return Ok(Some(Outcome {
                    code,
                    printed: printed.join("\n"),
                    errors,
                }));
            }
            printed.push(line);
        }
    }

    /// What runs here and in the stack's containers.
    fn running(&self) -> String {
        let list = "ps -eo pid,ppid,etimes,stat,args; timeout 20 docker compose top";
        Command::new("bash")
            .args(["--noprofile", "--norc", "-c", list])
            .current_dir(&self.folder)
            .env("COMPOSE_PROJECT_NAME", &self.stack.project)
            .output()
            .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
            .unwrap_or_default()
    }

    /// Interrupts what the shell runs: its process group, as a terminal does it.
    fn interrupt(&self) {
        let group = format!("-{}", self.bash.id());
        let _ = Command::new("bash")
            .args(["-c", "kill -INT -- \"$0\"", &group])
            .status();
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.bash.kill();
        let _ = self.bash.wait();
        let _ = std::fs::remove_file(&self.errors);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell() -> Shell {
        let stack = Stack {
            door: "nginx:8080".to_owned(),
            project: "p".to_owned(),
        };
        Shell::start(&stack, Path::new("/")).unwrap()
    }

    #[test]
    fn variables_live_on_and_the_door_is_the_stacks() {
        let mut shell = shell();
        assert_eq!(shell.run("name=x").unwrap().printed, "");
        let outcome = shell
            .run("echo $name http://localhost:8080/ $COMPOSE_PROJECT_NAME")
            .unwrap();
        assert_eq!(outcome.printed, "x http://nginx:8080/ p");
    }

    #[test]
    fn a_failure_is_told_with_what_it_said() {
        let mut shell = shell();
        let outcome = shell.run("printf no-newline; echo why >&2; false").unwrap();
        let expected = Outcome {
            code: 1,
            printed: "no-newline".to_owned(),
            errors: "why\n".to_owned(),
        };
        assert_eq!(outcome, expected);
    }

    #[test]
    fn a_command_without_an_end_is_interrupted_and_the_next_one_runs() {
        let mut shell = shell();
        shell.run("kept=yes").unwrap();
        let endless = shell
            .run_within("sleep 1000 | cat", Duration::from_millis(200))
            .unwrap_err();
        assert!(endless.contains("sleep 1000"), "{endless}");
        assert_eq!(shell.run("echo $kept").unwrap().printed, "yes");
    }

    #[test]
    fn a_command_cannot_eat_the_ones_after_it() {
        let mut shell = shell();
        assert_eq!(shell.run("cat").unwrap().printed, "");
        assert_eq!(shell.run("echo next").unwrap().printed, "next");
    }
}
