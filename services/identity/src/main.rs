//! The program `identity`: accounts and sessions.

fn main() -> std::process::ExitCode {
    service::run("identity", identity::start)
}
