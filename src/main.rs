//! The `paperround` program.

fn main() -> std::process::ExitCode {
    paperround::cli::main()
}
