//! The one binary.

fn main() -> std::process::ExitCode {
    tasuki::cli::main()
}
