//! The program `crowd`: see `crowd --help`.

fn main() -> std::process::ExitCode {
    tests::crowd::command::main()
}
