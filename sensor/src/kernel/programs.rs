//! Loading and attaching the programs, each hook in the best way that the kernel accepts.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::thread;

use aya::{
    Btf, Ebpf,
    programs::{BtfTracePoint, FEntry, FExit, KProbe, Program, ProgramError, RawTracePoint},
};

use super::capability::Capabilities;
use super::error;
use super::hooks::{Alternative, Attach, HOOKS, Hook, Mode, Part};

/// Programs that are verified at a time.
const LOADERS_MAX: usize = 4;

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

/// A hook on its way, and every program that it may use.
struct Work<'e> {
    status: HookStatus,
    programs: HashMap<&'static str, &'e mut Program>,
}

/// What is the same for every hook.
#[derive(Clone, Copy)]
struct Terms<'a> {
    btf: &'a Btf,
    mismatched: &'a HashMap<&'static str, String>,
    attach: Attach,
}

impl Programs<'_> {
    /// Loads and attaches what can be, and lets go of what is of no use alone.
    pub(super) fn attach_all(self) -> Vec<HookStatus> {
        let Self { ebpf, btf, mismatched, attach } = self;
        let terms = Terms { btf, mismatched, attach };
        let mut programs: HashMap<&str, &mut Program> = ebpf.programs_mut().collect();
        let mut works: Vec<Work<'_>> = HOOKS.iter().map(|hook| Work::new(hook, &mut programs)).collect();
        // All are loaded before the first is attached: the verifier takes its time, and in between only some hooks
        // would report.
        load_all(&mut works, terms);
        works.iter_mut().for_each(|work| work.attach(terms));
        let mut hooks: Vec<HookStatus> = works.into_iter().map(|work| work.status).collect();

        let capabilities = Capabilities::of(&hooks);
        for status in hooks.iter_mut().filter(|status| !capabilities.uses(status.hook.name)) {
            status.is_used = false;
            if let Some(chosen) = status.chosen() {
                unload_from(ebpf, chosen);
            }
        }
        hooks
    }
}

/// Has several hooks verified at a time: the kernel takes a second over all of them, and works on each apart.
fn load_all(works: &mut [Work<'_>], terms: Terms<'_>) {
    let threads = thread::available_parallelism().map_or(1, usize::from).min(LOADERS_MAX);
    let queue = Mutex::new(works.iter_mut());
    let load = || {
        loop {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some(work) = next else { return };
            work.load_best(terms);
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads {
            // Without another thread this one does it all.
            if thread::Builder::new().spawn_scoped(scope, load).is_err() {
                break;
            }
        }
        load();
    });
}

impl<'e> Work<'e> {
    fn new(hook: &'static Hook, programs: &mut HashMap<&str, &'e mut Program>) -> Self {
        let parts = hook.alternatives.iter().flat_map(|alternative| alternative.parts);
        Self {
            status: HookStatus { hook, mode: None, refused: Vec::new(), is_used: true },
            programs: parts.filter_map(|part| Some((part.program, programs.remove(part.program)?))).collect(),
        }
    }

    /// Attaches what was loaded, or the next best.
    fn attach(&mut self, terms: Terms<'_>) {
        while let Some(chosen) = self.status.chosen() {
            match chosen
                .parts
                .iter()
                .try_for_each(|part| attach(self.program(part.program), chosen.mode, part))
            {
                Ok(()) => break,
                Err(reason) => {
                    self.unload(chosen);
                    self.status.refused.push((chosen.mode, reason));
                    self.load_best(terms);
                }
            }
        }
    }

    /// Loads the best of the alternatives that were not yet tried.
    fn load_best(&mut self, terms: Terms<'_>) {
        self.status.mode = None;
        for alternative in self.status.hook.alternatives {
            let mode = alternative.mode;
            if !terms.attach.allows(mode) || self.status.refused.iter().any(|(refused, _)| *refused == mode) {
                continue;
            }
            match alternative.parts.iter().try_for_each(|part| self.load(mode, part, terms)) {
                Ok(()) => {
                    self.status.mode = Some(mode);
                    return;
                }
                Err(reason) => {
                    self.unload(alternative);
                    self.status.refused.push((mode, reason));
                }
            }
        }
    }

    /// Loads one program, or says why not.
    fn load(&mut self, mode: Mode, part: &Part, terms: Terms<'_>) -> Result<(), String> {
        if let Some(reason) = terms.mismatched.get(part.signature.function) {
            return Err(reason.clone());
        }
        let program = self.program(part.program);
        let loaded = match mode {
            Mode::Fentry if part.returns => typed::<FExit>(program, part)?.load(part.target, terms.btf),
            Mode::Fentry => typed::<FEntry>(program, part)?.load(part.target, terms.btf),
            Mode::Kprobe => typed::<KProbe>(program, part)?.load(),
            Mode::TpBtf => typed::<BtfTracePoint>(program, part)?.load(part.target, terms.btf),
            Mode::RawTp => typed::<RawTracePoint>(program, part)?.load(),
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

    fn unload(&mut self, alternative: &Alternative) {
        for part in alternative.parts {
            unload(self.program(part.program), alternative.mode, part);
        }
    }

    fn program(&mut self, name: &str) -> Option<&mut Program> {
        self.programs.get_mut(name).map(|program| &mut **program)
    }
}

/// Attaches a loaded program, or says why not.
fn attach(program: Option<&mut Program>, mode: Mode, part: &Part) -> Result<(), String> {
    let attached = match mode {
        Mode::Fentry if part.returns => typed::<FExit>(program, part)?.attach().map(drop),
        Mode::Fentry => typed::<FEntry>(program, part)?.attach().map(drop),
        Mode::Kprobe => typed::<KProbe>(program, part)?.attach(part.target, 0).map(drop),
        Mode::TpBtf => typed::<BtfTracePoint>(program, part)?.attach().map(drop),
        Mode::RawTp => typed::<RawTracePoint>(program, part)?.attach(part.target).map(drop),
    };
    attached.map_err(|error| error::chain(&error))
}

/// Detaches and unloads the programs of every hook.
pub(super) fn detach_all(ebpf: &mut Ebpf, hooks: &[HookStatus]) {
    hooks.iter().filter_map(HookStatus::chosen).for_each(|chosen| unload_from(ebpf, chosen));
}

fn unload_from(ebpf: &mut Ebpf, alternative: &Alternative) {
    for part in alternative.parts {
        unload(ebpf.program_mut(part.program), alternative.mode, part);
    }
}

/// A program that is not loaded has nothing to unload, and that is all that can go wrong.
fn unload(program: Option<&mut Program>, mode: Mode, part: &Part) {
    let _ = match mode {
        Mode::Fentry if part.returns => typed::<FExit>(program, part).map(FExit::unload),
        Mode::Fentry => typed::<FEntry>(program, part).map(FEntry::unload),
        Mode::Kprobe => typed::<KProbe>(program, part).map(KProbe::unload),
        Mode::TpBtf => typed::<BtfTracePoint>(program, part).map(BtfTracePoint::unload),
        Mode::RawTp => typed::<RawTracePoint>(program, part).map(RawTracePoint::unload),
    };
}

/// The program as what it is in this mode.
fn typed<'p, T>(program: Option<&'p mut Program>, part: &Part) -> Result<&'p mut T, String>
where
    &'p mut T: TryFrom<&'p mut Program, Error = ProgramError>,
{
    let program = program.ok_or_else(|| format!("the object has no program {}", part.program))?;
    program.try_into().map_err(|error: ProgramError| error::chain(&error))
}
