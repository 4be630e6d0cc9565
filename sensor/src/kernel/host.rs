//! What the host offers: kernel version, security modules, lockdown, this process's capabilities.

use std::{fs, io};

use super::{BTF_PATH, KernelError};

/// A capability that loading needs, with the bit it has in `/proc/self/status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Capability {
    /// Superset of the two below, for kernels and set-ups that grant it alone.
    SysAdmin = 21,
    /// Tracing programs and reads of kernel memory.
    Perfmon = 38,
    /// Maps and programs.
    Bpf = 39,
}

impl Capability {
    /// Its name in capabilities(7).
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::SysAdmin => "CAP_SYS_ADMIN",
            Self::Perfmon => "CAP_PERFMON",
            Self::Bpf => "CAP_BPF",
        }
    }
}

/// Facts about the host that decide whether the sensor can work.
#[derive(Debug)]
pub(crate) struct HostFacts {
    /// `uname -r`.
    pub(crate) release: String,
    /// Bytes of BTF, or why there is none.
    pub(crate) btf: io::Result<u64>,
    /// Active security modules.
    pub(crate) lsm: Option<String>,
    /// Lockdown mode: `none`, `integrity` or `confidentiality`.
    pub(crate) lockdown: Option<String>,
    /// Effective capabilities of this process.
    pub(crate) effective: Option<u64>,
}

impl HostFacts {
    /// Looks.
    pub(crate) fn gather() -> Self {
        Self {
            release: rustix::system::uname().release().to_string_lossy().into_owned(),
            btf: fs::metadata(BTF_PATH).map(|metadata| metadata.len()),
            lsm: fs::read_to_string("/sys/kernel/security/lsm").ok().map(|text| text.trim().to_owned()),
            lockdown: fs::read_to_string("/sys/kernel/security/lockdown").ok().and_then(|text| {
                let inner = text.split_once('[')?.1.split_once(']')?.0;
                Some(inner.to_owned())
            }),
            effective: effective_capabilities(),
        }
    }

    /// Whether this process has `capability`.
    pub(crate) fn has(&self, capability: Capability) -> bool {
        self.effective.is_some_and(|set| set & (1 << capability as u32) != 0)
    }
}

fn effective_capabilities() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let hex = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(hex.trim(), 16).ok()
}

/// Fails early and clearly where the kernel would only say EPERM.
pub(crate) fn require_capabilities() -> Result<(), KernelError> {
    let Some(set) = effective_capabilities() else {
        // Without /proc nothing can be said; the kernel will.
        return Ok(());
    };
    // Root of a user namespace has every bit, and none of them counts here.
    if let Ok(map) = fs::read_to_string("/proc/self/uid_map")
        && map.split_whitespace().ne(["0", "0", "4294967295"])
    {
        return Err(KernelError::UserNamespace);
    }
    let has = |capability: Capability| set & (1 << capability as u32) != 0;
    if has(Capability::SysAdmin) {
        return Ok(());
    }
    let missing: Vec<_> = [Capability::Bpf, Capability::Perfmon]
        .into_iter()
        .filter(|c| !has(*c))
        .map(Capability::name)
        .collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(KernelError::Capabilities { missing: missing.join(" and ") })
    }
}
