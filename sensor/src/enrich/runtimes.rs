//! What container runtimes keep on disk about a container: its name, its image, its pod. No socket is asked.
//!
//! | runtime | file | holds |
//! |---|---|---|
//! | Docker | `containers/ID/config.v2.json` of its data root | name, image, the pod by labels |
//! | containerd | `config.json` of the bundle, below `/run` | what CRI put into the annotations |
//! | nerdctl | the same, of any namespace | the name, by an annotation |
//! | Podman, CRI-O | `DRIVER-containers/containers.json` of the storage | name, image |
//! | Podman, with `--rm` | `volatile-containers.json` beside it | the same |
//! | CRI-O | `config.json` of the bundle, in the same storage | image and pod by annotations |
//!
//! What a user runs without root lies in that user's home, and says what that user wants it to say. It is read as what
//! an attacker wrote: no link is followed, and no file system asked that can make its reader wait.
//!
//! containerd without root has mounts of its own, which lead to folders of its user that everybody sees.
//!
//! Missed: images of nerdctl's containers, which containerd keeps in its database; a user's storage that is configured to
//! be elsewhere.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::container::Runtime;
use super::names;
use crate::open;

/// Bytes that are read of one file; some 2,000 containers of Podman's.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// Bytes of a name.
const TEXT_BYTES_MAX: usize = 1024;
/// Namespaces of containerd's that are looked into.
const NAMESPACES_MAX: usize = 32;

/// What runtimes tell about a container beside its id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Details {
    pub(super) name: Option<String>,
    /// With its tag, as it was asked for.
    pub(super) image_name: Option<String>,
    pub(super) image_tag: Option<String>,
    pub(super) image_hash: Option<String>,
    pub(super) pod_name: Option<String>,
    pub(super) pod_namespace: Option<String>,
}

/// Whose files tell of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Which {
    pub(super) id: String,
    /// What made it.
    pub(super) runtime: Option<&'static str>,
    /// The user without whose root it was made.
    pub(super) user: Option<u32>,
}

/// Reads what there is, below the root of the host.
pub(super) fn read(root: &Path, which: &Which) -> Option<Details> {
    let Which { id, runtime, user } = which;
    let made_by = |which: Runtime| runtime.is_none_or(|runtime| runtime == which.name());
    let mut found = Details::default();
    if made_by(Runtime::Docker) {
        docker(&docker_data(root), id, &mut found);
    }
    if made_by(Runtime::Containerd) {
        containerd(root, id, &mut found);
    }
    if made_by(Runtime::Podman) || made_by(Runtime::CriO) {
        STORAGES.iter().for_each(|storage| storage_of(&Place::Host(root.join(storage)), id, &mut found));
    }
    if found == Details::default()
        && let Some(home) = user.and_then(|user| Home::of(root, user))
    {
        if made_by(Runtime::Docker) {
            docker(&Place::Home(&home, ".local/share/docker".into()), id, &mut found);
        }
        if made_by(Runtime::Podman) {
            storage_of(&Place::Home(&home, ".local/share/containers/storage".into()), id, &mut found);
        }
    }
    if found == Details::default()
        && made_by(Runtime::Containerd)
        && let Some(folder) = user.and_then(|user| Home::at_runtime(root, user))
    {
        containerd_of(&folder, id, &mut found);
    }
    if *runtime == Some(Runtime::Lxc.name()) || *runtime == Some(Runtime::SystemdNspawn.name()) {
        found.name = Some(id.clone());
    }
    found.image_tag = found.image_name.as_deref().and_then(tag_of).map(str::to_owned);
    (found != Details::default()).then_some(found)
}

/// A user's home, held, or the folder that a user has while logged in.
struct Home {
    root: OwnedFd,
    /// Below the root of the host.
    path: PathBuf,
}

impl Home {
    fn of(root: &Path, user: u32) -> Option<Self> {
        let path = names::home(root, user)?;
        let path = path.strip_prefix("/").ok()?.to_owned();
        (!path.as_os_str().is_empty()).then_some(())?;
        Some(Self { root: open::root(root).ok()?, path })
    }

    fn at_runtime(root: &Path, user: u32) -> Option<Self> {
        Some(Self { root: open::root(root).ok()?, path: PathBuf::from(format!("run/user/{user}")) })
    }
}

/// A folder of a runtime's.
enum Place<'h> {
    /// Of the host's root.
    Host(PathBuf),
    /// In a user's home.
    Home(&'h Home, PathBuf),
}

impl Place<'_> {
    fn json<T: for<'de> Deserialize<'de>>(&self, file: &str) -> Option<T> {
        match self {
            Self::Host(folder) => json(&folder.join(file)),
            Self::Home(home, folder) => {
                let path = home.path.join(folder).join(file);
                let held = open::hold(&home.root, path.as_os_str().as_bytes()).ok()?;
                parsed(open::held_regular(&held).ok()?.file)
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerContainer {
    name: Option<String>,
    image: Option<String>,
    config: Option<DockerConfig>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerConfig {
    image: Option<String>,
    labels: Option<Map<String, Value>>,
}

#[derive(Deserialize)]
struct DockerDaemon {
    #[serde(rename = "data-root")]
    data_root: Option<PathBuf>,
}

fn docker_data(root: &Path) -> Place<'static> {
    let configured = json::<DockerDaemon>(&root.join("etc/docker/daemon.json")).and_then(|it| it.data_root);
    let data = configured.unwrap_or_else(|| PathBuf::from("/var/lib/docker"));
    Place::Host(root.join(data.strip_prefix("/").unwrap_or(&data)))
}

fn docker(data: &Place<'_>, id: &str, found: &mut Details) {
    let file = format!("containers/{id}/config.v2.json");
    let Some(container) = data.json::<DockerContainer>(&file) else { return };
    found.name = container.name.and_then(|name| short(name.trim_start_matches('/')));
    found.image_hash = container.image.and_then(|hash| short(&hash));
    let Some(config) = container.config else { return };
    found.image_name = config.image.and_then(|image| short(&image));
    if let Some(labels) = &config.labels {
        kubernetes(labels, found);
    }
}

/// Where bundles lie: containerd of its own, of k3s, of MicroK8s.
const BUNDLES: [&str; 3] =
    ["run/containerd", "run/k3s/containerd", "var/snap/microk8s/common/run/containerd"];

fn containerd(root: &Path, id: &str, found: &mut Details) {
    for state in BUNDLES {
        let tasks = root.join(state).join("io.containerd.runtime.v2.task");
        let Ok(namespaces) = fs::read_dir(&tasks) else { continue };
        for namespace in namespaces.filter_map(Result::ok).take(NAMESPACES_MAX) {
            let bundle = namespace.path().join(id).join("config.json");
            if let Some(annotations) = annotations(&bundle) {
                return annotated(&annotations, found);
            }
        }
    }
}

/// The same of a user's own; no link is followed.
fn containerd_of(folder: &Home, id: &str, found: &mut Details) {
    const TASKS: &str = "containerd/io.containerd.runtime.v2.task";
    let tasks = folder.path.join(TASKS);
    let listed = open::directory(&folder.root, tasks.as_os_str().as_bytes()).ok();
    let Some(namespaces) = listed.and_then(|listed| rustix::fs::Dir::read_from(&listed).ok()) else { return };
    let named =
        namespaces.filter_map(Result::ok).filter(|entry| !entry.file_name().to_bytes().starts_with(b"."));
    for namespace in named.take(NAMESPACES_MAX) {
        let namespace = OsStr::from_bytes(namespace.file_name().to_bytes());
        let bundle = Place::Home(folder, Path::new(TASKS).join(namespace).join(id));
        if let Some(bundle) = bundle.json::<Bundle>("config.json") {
            return annotated(&bundle.annotations.unwrap_or_default(), found);
        }
    }
}

fn annotated(annotations: &Map<String, Value>, found: &mut Details) {
    if let Some(name) = annotations.get("nerdctl/name").and_then(Value::as_str) {
        found.name = short(name);
    }
    kubernetes(annotations, found);
}

/// Podman's entry, or CRI-O's.
#[derive(Deserialize)]
struct StoredContainer {
    id: String,
    #[serde(default)]
    names: Vec<String>,
    image: Option<String>,
    /// JSON in a text.
    metadata: Option<String>,
}

#[derive(Deserialize)]
struct StoredMetadata {
    #[serde(rename = "image-name")]
    image_name: Option<String>,
    /// What the pod calls it; Podman has none.
    #[serde(rename = "metadata-name")]
    metadata_name: Option<String>,
}

/// Where `containers/storage` keeps its own: what lasts, and what goes with the boot.
const STORAGES: [&str; 2] = ["var/lib/containers/storage", "run/containers/storage"];
/// How it stores layers, which its folders are named after.
const DRIVERS: [&str; 4] = ["overlay", "vfs", "btrfs", "zfs"];
/// Those that stay, and those that go with the program they were made for.
const LISTS: [&str; 2] = ["containers.json", "volatile-containers.json"];

fn storage_of(storage: &Place<'_>, id: &str, found: &mut Details) {
    for driver in DRIVERS {
        let containers = format!("{driver}-containers");
        let list = |name: &str| storage.json::<Vec<StoredContainer>>(&format!("{containers}/{name}"));
        let mut listed = LISTS.iter().filter_map(|name| list(name)).flatten();
        if let Some(stored) = listed.find(|stored| stored.id == id) {
            let metadata =
                stored.metadata.and_then(|text| serde_json::from_str::<StoredMetadata>(&text).ok());
            let (image, name) =
                metadata.map_or((None, None), |metadata| (metadata.image_name, metadata.metadata_name));
            let name = name.filter(|name| !name.is_empty()).or_else(|| stored.names.into_iter().next());
            found.name = name.and_then(|name| short(&name));
            found.image_name = image.and_then(|image| short(&image));
            found.image_hash = stored.image.and_then(|hash| short(&format!("sha256:{hash}")));
        }
        if let Some(bundle) = storage.json::<Bundle>(&format!("{containers}/{id}/userdata/config.json")) {
            kubernetes(&bundle.annotations.unwrap_or_default(), found);
        }
    }
}

/// What CRI runtimes write down about the pod, in labels or annotations; the first that is there counts.
fn kubernetes(from: &Map<String, Value>, found: &mut Details) {
    let get = |keys: &[&str]| keys.iter().find_map(|key| from.get(*key)?.as_str()).and_then(short);
    let put = |place: &mut Option<String>, keys: &[&str]| {
        if let Some(value) = get(keys) {
            *place = Some(value);
        }
    };
    put(&mut found.name, &["io.kubernetes.container.name", "io.kubernetes.cri.container-name"]);
    put(&mut found.image_name, &["io.kubernetes.cri.image-name", "io.kubernetes.cri-o.ImageName"]);
    put(&mut found.pod_name, &["io.kubernetes.pod.name", "io.kubernetes.cri.sandbox-name"]);
    put(&mut found.pod_namespace, &["io.kubernetes.pod.namespace", "io.kubernetes.cri.sandbox-namespace"]);
}

#[derive(Deserialize)]
struct Bundle {
    annotations: Option<Map<String, Value>>,
}

/// The annotations of an OCI bundle; empty where it has none.
fn annotations(file: &Path) -> Option<Map<String, Value>> {
    Some(json::<Bundle>(file)?.annotations.unwrap_or_default())
}

fn json<T: for<'de> Deserialize<'de>>(file: &Path) -> Option<T> {
    // Whoever may write there may have put a pipe.
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::CLOEXEC;
    parsed(File::from(rustix::fs::open(file, flags, rustix::fs::Mode::empty()).ok()?))
}

fn parsed<T: for<'de> Deserialize<'de>>(opened: File) -> Option<T> {
    if !opened.metadata().ok()?.is_file() {
        return None;
    }
    let mut text = Vec::new();
    opened.take(FILE_BYTES_MAX).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

fn short(text: &str) -> Option<String> {
    (!text.is_empty() && text.len() <= TEXT_BYTES_MAX).then(|| text.to_owned())
}

/// `1.27` of `docker.io/library/nginx:1.27@sha256:…`; a registry's port is no tag.
fn tag_of(image: &str) -> Option<&str> {
    let reference = image.split('@').next()?;
    let (_, tag) = reference.rsplit('/').next()?.rsplit_once(':')?;
    // `sha256:…` alone is an image without a name.
    (!tag.is_empty() && !reference.starts_with("sha256:")).then_some(tag)
}

#[cfg(test)]
mod tests;
