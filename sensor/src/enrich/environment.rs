//! The variables of an environment that documents may carry.

use std::sync::OnceLock;

use sensor_ecs::Scalar;

/// They steer the loader, the shell's history, proxies.
pub(crate) const ALLOWED_DEFAULT: [&str; 11] = [
    "LD_PRELOAD",
    "LD_LIBRARY_PATH",
    "LD_AUDIT",
    "GLIBC_TUNABLES",
    "HISTFILE",
    "HISTSIZE",
    "HISTFILESIZE",
    "RUNNER_TRACKING_ID",
    "http_proxy",
    "HTTPS_PROXY",
    "ALL_PROXY",
];

/// What the configuration says instead. Environments are read on several threads, all started after this is set.
static ALLOWED: OnceLock<Vec<String>> = OnceLock::new();

/// Sets which variables documents may carry; the first call holds.
pub(crate) fn allow(names: &[String]) {
    let _ = ALLOWED.set(names.to_vec());
}

fn is_allowed(name: &[u8]) -> bool {
    match ALLOWED.get() {
        Some(names) => names.iter().any(|one| one.as_bytes() == name),
        None => ALLOWED_DEFAULT.iter().any(|one| one.as_bytes() == name),
    }
}

/// Name and value of every variable; what has no `=` is none.
fn variables(environ: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    environ.split(|&byte| byte == 0).filter_map(|variable| {
        let at = variable.iter().position(|&byte| byte == b'=')?;
        Some((variable.get(..at)?, variable))
    })
}

/// Every allowed `NAME=value`.
pub(super) fn allowed(environ: &[u8]) -> impl Iterator<Item = &[u8]> {
    variables(environ).filter(|(name, _)| is_allowed(name)).map(|(_, variable)| variable)
}

/// The allowed variables of what the kernel sent, without a last one that was cut.
pub(super) fn variables_of(envp: &[u8]) -> Vec<Scalar> {
    let whole =
        envp.iter().rposition(|&byte| byte == 0).and_then(|last| envp.get(..last)).unwrap_or_default();
    allowed(whole).map(|variable| Scalar::Keyword(variable.to_vec().into())).collect()
}

/// The value of a variable.
pub(super) fn value<'a>(environ: &'a [u8], wanted: &[u8]) -> Option<&'a [u8]> {
    variables(environ).find(|(name, _)| *name == wanted)?.1.get(wanted.len() + 1..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_allowed_variables_pass() {
        let environ = b"PATH=/bin\0LD_PRELOAD=/tmp/x.so\0HISTFILE=\0LD_PRELOADED=1\0LD_AUDIT\0";
        let found: Vec<_> = allowed(environ).collect();
        assert_eq!(found, [&b"LD_PRELOAD=/tmp/x.so"[..], b"HISTFILE="]);
        assert_eq!(value(environ, b"PATH"), Some(&b"/bin"[..]));
        assert_eq!(value(environ, b"LD_AUDIT"), None);
        assert_eq!(
            variables_of(b"HISTSIZE=0\0LD_AUDIT=/cu"),
            [Scalar::Keyword(b"HISTSIZE=0".to_vec().into())]
        );
    }
}
