//! The other `docker_*` tables: what stands beside containers, images, networks and volumes.

use serde_json::Value;

use super::docker::{ask, asked, id_of, list, number_of, shown, text_of, without_digest};
use super::docker_engine::engine;
use crate::osquery::cell::{Row, row};
use crate::osquery::context::{Context, Trouble};
use crate::osquery::table::{Query, Rows, Table, all, bigint, integer, text};

const CONTAINERS: &str = "/containers/json?all=1";
const IMAGES: &str = "/images/json";
const NETWORKS: &str = "/networks";

/// Rows of each element of a list.
fn each(
    context: &Context,
    table: &str,
    path: &str,
    mut rows_of: impl FnMut(&Value, &mut Vec<Row>),
) -> Result<Rows, Trouble> {
    let mut rows = Vec::new();
    for one in list(context, table, path) {
        context.look()?;
        rows_of(&one, &mut rows);
    }
    all(rows)
}

fn labels(id: Option<String>, value: &Value, rows: &mut Vec<Row>) {
    for (key, label) in value.pointer("/Labels").and_then(Value::as_object).into_iter().flatten() {
        rows.push(row![id.clone(), key.as_str(), label.as_str()]);
    }
}

fn more(context: &Context, kind: &str, id: &str, what: &str) -> Option<Value> {
    ask(context, &format!("/{kind}/{id}/{what}"))
}

/// Rows of each container, with its id as the query has asked for it.
fn each_container(
    context: &Context,
    table: &str,
    query: &Query,
    mut rows_of: impl FnMut(Option<String>, &Value, &mut Vec<Row>),
) -> Result<Rows, Trouble> {
    let asked = asked(query);
    each(context, table, CONTAINERS, |it, rows| rows_of(shown(&asked, id_of(it)), it, rows))
}

pub(super) const CONTAINER_LABELS: Table =
    Table::by_id("docker_container_labels", &[text("id"), text("key"), text("value")], |context, query| {
        each_container(context, "docker_container_labels", query, labels)
    });

pub(super) const CONTAINER_ENVS: Table =
    Table::by_id("docker_container_envs", &[text("id"), text("key"), text("value")], |context, query| {
        each_container(context, "docker_container_envs", query, |id, it, rows| {
            let Some(whole) = id_of(it) else { return };
            let found = more(context, "containers", &whole, "json").unwrap_or_default();
            let all = found.pointer("/Config/Env").and_then(Value::as_array);
            for one in all.into_iter().flatten().filter_map(Value::as_str) {
                let (key, value) = one.split_once('=').unwrap_or((one, ""));
                rows.push(row![id.clone(), key, value]);
            }
        })
    });

pub(super) const CONTAINER_PORTS: Table = Table::by_id(
    "docker_container_ports",
    &[text("id"), text("type"), integer("port"), text("host_ip"), integer("host_port")],
    |context, query| {
        each_container(context, "docker_container_ports", query, |id, it, rows| {
            for port in it.pointer("/Ports").and_then(Value::as_array).into_iter().flatten() {
                let number = |name| number_of(port, name);
                let (kind, host) = (text_of(port, "/Type"), text_of(port, "/IP"));
                rows.push(row![id.clone(), kind, number("/PrivatePort"), host, number("/PublicPort")]);
            }
        })
    },
);

pub(super) const CONTAINER_NETWORKS: Table = Table::by_id(
    "docker_container_networks",
    &[
        text("id"),
        text("name"),
        text("network_id"),
        text("endpoint_id"),
        text("gateway"),
        text("ip_address"),
        integer("ip_prefix_len"),
        text("ipv6_gateway"),
        text("ipv6_address"),
        integer("ipv6_prefix_len"),
        text("mac_address"),
    ],
    |context, query| {
        each_container(context, "docker_container_networks", query, |id, it, rows| {
            let networks = it.pointer("/NetworkSettings/Networks").and_then(Value::as_object);
            for (name, network) in networks.into_iter().flatten() {
                rows.push(row![
                    id.clone(),
                    name.as_str(),
                    text_of(network, "/NetworkID"),
                    text_of(network, "/EndpointID"),
                    text_of(network, "/Gateway"),
                    text_of(network, "/IPAddress"),
                    number_of(network, "/IPPrefixLen"),
                    text_of(network, "/IPv6Gateway"),
                    text_of(network, "/GlobalIPv6Address"),
                    number_of(network, "/GlobalIPv6PrefixLen"),
                    text_of(network, "/MacAddress"),
                ]);
            }
        })
    },
);

pub(super) const CONTAINER_FS_CHANGES: Table = Table {
    name: "docker_container_fs_changes",
    columns: &[text("id"), text("path"), text("change_type")],
    key: &[],
    index: &[],
    required: &["id"],
    rows: container_fs_changes,
};

fn container_fs_changes(context: &Context, query: &Query) -> Result<Rows, Trouble> {
    let wanted = asked(query);
    each_container(context, "docker_container_fs_changes", query, |id, it, rows| {
        let Some((id, whole)) = id.zip(id_of(it)) else { return };
        if !wanted.is_empty() && !wanted.contains(&id) {
            return;
        }
        let found = more(context, "containers", &whole, "changes").unwrap_or_default();
        for change in found.as_array().into_iter().flatten() {
            let kind = match number_of(change, "/Kind") {
                Some(0) => Some("C"),
                Some(1) => Some("A"),
                Some(2) => Some("D"),
                _ => None,
            };
            rows.push(row![id.clone(), text_of(change, "/Path"), kind]);
        }
    })
}

pub(super) const IMAGE_LABELS: Table =
    Table::plain("docker_image_labels", &[text("id"), text("key"), text("value")], |context, _| {
        each(context, "docker_image_labels", IMAGES, |it, rows| labels(id_of(it), it, rows))
    });

pub(super) const IMAGE_LAYERS: Table = Table::plain(
    "docker_image_layers",
    &[text("id"), text("layer_id"), integer("layer_order")],
    |context, _| {
        each(context, "docker_image_layers", IMAGES, |it, rows| {
            let Some(id) = id_of(it) else { return };
            let found = more(context, "images", &id, "json").unwrap_or_default();
            let layers = found.pointer("/RootFS/Layers").and_then(Value::as_array);
            for (order, layer) in (1_i64..).zip(layers.into_iter().flatten().filter_map(Value::as_str)) {
                rows.push(row![id.clone(), without_digest(layer), order]);
            }
        })
    },
);

pub(super) const IMAGE_HISTORY: Table = Table::plain(
    "docker_image_history",
    &[text("id"), bigint("created"), bigint("size"), text("created_by"), text("tags"), text("comment")],
    |context, _| {
        each(context, "docker_image_history", IMAGES, |it, rows| {
            let Some(id) = id_of(it) else { return };
            let found = more(context, "images", &id, "history").unwrap_or_default();
            for step in found.as_array().into_iter().flatten() {
                let tags = step.pointer("/Tags").and_then(Value::as_array);
                let tags = tags.map(|all| all.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(","));
                rows.push(row![
                    id.clone(),
                    number_of(step, "/Created"),
                    number_of(step, "/Size"),
                    text_of(step, "/CreatedBy"),
                    tags,
                    text_of(step, "/Comment"),
                ]);
            }
        })
    },
);

pub(super) const NETWORK_LABELS: Table =
    Table::plain("docker_network_labels", &[text("id"), text("key"), text("value")], |context, _| {
        each(context, "docker_network_labels", NETWORKS, |it, rows| labels(id_of(it), it, rows))
    });

pub(super) const DOCKER_NETWORKS: Table = Table::plain(
    "docker_networks",
    &[
        text("id"),
        text("name"),
        text("driver"),
        bigint("created"),
        integer("enable_ipv6"),
        text("subnet"),
        text("gateway"),
    ],
    |context, _| {
        each(context, "docker_networks", NETWORKS, |it, rows| {
            let created = text_of(it, "/Created").and_then(|text| sensor_ecs::time::parse(&text));
            rows.push(row![
                id_of(it),
                text_of(it, "/Name"),
                text_of(it, "/Driver"),
                created.map(|ns| ns.div_euclid(1_000_000_000)),
                it.pointer("/EnableIPv6").and_then(Value::as_bool),
                text_of(it, "/IPAM/Config/0/Subnet"),
                text_of(it, "/IPAM/Config/0/Gateway"),
            ]);
        })
    },
);

/// The volumes stand within an object.
fn volumes(
    context: &Context,
    table: &str,
    mut rows_of: impl FnMut(&Value, &mut Vec<Row>),
) -> Result<Rows, Trouble> {
    let mut rows = Vec::new();
    let found = engine(context, table, "/volumes");
    let listed = found.as_ref().and_then(|found| found.pointer("/Volumes")).and_then(Value::as_array);
    listed.into_iter().flatten().for_each(|one| rows_of(one, &mut rows));
    all(rows)
}

pub(super) const DOCKER_VOLUMES: Table = Table::plain(
    "docker_volumes",
    &[text("name"), text("driver"), text("mount_point"), text("type")],
    |context, _| {
        volumes(context, "docker_volumes", |it, rows| {
            let of = |name| text_of(it, name);
            rows.push(row![of("/Name"), of("/Driver"), of("/Mountpoint"), of("/Options/type")]);
        })
    },
);

pub(super) const VOLUME_LABELS: Table =
    Table::plain("docker_volume_labels", &[text("name"), text("key"), text("value")], |context, _| {
        volumes(context, "docker_volume_labels", |it, rows| labels(text_of(it, "/Name"), it, rows))
    });
