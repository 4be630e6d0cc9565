//! `sensor doctor`: what this host offers, each hook tried, what can be seen with them.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use super::DoctorArgs;
use crate::confine::{self, Attempt};
use crate::kernel::{Capability, HOOKS, HostFacts, Kernel, KernelOptions, Missing, Mode};
use crate::selftest;

/// Prints one line per fact and per hook; the exit status is the verdict.
///
/// # Errors
///
/// When nothing can be printed.
pub fn doctor(args: DoctorArgs) -> anyhow::Result<ExitCode> {
    let mut out = io::stdout().lock();
    let facts = HostFacts::gather();
    writeln!(out, "kernel        {}", facts.release)?;
    match &facts.btf {
        Ok(bytes) => writeln!(out, "BTF           {} ({bytes} bytes)", crate::kernel::BTF_PATH)?,
        Err(error) => writeln!(out, "BTF           missing: {}: {error}", crate::kernel::BTF_PATH)?,
    }
    writeln!(out, "LSM           {}", facts.lsm.as_deref().unwrap_or("unknown (securityfs is not mounted)"))?;
    writeln!(
        out,
        "lockdown      {}",
        match facts.lockdown.as_deref() {
            Some("confidentiality") => "confidentiality: the kernel forbids programs to read its memory",
            Some(mode) => mode,
            None => "unknown or not built in",
        }
    )?;
    let capabilities: Vec<_> = [Capability::SysAdmin, Capability::Bpf, Capability::Perfmon]
        .into_iter()
        .map(|capability| {
            format!("{} {}", capability.name(), if facts.has(capability) { "yes" } else { "no" })
        })
        .collect();
    writeln!(out, "capabilities  {}", capabilities.join(", "))?;

    let mut kernel =
        match Kernel::try_load(&KernelOptions { attach: args.attach, ..KernelOptions::default() }) {
            Ok(kernel) => kernel,
            Err(error) => {
                writeln!(out, "hooks         none can be tried: {error}")?;
                writeln!(out, "\nThe sensor cannot work here.")?;
                return Ok(ExitCode::FAILURE);
            }
        };
    let self_test = selftest::run(&mut kernel);
    kernel.detach();
    match kernel.absent_members() {
        [] => writeln!(out, "structures    every member found")?,
        absent => writeln!(out, "structures    without {}", absent.join(", "))?,
    }
    for status in kernel.hooks() {
        let mode = status.mode.map_or("none", Mode::name);
        let how = match status.mode {
            Some(_) if status.is_used => "attached",
            Some(_) => "could be attached, but is of no use without its partners",
            None => "REFUSED",
        };
        writeln!(out, "hook          {:<24} {mode:<7} {how}", status.hook.name)?;
        for (mode, reason) in &status.refused {
            writeln!(out, "              {:<24} {:<7} refused: {reason}", "", mode.name())?;
        }
    }
    if let Some(uncounted) = kernel.uncounted() {
        writeln!(out, "losses        {uncounted}")?;
    }
    let capabilities = kernel.capabilities();
    for operation in &capabilities.available {
        writeln!(out, "{:<13} {:<24} seen", operation.kind.name(), operation.name)?;
    }
    for missing in &capabilities.missing {
        let Missing { operation, reason } = missing;
        writeln!(out, "{:<13} {:<24} NOT SEEN: {reason}", operation.kind.name(), operation.name)?;
        writeln!(out, "{:<38} {}", "", operation.without)?;
    }
    match &self_test {
        Ok(_) => writeln!(out, "self-test     passed")?,
        Err(error) => {
            writeln!(out, "self-test     FAILED: {error}")?;
            writeln!(out, "\nThe sensor cannot work here: its records would be wrong.")?;
            return Ok(ExitCode::FAILURE);
        }
    }
    let confined = say_confinement(&mut out)?;
    let (seen, missing) = (capabilities.available.len(), capabilities.missing.len());
    if !confined {
        writeln!(out, "\nThe sensor works here, but what it must not do any more, it still can.")?;
    }
    if missing == 0 {
        writeln!(out, "\nThe sensor can work here: {} of {} hooks attached.", HOOKS.len(), HOOKS.len())?;
        return Ok(ExitCode::SUCCESS);
    }
    if seen == 0 {
        writeln!(out, "\nThe sensor cannot work here: it would see nothing.")?;
    } else {
        writeln!(out, "\nThe sensor works here in part. NOT available: {}.", capabilities.missing_names())?;
    }
    Ok(ExitCode::FAILURE)
}

/// Tries, from inside, what a running sensor gives up; says whether all of it was refused.
fn say_confinement(out: &mut impl Write) -> io::Result<bool> {
    let ([watcher, writer], attempts) = confine::attempts();
    writeln!(out, "confinement   {:<24} {watcher}", "threads that watch")?;
    writeln!(out, "              {:<24} {writer}", "threads that write")?;
    for Attempt { what, outcome, is_refused } in &attempts {
        match outcome {
            Err(error) if *is_refused => writeln!(out, "              {what:<42} refused: {error}")?,
            Err(error) => writeln!(out, "              {what:<42} NOT REFUSED, failed: {error}")?,
            Ok(()) => writeln!(out, "              {what:<42} NOT REFUSED")?,
        }
    }
    Ok(attempts.iter().all(|attempt| attempt.is_refused))
}
