//! The unit, the recipe of the image and the manifest for Kubernetes ask for the same rights, and mount what is used.

use std::collections::BTreeSet;
use std::fs;

use yaml_rust2::{Yaml, YamlLoader};

use crate::paths;

fn read(path: &str) -> String {
    fs::read_to_string(paths::root().unwrap().join(path)).unwrap()
}

fn manifest() -> Vec<Yaml> {
    YamlLoader::load_from_str(&read("packaging/kubernetes/daemonset.yaml")).unwrap()
}

fn of_kind(kind: &str) -> Yaml {
    manifest().into_iter().find(|part| part["kind"].as_str() == Some(kind)).unwrap()
}

fn pod() -> Yaml {
    of_kind("DaemonSet")["spec"]["template"]["spec"].clone()
}

fn strings(list: &Yaml) -> BTreeSet<String> {
    list.as_vec().unwrap().iter().map(|item| item.as_str().unwrap().to_owned()).collect()
}

fn words(text: &str, from: &str) -> BTreeSet<String> {
    text.split(from).skip(1).map(|rest| rest.split_whitespace().next().unwrap().to_owned()).collect()
}

/// The path in the container, and the node's if it is one.
fn mounts() -> Vec<(String, Option<String>)> {
    let pod = pod();
    let volumes = pod["volumes"].as_vec().unwrap();
    let mounted = pod["containers"][0]["volumeMounts"].as_vec().unwrap().iter().map(|mount| {
        let volume = volumes.iter().find(|volume| volume["name"] == mount["name"]).unwrap();
        let on_node = volume["hostPath"]["path"].as_str().map(str::to_owned);
        (mount["mountPath"].as_str().unwrap().to_owned(), on_node)
    });
    mounted.collect()
}

/// Every key is one that the sensor knows.
fn known(at: &str, table: &toml::Table, defaults: &toml::Table) {
    for (key, value) in table {
        let default = defaults.get(key).unwrap_or_else(|| panic!("{at}{key} is no key"));
        match (value, default) {
            (toml::Value::Table(inner), toml::Value::Table(defaults)) => {
                known(&format!("{at}{key}."), inner, defaults);
            }
            _ => assert_eq!(value.type_str(), default.type_str(), "{at}{key}"),
        }
    }
}

#[test]
fn all_grant_the_same_capabilities() {
    let unit = read("packaging/sensor.service");
    let line = unit.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet=")).unwrap();
    let of_unit: BTreeSet<String> =
        line.split_whitespace().map(|name| name.strip_prefix("CAP_").unwrap().to_owned()).collect();
    assert_eq!(words(&read("packaging/Containerfile"), "--cap-add="), of_unit);
    let security = pod()["containers"][0]["securityContext"].clone();
    assert_eq!(strings(&security["capabilities"]["add"]), of_unit);
    assert_eq!(strings(&security["capabilities"]["drop"]), ["ALL".to_owned()].into());
    assert_eq!(security["privileged"].as_bool(), Some(false));
    for (profile, option) in [("seccompProfile", "seccomp"), ("appArmorProfile", "apparmor")] {
        assert_eq!(security[profile]["type"].as_str(), Some("Unconfined"));
        assert!(read("packaging/Containerfile").contains(&format!("--security-opt={option}=unconfined")));
    }
    assert_eq!(security["readOnlyRootFilesystem"].as_bool(), Some(true));
    assert_eq!(pod()["hostPID"].as_bool(), Some(true));
    // What loading asks for is among them.
    for needed in ["BPF", "PERFMON"] {
        assert!(
            of_unit.contains(needed)
                && read("sensor/src/kernel/host.rs").contains(&format!("\"CAP_{needed}\""))
        );
    }
}

#[test]
fn what_is_written_is_mounted_from_the_node_and_the_rest_is_read_only() {
    let configuration = of_kind("ConfigMap")["data"]["sensor.toml"].as_str().unwrap().to_owned();
    let configuration: toml::Table = configuration.parse().unwrap();
    let of_image: toml::Table = read("packaging/container.toml").parse().unwrap();
    assert_eq!(configuration, of_image, "the image and the manifest configure different things");
    let defaults: toml::Table = read("sensor/src/config/default.toml").parse().unwrap();
    known("", &configuration, &defaults);
    let mounts = mounts();
    let writable = |path: &str| {
        let below =
            |at: &str| path.strip_prefix(at).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        mounts.iter().any(|(at, on_node)| below(at) && on_node.as_deref() == Some(at.as_str()))
    };
    let text = |table: &toml::Table, keys: [&str; 2]| table[keys[0]][keys[1]].as_str().unwrap().to_owned();
    let alerts = configuration["outputs"]["alerts"]["path"].as_str().unwrap().to_owned();
    for path in
        [text(&defaults, ["agent", "state_directory"]), text(&configuration, ["store", "path"]), alerts]
    {
        assert!(writable(&path), "{path} is lost with the container");
    }
    let root = text(&configuration, ["host", "root"]);
    assert!(mounts.contains(&(root.clone(), Some("/".to_owned()))), "{root} is not the node's root");
    for (at, on_node) in &mounts {
        if let Some(on_node) = on_node {
            let mount = format!("--volume={on_node}:{at}");
            assert!(read("packaging/Containerfile").contains(&mount), "the image is run without {mount}");
        }
    }
    let pod = pod();
    let environment = pod["containers"][0]["env"].as_vec().unwrap();
    for variable in environment {
        let said = format!("{}={}", variable["name"].as_str().unwrap(), variable["value"].as_str().unwrap());
        let of_image = read("packaging/Containerfile");
        let line = of_image.lines().find(|line| line.starts_with("ENV ")).unwrap();
        assert!(line.split(' ').any(|word| word == said), "{said}");
    }
    let host = pod["containers"][0]["volumeMounts"]
        .as_vec()
        .unwrap()
        .iter()
        .find(|mount| mount["name"].as_str() == Some("host"));
    assert_eq!(host.unwrap()["readOnly"].as_bool(), Some(true));
}
