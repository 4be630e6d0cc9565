//! Which container a cgroup path stands for.
//!
//! Components are looked at from the innermost outwards; the first that a runtime names is the container. The
//! monitors that runtimes run beside a container (conmon, `lxc.monitor`, `supervisor`, what Kata runs for a virtual
//! machine) are not inside it and are passed over.

/// What made a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Runtime {
    Docker,
    Containerd,
    CriO,
    Podman,
    Lxc,
    SystemdNspawn,
    /// Run without an engine.
    Runc,
    /// The same.
    Crun,
    Buildkit,
    Garden,
    Mesos,
    Nomad,
}

impl Runtime {
    /// The name that documents use.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Containerd => "containerd",
            Self::CriO => "cri-o",
            Self::Podman => "podman",
            Self::Lxc => "lxc",
            Self::SystemdNspawn => "systemd-nspawn",
            Self::Runc => "runc",
            Self::Crun => "crun",
            Self::Buildkit => "buildkit",
            Self::Garden => "garden",
            Self::Mesos => "mesos",
            Self::Nomad => "nomad",
        }
    }
}

/// A container as its cgroup path tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Container {
    /// 64 hex digits, or the name that the runtime has for it: LXC, systemd-nspawn, ECS, Nomad and others.
    pub(crate) id: Vec<u8>,
    /// Absent where the path has an id but no hint of what made it.
    pub(crate) runtime: Option<Runtime>,
    /// The Kubernetes pod.
    pub(crate) pod_uid: Option<Vec<u8>>,
    /// Whose service manager it runs below, if it is a user's: no root made it.
    pub(crate) user: Option<u32>,
}

impl Container {
    /// The innermost container of a cgroup path.
    pub(crate) fn from_cgroup(path: &[u8]) -> Option<Self> {
        let mut outwards = path.rsplit(|&byte| byte == b'/').filter(|name| !name.is_empty());
        let mut inner: Option<&[u8]> = None;
        while let Some(component) = outwards.next() {
            let mut above = outwards.clone();
            let around =
                Around { inner: inner.replace(component), parent: above.next(), above: above.next() };
            let Some((id, runtime)) = identify(component, around) else { continue };
            let pod_uid = pod_uid(component).or_else(|| outwards.find_map(pod_uid));
            let runtime = runtime.or_else(|| pod_uid.is_some().then_some(Runtime::Containerd));
            return Some(Self { id, runtime, pod_uid, user: user_of(path) });
        }
        None
    }
}

/// The components beside one.
#[derive(Clone, Copy)]
struct Around<'p> {
    inner: Option<&'p [u8]>,
    parent: Option<&'p [u8]>,
    above: Option<&'p [u8]>,
}

fn identify(component: &[u8], around: Around<'_>) -> Option<(Vec<u8>, Option<Runtime>)> {
    let parent = around.parent;
    if parent == Some(b"kata_overhead") {
        return None;
    }
    if is_container_id(component) || is_fargate_id(component) {
        return Some((component.to_vec(), runtime_of_parent(parent)));
    }
    if let Some(runtime) = runtime_of_names(component, around) {
        let id = component.strip_suffix(b".scope").unwrap_or(component);
        return Some((id.to_vec(), Some(runtime)));
    }
    if let Some(name) = component.strip_prefix(b"lxc.payload.") {
        return Some((name.to_vec(), Some(Runtime::Lxc)));
    }
    if matches!(parent, Some(b"lxc" | b"lxc.payload")) {
        return Some((component.to_vec(), Some(Runtime::Lxc)));
    }
    // As `machinectl start` does.
    let service = component.strip_prefix(b"systemd-nspawn@").and_then(|name| name.strip_suffix(b".service"));
    // Where systemd-nspawn is itself.
    let is_beside = around.inner == Some(b"supervisor");
    if let Some(escaped) = service {
        return (!is_beside).then(|| (unescape_unit(escaped), Some(Runtime::SystemdNspawn)));
    }
    let scope = component.strip_suffix(b".scope").unwrap_or(component);
    if scope.len() != component.len()
        && let Some(escaped) = scope.strip_prefix(b"machine-")
    {
        let name = unescape_unit(escaped);
        // libvirt registers virtual machines in the same place, and containers of its own.
        let is_virtual = name.starts_with(b"qemu-");
        let runtime = if name.starts_with(b"lxc-") { Runtime::Lxc } else { Runtime::SystemdNspawn };
        return (!is_virtual && !is_beside).then_some((name, Some(runtime)));
    }
    // What is run without an engine is called as its user wants.
    for (prefix, runtime) in [(&b"runc-"[..], Runtime::Runc), (b"crun-", Runtime::Crun)] {
        if scope.len() != component.len()
            && let Some(name) = scope.strip_prefix(prefix)
        {
            return Some((unescape_unit(name), Some(runtime)));
        }
    }
    // `NAME-ID`, or `SLICE:NAME:ID` where the runtime and the kubelet disagree about the driver.
    let at = scope.iter().rposition(|&byte| byte == b'-' || byte == b':')?;
    let (before, id) = (scope.get(..at)?, scope.get(at + 1..)?);
    let name = before.rsplit(|&byte| byte == b':').next()?;
    let runtime = match name {
        b"docker" => Runtime::Docker,
        b"cri-containerd" | b"nerdctl" => Runtime::Containerd,
        b"crio" => Runtime::CriO,
        b"libpod" | b"libpod-payload" => Runtime::Podman,
        _ => return None,
    };
    let is_id = is_container_id(id) || runtime == Runtime::Docker && is_buildkit_id(id);
    is_id.then(|| (id.to_vec(), Some(runtime)))
}

/// By the names around alone: these call containers as they like.
fn runtime_of_names(component: &[u8], around: Around<'_>) -> Option<Runtime> {
    let Around { parent, above, .. } = around;
    match (above, parent?) {
        (None, b"default") => Some(Runtime::Containerd),
        (_, b"buildkit") if is_buildkit_id(component) => Some(Runtime::Buildkit),
        (_, b"garden") if !matches!(component, b"good" | b"bad" | b"init") => Some(Runtime::Garden),
        (Some(b"garden"), b"good" | b"bad") => Some(Runtime::Garden),
        (_, b"mesos") if is_uuid(component) => Some(Runtime::Mesos),
        (Some(b"nomad.slice"), b"share.slice" | b"reserve.slice") => is_nomad(component),
        (_, b"nomad") | (Some(b"nomad"), b"share" | b"reserve") => is_nomad(component),
        _ => None,
    }
}

/// `ALLOCATION.TASK`, maybe of a unit.
fn is_nomad(component: &[u8]) -> Option<Runtime> {
    let (allocation, task) = component.split_at_checked(36)?;
    (is_uuid(allocation) && task.starts_with(b".")).then_some(Runtime::Nomad)
}

fn is_uuid(text: &[u8]) -> bool {
    text.len() == 36
        && text.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// 25 letters and digits.
fn is_buildkit_id(text: &[u8]) -> bool {
    text.len() == 25 && text.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

fn runtime_of_parent(parent: Option<&[u8]>) -> Option<Runtime> {
    match parent? {
        // `moby` is Docker's namespace in containerd.
        b"docker" | b"actions_job" | b"moby" => Some(Runtime::Docker),
        // containerd's namespaces: for `ctr` and nerdctl, for Kubernetes.
        b"default" | b"k8s.io" => Some(Runtime::Containerd),
        // A pod's.
        b"libpod_parent" => Some(Runtime::Podman),
        _ => None,
    }
}

/// `user@1000.service`.
fn user_of(path: &[u8]) -> Option<u32> {
    let number = |component: &[u8]| {
        let digits = component.strip_prefix(b"user@")?.strip_suffix(b".service")?;
        std::str::from_utf8(digits).ok()?.parse().ok()
    };
    path.split(|&byte| byte == b'/').find_map(number)
}

fn is_container_id(text: &[u8]) -> bool {
    text.len() == 64 && text.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// `TASK-NUMBER`, as ECS names containers on Fargate: 32 hex digits and decimal ones.
fn is_fargate_id(text: &[u8]) -> bool {
    let Some((task, number)) = text.split_at_checked(32) else { return false };
    let Some((b'-', number)) = number.split_first() else { return false };
    task.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        && !number.is_empty()
        && number.iter().all(u8::is_ascii_digit)
}

/// `podUID`, or `...-podU_I_D.slice` with whatever follows.
fn pod_uid(component: &[u8]) -> Option<Vec<u8>> {
    let unit = component.split(|&byte| byte == b':').next()?;
    let text = match unit.strip_suffix(b".slice") {
        Some(slice) => slice.rsplit(|&byte| byte == b'-').next()?,
        None => unit,
    };
    let uid: Vec<u8> =
        text.strip_prefix(b"pod")?.iter().map(|&byte| if byte == b'_' { b'-' } else { byte }).collect();
    let plausible = matches!(uid.len(), 32 | 36) && uid.iter().all(|&b| b.is_ascii_hexdigit() || b == b'-');
    plausible.then_some(uid)
}

/// Undoes systemd's `\xNN`.
fn unescape_unit(escaped: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some((&byte, tail)) = rest.split_first() {
        if byte == b'\\'
            && let Some((&[b'x', high, low], after)) = tail.split_first_chunk::<3>()
            && let (Some(high), Some(low)) = (hex_digit(high), hex_digit(low))
        {
            out.push(high << 4 | low);
            rest = after;
        } else {
            out.push(byte);
            rest = tail;
        }
    }
    out
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "5694f82f44168cc048e014ae14d1b0c8ef673bec49f329dc169911ea638f63c2";
    const B: &str = "84e9ffffe97fea4c5a0f01d401611cbafbf7e559fc6190ed74abfc2b25e889d4";
    const POD: &str = "eb052b63-ea96-4728-ab4a-64ab3babccd7";

    /// Path, id, runtime, pod. `<A>`, `<B>` stand for ids, `<P>` and `<_>` for a pod's uid and its unit form.
    const CASES: &str = r"
        /system.slice/docker-<A>.scope | <A> docker
        /docker/<A> | <A> docker
        /docker/<A>/ns | <A> docker
        /user.slice/user-1000.slice/user@1000.service/user.slice/docker-<A>.scope | <A> docker
        /kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod<_>.slice/docker-<A>.scope | <A> docker <P>
        /kubepods/besteffort/pod<P>/<A> | <A> containerd <P>
        /kubepods/pod<P>/<A> | <A> containerd <P>
        /kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod<_>.slice/cri-containerd-<A>.scope | <A> containerd <P>
        /kubepods-besteffort-pod<_>.slice:cri-containerd:<A> | <A> containerd <P>
        /system.slice/containerd.service/kubepods-besteffort-pod<_>.slice:cri-containerd:<A> | <A> containerd <P>
        /default/<A> | <A> containerd
        /system.slice/nerdctl-<A>.scope | <A> containerd
        /kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod<_>.slice/crio-<A>.scope | <A> cri-o <P>
        /kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod<_>.slice/crio-<A>.scope/container | <A> cri-o <P>
        /kubepods/pod<P>/crio-<A> | <A> cri-o <P>
        /kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod<_>.slice/crio-conmon-<A>.scope |
        /machine.slice/libpod-<A>.scope | <A> podman
        /machine.slice/libpod-<A>.scope/container | <A> podman
        /machine.slice/libpod-conmon-<A>.scope |
        /user.slice/user-1000.slice/user@1000.service/user.slice/libpod-<A>.scope/container | <A> podman
        /libpod_parent/libpod-<A> | <A> podman
        /libpod_parent/conmon |
        /system.slice/docker-<A>.scope/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod<_>.slice/cri-containerd-<B>.scope | <B> containerd <P>
        /system.slice/docker-<A>.scope/system.slice/containerd.service | <A> docker
        /system.slice/docker-<A>.scope/kubelet/kubepods/burstable/pod09a70ae9ccc491e651e5c773579b3490/<B> | <B> containerd 09a70ae9ccc491e651e5c773579b3490
        /lxc/web01 | web01 lxc
        /lxc.payload.web01/system.slice/ssh.service | web01 lxc
        /lxc.payload/web01 | web01 lxc
        /lxc.monitor.web01 |
        /machine.slice/machine-deb\x2d12.scope/payload/init.scope | deb-12 systemd-nspawn
        /machine.slice/machine-qemu\x2d1\x2dvm.scope |
        /init.scope |
        /user.slice/user-1000.slice/session-3.scope |
        /system.slice/docker.service |
        / |
        /actions_job/<A> | <A> docker
        /../../docker/<A> | <A> docker
        /system.slice/docker-abc.scope |
        /ecs/task/<A> | <A>
        /ecs/09a70ae9ccc491e651e5c773579b3490/09a70ae9ccc491e651e5c773579b3490-4075324421 | 09a70ae9ccc491e651e5c773579b3490-4075324421
        /ecs/09a70ae9ccc491e651e5c773579b3490/09a70ae9ccc491e651e5c773579b3490- |
        /machine.slice/systemd-nspawn@deb\x2d12.service/payload/init.scope | deb-12 systemd-nspawn
        /machine.slice/machine-deb.scope/supervisor |
        /machine.slice/systemd-nspawn@deb.service/supervisor |
        /machine.slice/machine-lxc\x2d7\x2dweb.scope | lxc-7-web lxc
        /docker/<A>/docker/<B> | <B> docker
        /system.slice/docker-<A>.scope/init.scope | <A> docker
        /system.slice:docker:<A> | <A> docker
        /user.slice/user-1000.slice/user@1000.service/app.slice/docker.service/docker/<A> | <A> docker
        /docker/buildkit/k4x0v3c2r9d8m1q7w5t6y0u2i | k4x0v3c2r9d8m1q7w5t6y0u2i buildkit
        /system.slice:docker:k4x0v3c2r9d8m1q7w5t6y0u2i | k4x0v3c2r9d8m1q7w5t6y0u2i docker
        /moby/<A> | <A> docker
        /k8s.io/<A> | <A> containerd
        /default/redis | redis containerd
        /user.slice/default/redis |
        /user.slice/user-1000.slice/user@1000.service/user.slice/nerdctl-<A>.scope | <A> containerd
        /kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod<_>.slice/cri-containerd-<A>.scope | <A> containerd <P>
        /kubepods.slice/kubepods-pod<_>.slice/cri-containerd-<A>.scope | <A> containerd <P>
        /system.slice/k3s.service/kubepods/burstable/pod<P>/<A> | <A> containerd <P>
        /docker/<A>/kubepods/besteffort/pod<P>/<B> | <B> containerd <P>
        /kubepods/besteffort/pod<P>/<A>/docker/<B> | <B> docker <P>
        /kubepods/burstable/pod<P>/crio-conmon-<A> |
        /machine.slice/machine-libpod_pod_<B>.slice/libpod-<A>.scope/container | <A> podman
        /machine.slice/machine-libpod_pod_<B>.slice |
        /libpod_parent/<B>/libpod-<A> | <A> podman
        /system.slice/web.service/libpod-payload-<A> | <A> podman
        /system.slice/web.service/supervisor |
        /user.slice/user-1000.slice/user@1000.service/user.slice/libpod-<A>.scope/container/init.scope | <A> podman
        /system.slice/runc-my\x2dbox.scope | my-box runc
        /user.slice/user-1000.slice/user@1000.service/user.slice/crun-box.scope | box crun
        /lxc/101/ns/system.slice/cron.service | 101 lxc
        /lxc/web01/lxc/inner | inner lxc
        /lxc.payload.web01/lxc.payload.inner/init.scope | inner lxc
        /lxc.payload.project_web01 | project_web01 lxc
        /lxc.monitor/web01 |
        /lxc.payload.web01/docker/<A> | <A> docker
        /garden/3f0a9c1e-9b6d-4c55-6d5c-1f0b | 3f0a9c1e-9b6d-4c55-6d5c-1f0b garden
        /system.slice/garden.service/garden/good/3f0a9c1e-9b6d-4c55-6d5c-1f0b | 3f0a9c1e-9b6d-4c55-6d5c-1f0b garden
        /ecs/cluster/09a70ae9ccc491e651e5c773579b3490/<A> | <A>
        /ecstasks.slice/ecstasks-09a70ae9ccc491e651e5c773579b3490.slice/docker-<A>.scope | <A> docker
        /nomad.slice/share.slice/<P>.web.scope | <P>.web nomad
        /nomad/<P>.web | <P>.web nomad
        /nomad.slice/share.slice |
        /mesos/<P> | <P> mesos
        /mesos/<P>/mesos/<P> | <P> mesos
        /kata_overhead/<A> |
        /firecracker/box |
        /user.slice/user-1000.slice/user@1000.service/app.slice/app-flatpak-org.x-7.scope |
        /user.slice/user-1000.slice/user@1000.service/app.slice/snap.x.y-<P>.scope |
    ";

    #[test]
    fn every_runtime_layout_names_its_container() {
        let underscored = POD.replace('-', "_");
        let mut checked = 0;
        for line in CASES.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let line =
                line.replace("<A>", A).replace("<B>", B).replace("<P>", POD).replace("<_>", &underscored);
            let (path, wanted) = line.split_once(" |").unwrap();
            let got = Container::from_cgroup(path.as_bytes());
            let shown = got.map_or_else(String::new, |container| {
                let runtime = container.runtime.map_or("", Runtime::name);
                let pod = String::from_utf8(container.pod_uid.unwrap_or_default()).unwrap();
                format!("{} {runtime} {pod}", String::from_utf8(container.id).unwrap())
            });
            assert_eq!(shown.trim(), wanted.trim(), "{path}");
            checked += 1;
        }
        assert!(checked >= 35, "{checked}");
    }
}
