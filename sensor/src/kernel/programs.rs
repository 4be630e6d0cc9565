//! Loading and attaching the programs, each hook in the best way that the kernel accepts.

use std::collections::HashMap;

use aya::{
    Btf, Ebpf,
    programs::{BtfTracePoint, FEntry, FExit, KProbe, Program, ProgramError, RawTracePoint},
};

use super::capability::Capabilities;
use super::error;
use super::hooks::{Alternative, Attach, HOOKS, Hook, Mode, Part};

/// A hook and what became of it.
#[derive(Debug)]
pub(crate) struct HookStatus {
    /// Which.
    pub(crate) hook: &'static Hook,
    /// How it is attached, if it is.
    pub(crate) mode: Option<Mode>,
    /// The ways that were tried in vain, with the reason.
    pub(crate) refused: Vec<(Mode, String)>,
    /// Whether anything comes of it: a hook whose partners are missing could be had, but was let go.
    pub(crate) is_used: bool,
}

impl HookStatus {
    pub(super) fn chosen(&self) -> Option<&'static Alternative> {
        self.hook.alternatives.iter().find(|alternative| Some(alternative.mode) == self.mode)
    }
}

/// What it takes to load a program.
pub(super) struct Programs<'a> {
    pub(super) ebpf: &'a mut Ebpf,
    pub(super) btf: &'a Btf,
    /// Functions whose arguments are not what the programs expect, with the reason.
    pub(super) mismatched: &'a HashMap<&'static str, String>,
    pub(super) attach: Attach,
}

impl Programs<'_> {
    /// Loads and attaches what can be, and lets go of what is of no use alone.
    pub(super) fn attach_all(&mut self) -> Vec<HookStatus> {
        // All are loaded before the first is attached: the verifier takes its time, and in between only some hooks
        // would report.
        let mut hooks: Vec<HookStatus> = HOOKS
            .iter()
            .map(|hook| {
                let mut status = HookStatus { hook, mode: None, refused: Vec::new(), is_used: true };
                self.load_best(&mut status);
                status
            })
            .collect();
        for status in &mut hooks {
            while let Some(chosen) = status.chosen() {
                match chosen.parts.iter().try_for_each(|part| attach(self.ebpf, chosen.mode, part)) {
                    Ok(()) => break,
                    Err(reason) => {
                        unload(self.ebpf, chosen);
                        status.refused.push((chosen.mode, reason));
                        self.load_best(status);
                    }
                }
            }
        }
        let capabilities = Capabilities::of(&hooks);
        for status in hooks.iter_mut().filter(|status| !capabilities.uses(status.hook.name)) {
            status.is_used = false;
            if let Some(chosen) = status.chosen() {
                unload(self.ebpf, chosen);
            }
        }
        hooks
    }

    /// Loads the best of the alternatives that were not yet tried.
    fn load_best(&mut self, status: &mut HookStatus) {
        status.mode = None;
        for alternative in status.hook.alternatives {
            let mode = alternative.mode;
            if !self.attach.allows(mode) || status.refused.iter().any(|(refused, _)| *refused == mode) {
                continue;
            }
            match alternative.parts.iter().try_for_each(|part| self.load(mode, part)) {
                Ok(()) => {
                    status.mode = Some(mode);
                    return;
                }
                Err(reason) => {
                    unload(self.ebpf, alternative);
                    status.refused.push((mode, reason));
                }
            }
        }
    }

    /// Loads one program, or says why not.
    fn load(&mut self, mode: Mode, part: &Part) -> Result<(), String> {
        if let Some(reason) = self.mismatched.get(part.signature.function) {
            return Err(reason.clone());
        }
        let ebpf = &mut *self.ebpf;
        let loaded = match mode {
            Mode::Fentry if part.returns => program::<FExit>(ebpf, part)?.load(part.target, self.btf),
            Mode::Fentry => program::<FEntry>(ebpf, part)?.load(part.target, self.btf),
            Mode::Kprobe => program::<KProbe>(ebpf, part)?.load(),
            Mode::TpBtf => program::<BtfTracePoint>(ebpf, part)?.load(part.target, self.btf),
            Mode::RawTp => program::<RawTracePoint>(ebpf, part)?.load(),
        };
        loaded.map_err(|error| {
            if let ProgramError::LoadError { io_error, verifier_log } = &error {
                let log = verifier_log.to_string();
                tracing::debug!("the verifier on {}:\n{log}", part.program);
                // The reason stands last, before the statistics.
                let reason =
                    log.lines().rev().find(|line| !line.is_empty() && !line.starts_with("processed "));
                return reason.map_or_else(|| io_error.to_string(), |reason| format!("{io_error}: {reason}"));
            }
            error::chain(&error)
        })
    }
}

/// Attaches a loaded program, or says why not.
fn attach(ebpf: &mut Ebpf, mode: Mode, part: &Part) -> Result<(), String> {
    let attached = match mode {
        Mode::Fentry if part.returns => program::<FExit>(ebpf, part)?.attach().map(drop),
        Mode::Fentry => program::<FEntry>(ebpf, part)?.attach().map(drop),
        Mode::Kprobe => program::<KProbe>(ebpf, part)?.attach(part.target, 0).map(drop),
        Mode::TpBtf => program::<BtfTracePoint>(ebpf, part)?.attach().map(drop),
        Mode::RawTp => program::<RawTracePoint>(ebpf, part)?.attach(part.target).map(drop),
    };
    attached.map_err(|error| error::chain(&error))
}

/// Detaches and unloads the programs of every hook.
pub(super) fn detach_all(ebpf: &mut Ebpf, hooks: &[HookStatus]) {
    hooks.iter().filter_map(HookStatus::chosen).for_each(|chosen| unload(ebpf, chosen));
}

/// A program that is not loaded has nothing to unload, and that is all that can go wrong.
fn unload(ebpf: &mut Ebpf, alternative: &Alternative) {
    for part in alternative.parts {
        let _ = match alternative.mode {
            Mode::Fentry if part.returns => program::<FExit>(ebpf, part).map(FExit::unload),
            Mode::Fentry => program::<FEntry>(ebpf, part).map(FEntry::unload),
            Mode::Kprobe => program::<KProbe>(ebpf, part).map(KProbe::unload),
            Mode::TpBtf => program::<BtfTracePoint>(ebpf, part).map(BtfTracePoint::unload),
            Mode::RawTp => program::<RawTracePoint>(ebpf, part).map(RawTracePoint::unload),
        };
    }
}

fn program<'a, T>(ebpf: &'a mut Ebpf, part: &Part) -> Result<&'a mut T, String>
where
    &'a mut T: TryFrom<&'a mut Program, Error = ProgramError>,
{
    let program = ebpf
        .program_mut(part.program)
        .ok_or_else(|| format!("the object has no program {}", part.program))?;
    program.try_into().map_err(|error: ProgramError| error::chain(&error))
}
