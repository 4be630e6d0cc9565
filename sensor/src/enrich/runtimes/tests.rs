//! Files of runtimes, as they write them and as an attacker would.

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
fn containerd_without_root_tells_what_is_in_its_users_folder() {
    let text = r#"{"annotations":{"nerdctl/name":"web"}}"#;
    let file = "run/user/1000/containerd/io.containerd.runtime.v2.task/default/ID/config.json";
    let root = written(&[(file, text)]);
    let told = |user| {
        super::read(root.path(), &Which { id: ID.to_owned(), runtime: Some("containerd"), user })
            .and_then(|found| found.name)
    };
    assert_eq!((told(Some(1000)), told(Some(1001)), told(None)), (some("web"), None, None));
    // Neither the bundle nor what leads to it may be a link.
    for part in [file, "run/user/1000/containerd"] {
        let path = root.path().join(part.replace("ID", ID));
        let away = root.path().join("away");
        fs::rename(&path, &away).unwrap();
        std::os::unix::fs::symlink(&away, &path).unwrap();
        assert_eq!(told(Some(1000)), None, "{part}");
        fs::remove_file(&path).unwrap();
        fs::rename(&away, &path).unwrap();
    }
    assert_eq!(told(Some(1000)), some("web"));
}

#[test]
fn containers_that_podman_removes_at_their_end_are_told_too() {
    let text = r#"[{"id":"ID","names":["once"],"image":"ef","metadata":"{\"image-name\":\"alpine:3\"}"}]"#;
    let file = "var/lib/containers/storage/overlay-containers/volatile-containers.json";
    let stays = ("var/lib/containers/storage/overlay-containers/containers.json", r#"[{"id":"00"}]"#);
    let found = read(written(&[stays, (file, text)]).path(), ID, Some("podman")).unwrap();
    assert_eq!((found.name, found.image_name), (some("once"), some("alpine:3")));
}

#[test]
fn what_a_user_runs_is_told_by_that_users_own_files() {
    let passwd =
        ("etc/passwd", "root:x:0:0::/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\nn:x:7:7::/:/n\n");
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
