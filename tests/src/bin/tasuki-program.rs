//! The program, built beside its end-to-end tests so that they can start and kill it as a process.

fn main() -> std::process::ExitCode {
    tasuki::cli::main()
}
