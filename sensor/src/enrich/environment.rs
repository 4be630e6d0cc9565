//! The variables of an environment that documents may carry.

use sensor_ecs::Scalar;

/// They steer the loader, the shell's history, proxies.
const ALLOWED: [&[u8]; 11] = [
    b"LD_PRELOAD",
    b"LD_LIBRARY_PATH",
    b"LD_AUDIT",
    b"GLIBC_TUNABLES",
    b"HISTFILE",
    b"HISTSIZE",
    b"HISTFILESIZE",
    b"RUNNER_TRACKING_ID",
    b"http_proxy",
    b"HTTPS_PROXY",
    b"ALL_PROXY",
];

/// Name and value of every variable; what has no `=` is none.
fn variables(environ: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    environ.split(|&byte| byte == 0).filter_map(|variable| {
        let at = variable.iter().position(|&byte| byte == b'=')?;
        Some((variable.get(..at)?, variable))
    })
}

/// Every allowed `NAME=value`.
pub(super) fn allowed(environ: &[u8]) -> impl Iterator<Item = &[u8]> {
    variables(environ).filter(|(name, _)| ALLOWED.contains(name)).map(|(_, variable)| variable)
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
