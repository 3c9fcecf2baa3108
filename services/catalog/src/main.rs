//! Event documents: browse, search, publish.

fn main() -> std::process::ExitCode {
    service::run("catalog", catalog::start)
}
