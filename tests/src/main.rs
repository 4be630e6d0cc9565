//! `sensor-livetest [--required] [--filter TEXT]... [--leave-out NAME]...`, `sensor-livetest list`, `sensor-livetest act OPERATION ...`.

use std::env;
use std::ffi::OsString;
use std::process::ExitCode;

use sensor_tests::{actor, runner};

fn main() -> ExitCode {
    let args: Vec<OsString> = env::args_os().skip(1).collect();
    let outcome = match args.split_first() {
        Some((word, rest)) if word == "act" => actor::run(rest),
        _ => runner::run(&args),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
