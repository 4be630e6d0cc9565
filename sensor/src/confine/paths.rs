//! Landlock: the directories that a thread may open files in.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible as _, LandlockStatus,
    RestrictionStatus, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetError, RulesetStatus,
    path_beneath_rules,
};

use super::Role;
use super::state::Landlock;

/// The newest that is asked for; what a kernel does not know is left out.
const VERSION: ABI = ABI::V5;

/// What a program needs to be started, beside its own file: the loader and the libraries.
const LIBRARIES: [&str; 4] = ["/usr/lib", "/usr/lib64", "/lib", "/lib64"];
const LOADER_CACHE: &str = "/etc/ld.so.cache";
const NULL: &str = "/dev/null";
/// Where the addresses of names are found: files of the resolver, and what it loads.
const NAMES: [&str; 9] = [
    "/etc",
    "/run/systemd/resolve",
    "/run/resolvconf",
    "/run/NetworkManager",
    "/run/nscd",
    "/usr/lib",
    "/usr/lib64",
    "/lib",
    "/lib64",
];

/// What a thread may open. Nothing else, and no TCP unless it connects.
pub(super) struct Allowed<'r> {
    writes: &'r [PathBuf],
    reads: &'r [&'r str],
    program: Option<&'r Path>,
    connects: bool,
}

/// Those that look at processes are not asked.
pub(super) fn allowed(role: &Role) -> Option<Allowed<'_>> {
    let nothing = Allowed { writes: &[], reads: &[], program: None, connects: false };
    Some(match role {
        Role::Watch | Role::Look => return None,
        Role::Tell | Role::Answer => nothing,
        Role::Write(directories) => Allowed { writes: directories, ..nothing },
        Role::Send(directories) => Allowed { writes: directories, reads: &NAMES, connects: true, ..nothing },
        Role::Store { root, program } => {
            Allowed { writes: std::slice::from_ref(root), program: program.as_deref(), ..nothing }
        }
        // The next configuration may name rules anywhere.
        Role::Edits => Allowed { reads: &["/"], ..nothing },
        Role::Reload { state_directory, program } => Allowed {
            writes: std::slice::from_ref(state_directory),
            reads: &["/"],
            program: program.as_deref(),
            ..nothing
        },
    })
}

impl Allowed<'_> {
    /// Holds this thread to it, as far as the kernel can.
    pub(super) fn restrict(&self) -> Result<Landlock, String> {
        let status = self.try_restrict().map_err(|error| format!("Landlock: {error}"))?;
        let is_enforced = status.ruleset != RulesetStatus::NotEnforced;
        Ok(match status.landlock {
            LandlockStatus::Available { effective_abi, .. } if is_enforced => {
                Landlock::Version(effective_abi as i32)
            }
            _ => Landlock::Missing,
        })
    }

    fn try_restrict(&self) -> Result<RestrictionStatus, RulesetError> {
        let reading = AccessFs::ReadFile | AccessFs::ReadDir;
        let inside = AccessFs::from_all(VERSION) & !AccessFs::Execute;
        let network =
            if self.connects { BitFlags::from(AccessNet::BindTcp) } else { AccessNet::from_all(VERSION) };
        let mut rules = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(VERSION))?
            .handle_access(network)?
            .create()?
            .add_rules(path_beneath_rules(self.writes, inside))?
            .add_rules(path_beneath_rules(self.reads, reading))?;
        if let Some(program) = self.program {
            let loaded = reading | AccessFs::Execute;
            rules = rules
                .add_rules(path_beneath_rules(LIBRARIES, loaded))?
                .add_rules(path_beneath_rules([program], loaded))?
                .add_rules(path_beneath_rules([Path::new(LOADER_CACHE)], BitFlags::from(AccessFs::ReadFile)))?
                .add_rules(path_beneath_rules([Path::new(NULL)], AccessFs::ReadFile | AccessFs::WriteFile))?;
        }
        rules.restrict_self()
    }
}
