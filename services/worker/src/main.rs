//! The program `worker`: the back office of `booking`. With `dead-letters` as its first argument it
//! lists, shows and redrives dead letters instead.

fn main() -> std::process::ExitCode {
    if std::env::args().nth(1).as_deref() == Some("dead-letters") {
        return worker::dead_letters::command::run();
    }
    service::run("worker", worker::start)
}
