//! The program `crowd`: see `crowd --help`.

fn main() -> std::process::ExitCode {
    crowd::command::main()
}
