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
//! Missed: images of nerdctl's containers, which containerd keeps in its database; containerd without root, whose files
//! lie in a mount namespace of its own; a user's storage that is configured to be elsewhere.

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
    if *runtime == Some(Runtime::Lxc.name()) || *runtime == Some(Runtime::SystemdNspawn.name()) {
        found.name = Some(id.clone());
    }
    found.image_tag = found.image_name.as_deref().and_then(tag_of).map(str::to_owned);
    (found != Details::default()).then_some(found)
}

/// A user's home, held.
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
                if let Some(name) = annotations.get("nerdctl/name").and_then(Value::as_str) {
                    found.name = short(name);
                }
                kubernetes(&annotations, found);
                return;
            }
        }
    }
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
mod tests {
    use super::*;

    const ID: &str = "5694f82f44168cc048e014ae14d1b0c8ef673bec49f329dc169911ea638f63c2";

    fn written(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path.replace("ID", ID));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text.replace("ID", ID)).unwrap();
        }
        root
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    fn read(root: &Path, id: &str, runtime: Option<&'static str>) -> Option<Details> {
        super::read(root, &Which { id: id.to_owned(), runtime, user: None })
    }

    #[test]
    fn docker_tells_name_image_and_pod() {
        let text = r#"{"ID":"ID","Name":"/web","Image":"sha256:ab","State":{},"Config":{"Image":"nginx:1.27",
            "Labels":{"io.kubernetes.pod.name":"front-1","io.kubernetes.pod.namespace":"shop","n":1}}}"#;
        let root = written(&[("var/lib/docker/containers/ID/config.v2.json", text)]);
        let wanted = Details {
            name: some("web"),
            image_name: some("nginx:1.27"),
            image_tag: some("1.27"),
            image_hash: some("sha256:ab"),
            pod_name: some("front-1"),
            pod_namespace: some("shop"),
        };
        assert_eq!(read(root.path(), ID, Some("docker")), Some(wanted.clone()));
        // A cgroup path need not say who made it.
        assert_eq!(read(root.path(), ID, None), Some(wanted));
        assert_eq!(read(root.path(), ID, Some("podman")), None);
        assert_eq!(read(root.path(), &"0".repeat(64), Some("docker")), None);
    }

    #[test]
    fn dockers_data_root_is_where_its_configuration_says() {
        let root = written(&[
            ("etc/docker/daemon.json", r#"{"data-root":"/srv/docker"}"#),
            ("srv/docker/containers/ID/config.v2.json", r#"{"Name":"/elsewhere"}"#),
        ]);
        assert_eq!(read(root.path(), ID, Some("docker")).unwrap().name, some("elsewhere"));
    }

    #[test]
    fn containerd_tells_what_kubernetes_asked_for() {
        let text = r#"{"ociVersion":"1.1.0","annotations":{"io.kubernetes.cri.container-name":"app",
            "io.kubernetes.cri.image-name":"registry:5000/team/app@sha256:cd",
            "io.kubernetes.cri.sandbox-name":"app-0","io.kubernetes.cri.sandbox-namespace":"prod"}}"#;
        for state in BUNDLES {
            let file = format!("{state}/io.containerd.runtime.v2.task/k8s.io/ID/config.json");
            let root = written(&[(&file, text)]);
            let found = read(root.path(), ID, Some("containerd")).unwrap();
            assert_eq!((found.name, found.image_tag), (some("app"), None));
            assert_eq!((found.pod_name, found.pod_namespace), (some("app-0"), some("prod")));
        }
    }

    #[test]
    fn podman_and_cri_o_tell_name_and_image() {
        let podman = r#"[{"id":"00","names":["other"]},{"id":"ID","names":["db"],"image":"ef","metadata":
            "{\"image-name\":\"docker.io/library/postgres:17\",\"name\":\"db\"}"}]"#;
        let root = written(&[("var/lib/containers/storage/overlay-containers/containers.json", podman)]);
        let found = read(root.path(), ID, Some("podman")).unwrap();
        assert_eq!((found.name, found.image_hash), (some("db"), some("sha256:ef")));
        assert_eq!(found.image_tag, some("17"));

        let bundle = r#"{"annotations":{"io.kubernetes.container.name":"api","io.kubernetes.pod.name":"api-7",
            "io.kubernetes.pod.namespace":"default","io.kubernetes.cri-o.ImageName":"quay.io/a/api:2"}}"#;
        let root = written(&[("run/containers/storage/overlay-containers/ID/userdata/config.json", bundle)]);
        let found = read(root.path(), ID, Some("cri-o")).unwrap();
        assert_eq!((found.name, found.image_name), (some("api"), some("quay.io/a/api:2")));
        assert_eq!(found.pod_name, some("api-7"));
    }

    #[test]
    fn nerdctl_tells_the_name() {
        let text =
            r#"{"annotations":{"nerdctl/name":"web","nerdctl/namespace":"default","nerdctl/hostname":"56"}}"#;
        let root = written(&[("run/containerd/io.containerd.runtime.v2.task/default/ID/config.json", text)]);
        let found = read(root.path(), ID, Some("containerd")).unwrap();
        assert_eq!(found, Details { name: some("web"), ..Details::default() });
    }

    #[test]
    fn containers_that_podman_removes_at_their_end_are_told_too() {
        let text =
            r#"[{"id":"ID","names":["once"],"image":"ef","metadata":"{\"image-name\":\"alpine:3\"}"}]"#;
        let file = "var/lib/containers/storage/overlay-containers/volatile-containers.json";
        let stays = ("var/lib/containers/storage/overlay-containers/containers.json", r#"[{"id":"00"}]"#);
        let found = read(written(&[stays, (file, text)]).path(), ID, Some("podman")).unwrap();
        assert_eq!((found.name, found.image_name), (some("once"), some("alpine:3")));
    }

    #[test]
    fn what_a_user_runs_is_told_by_that_users_own_files() {
        let passwd = (
            "etc/passwd",
            "root:x:0:0::/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\nn:x:7:7::/:/n\n",
        );
        let podman = r#"[{"id":"ID","names":["mine"],"image":"ef","metadata":"{\"image-name\":\"a:1\"}"}]"#;
        let docker = r#"{"Name":"/mine","Config":{"Image":"a:1"}}"#;
        let share = "home/alice/.local/share";
        for (file, text, runtime) in [
            (format!("{share}/containers/storage/overlay-containers/containers.json"), podman, "podman"),
            (format!("{share}/containers/storage/vfs-containers/volatile-containers.json"), podman, "podman"),
            (format!("{share}/docker/containers/ID/config.v2.json"), docker, "docker"),
        ] {
            let root = written(&[passwd, (&file, text)]);
            let told =
                |user| super::read(root.path(), &Which { id: ID.to_owned(), runtime: Some(runtime), user });
            let found = told(Some(1000)).unwrap();
            assert_eq!((found.name, found.image_tag), (some("mine"), some("1")), "{file}");
            for other in [None, Some(0), Some(7), Some(1001)] {
                assert_eq!(told(other), None, "{file} {other:?}");
            }
            // Neither a link nor a pipe is read.
            let path = root.path().join(file.replace("ID", ID));
            let away = root.path().join("away");
            fs::rename(&path, &away).unwrap();
            std::os::unix::fs::symlink(&away, &path).unwrap();
            assert_eq!(told(Some(1000)), None, "{file}");
            fs::remove_file(&path).unwrap();
            rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
            assert_eq!(told(Some(1000)), None, "{file}");
        }
    }

    #[test]
    fn what_makes_no_sense_tells_nothing() {
        let file = "var/lib/docker/containers/ID/config.v2.json";
        let long = format!(r#"{{"Name":"/{}"}}"#, "n".repeat(TEXT_BYTES_MAX + 1));
        for text in ["", "{", "[]", "{}", r#"{"Name":7}"#, &long, &"[".repeat(100_000)] {
            let root = written(&[(file, text)]);
            assert_eq!(read(root.path(), ID, Some("docker")), None, "{}", text.len());
        }
        let root = written(&[("other", "")]);
        let pipe = root.path().join(file.replace("ID", ID));
        fs::create_dir_all(pipe.parent().unwrap()).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        assert_eq!(read(root.path(), ID, Some("docker")), None);
    }

    #[test]
    fn tags_are_told_from_ports_and_digests() {
        let cases = [
            ("nginx:1.27", Some("1.27")),
            ("nginx", None),
            ("registry:5000/nginx", None),
            ("registry:5000/nginx:a@sha256:0", Some("a")),
            ("sha256:0123", None),
            ("nginx:", None),
        ];
        for (image, tag) in cases {
            assert_eq!(tag_of(image), tag, "{image}");
        }
    }
}
