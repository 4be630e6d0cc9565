//! Why the kernel side cannot work, each as one sentence that says what to do.

use std::{error::Error, io};

use thiserror::Error;

use super::{BTF_PATH, btf::BtfError};

/// Why the programs cannot be loaded or attached.
#[derive(Debug, Error)]
pub(crate) enum KernelError {
    /// Built without the object.
    #[error(
        "this sensor was built without its eBPF programs: build it with `cargo xtask build`, \
         or set SENSOR_EBPF_OBJECT to the object when building"
    )]
    NoObject,
    /// Not privileged.
    #[error("loading eBPF programs needs {missing}, which this process lacks: run as root, or grant them")]
    Capabilities {
        /// Names of the missing ones.
        missing: String,
    },
    /// Privileged, but only within a user namespace.
    #[error(
        "this process is in a user namespace of its own, where CAP_BPF does not count: run it in the host's \
         user namespace"
    )]
    UserNamespace,
    /// The kernel does not describe its types.
    #[error("{BTF_PATH}: {0}: the kernel's BTF is needed to find its structures (CONFIG_DEBUG_INFO_BTF)")]
    NoBtf(io::Error),
    /// It does, but not so that it can be read.
    #[error("{BTF_PATH}: {0}")]
    BadBtf(BtfError),
    /// aya could not read it.
    #[error("{BTF_PATH}: {0}")]
    AyaBtf(aya::BtfError),
    /// The kernel's structures are not those that the programs know.
    #[error("this kernel lacks structure members that the programs read: {}", .0.join(", "))]
    MissingFields(Vec<String>),
    /// The object does not load.
    #[error("the eBPF object does not load: {}", chain(.0))]
    Load(aya::EbpfError),
    /// The object is not the one that this sensor was built with.
    #[error("the eBPF object is damaged: {0}")]
    Object(String),
    /// No hook can be had.
    #[error("this kernel lets the sensor see nothing: {0}; `sensor doctor` lists every hook")]
    NoHook(String),
    /// The programs' own diagnostics cannot be read.
    #[error("the programs' diagnostics cannot be read: {0}")]
    Logger(String),
}

// Messages hold their causes: a chain printed on top would repeat them, so none is marked as a source.
impl From<BtfError> for KernelError {
    fn from(error: BtfError) -> Self {
        Self::BadBtf(error)
    }
}

impl From<aya::BtfError> for KernelError {
    fn from(error: aya::BtfError) -> Self {
        Self::AyaBtf(error)
    }
}

impl From<aya::EbpfError> for KernelError {
    fn from(error: aya::EbpfError) -> Self {
        Self::Load(error)
    }
}

/// An error and its causes on one line, without what a cause repeats and without the verifier's log.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let message = error.to_string();
        let message = message.lines().next().unwrap_or_default().trim_end_matches([':', ' ']);
        if !message.is_empty() && !text.contains(message) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(message);
        }
        next = error.source();
    }
    text
}
