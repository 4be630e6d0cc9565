//! `sensor doctor`: what this host offers, each hook tried, and whether the sensor can work.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use super::DoctorArgs;
use crate::kernel::{Capability, HOOKS, HostFacts, Kernel, KernelOptions};

/// Prints one line per fact and per hook; the exit status is the verdict.
///
/// # Errors
///
/// When nothing can be printed.
pub fn doctor(_args: DoctorArgs) -> anyhow::Result<ExitCode> {
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

    let mut kernel = match Kernel::try_load(&KernelOptions::default()) {
        Ok(kernel) => kernel,
        Err(error) => {
            writeln!(out, "hooks         none can be tried: {error}")?;
            writeln!(out, "\nThe sensor cannot work here.")?;
            return Ok(ExitCode::FAILURE);
        }
    };
    kernel.detach();
    match kernel.absent_members() {
        [] => writeln!(out, "structures    every member found")?,
        absent => writeln!(out, "structures    without {}", absent.join(", "))?,
    }
    for status in kernel.hooks() {
        let how = match &status.failure {
            None => "attached".to_owned(),
            Some(reason) => format!("REFUSED: {reason}"),
        };
        let hook = status.hook;
        writeln!(
            out,
            "hook          {:<24} {:<7} {:<12} {how}",
            hook.target,
            hook.mode.name(),
            hook.feeds.name()
        )?;
    }
    let refused = kernel.hooks().iter().filter(|status| status.failure.is_some()).count();
    if refused == 0 {
        writeln!(out, "\nThe sensor can work here: {} of {} hooks attached.", HOOKS.len(), HOOKS.len())?;
        Ok(ExitCode::SUCCESS)
    } else {
        writeln!(out, "\nThe sensor cannot work here: {refused} of {} hooks are refused.", HOOKS.len())?;
        Ok(ExitCode::FAILURE)
    }
}
