//! The program `chaos`: see `chaos --help`.

fn main() -> std::process::ExitCode {
    chaos::command::main()
}
