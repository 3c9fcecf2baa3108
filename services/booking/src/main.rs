//! The process `booking`: what it is made of stands in the library beside it.

fn main() -> std::process::ExitCode {
    service::run("booking", booking::start)
}
