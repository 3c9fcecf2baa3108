//! The program `chaos`: see `chaos --help`.

fn main() -> std::process::ExitCode {
    tests::chaos::command::main()
}
