//! The program `bank`: a sandbox payment provider.

fn main() -> std::process::ExitCode {
    service::run("bank", bank::start)
}
