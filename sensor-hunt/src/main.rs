//! The executable that `sensor hunt` and `sensor store` start, so that the resident sensor carries no query engine.

use std::process::ExitCode;

fn main() -> ExitCode {
    sensor_hunt::cli::main()
}
