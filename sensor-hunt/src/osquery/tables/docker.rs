//! `docker_containers`, `docker_images`, `docker_container_mounts`, from the engine's socket. No socket, no rows, and a
//! warning that says so.
//!
//! A container's id may be asked for by its beginning, and is then shown as it was asked for, as in osquery.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::Value;

use crate::osquery::cell::{Cell, Row, row};
use crate::osquery::context::{Context, Trouble};
use crate::osquery::table::{Query, Rows, Table, all, bigint, integer, text};

const ANSWER_BYTES_MAX: u64 = 64 << 20;
const TIMEOUT: Duration = Duration::from_secs(10);

/// Asks the engine. HTTP/1.0, so the answer is not cut into chunks and ends with the connection.
pub(super) fn get(socket: &std::path::Path, path: &str) -> io::Result<Value> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: docker\r\nAccept: application/json\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let end = answer.windows(4).position(|it| it == b"\r\n\r\n").ok_or_else(|| bad("no HTTP answer"))?;
    let head = String::from_utf8_lossy(answer.get(..end).unwrap_or_default()).into_owned();
    let status = head.split_ascii_whitespace().nth(1).unwrap_or_default();
    if status != "200" {
        return Err(bad(&format!("HTTP status {status}")));
    }
    serde_json::from_slice(answer.get(end + 4..).unwrap_or_default()).map_err(|cause| bad(&cause.to_string()))
}

/// What the engine answers, if it does.
pub(super) fn ask(context: &Context, path: &str) -> Option<Value> {
    context.host().is_live().then(|| get(&context.options().docker_socket, path).ok()).flatten()
}

/// The elements of a list that the engine gives, or nothing and a warning.
pub(super) fn list(context: &Context, table: &str, path: &str) -> Vec<Value> {
    if !context.is_live(table) {
        return Vec::new();
    }
    let socket = &context.options().docker_socket;
    match get(socket, path) {
        Ok(Value::Array(values)) => values,
        Ok(_) => {
            context.warn(format!("{table}: {} answered with something else than a list", socket.display()));
            Vec::new()
        }
        Err(cause) => {
            let socket = socket.display();
            context.warn(format!("{table}: no answer from {socket} ({cause}), so the table is empty"));
            Vec::new()
        }
    }
}

/// An id without the name of its digest. Ids are hexadecimal; nothing else is put into a request.
pub(super) fn id_of(value: &Value) -> Option<String> {
    let id = text_of(value, "/Id")?;
    let id = without_digest(&id);
    is_id(id).then(|| id.to_owned())
}

pub(super) fn without_digest(id: &str) -> &str {
    id.strip_prefix("sha256:").unwrap_or(id)
}

pub(super) fn is_id(id: &str) -> bool {
    !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The ids, or their beginnings, that a query asks for in its first column.
pub(super) fn asked(query: &Query) -> Vec<String> {
    let texts = query.equal(0).filter_map(Cell::text).filter_map(|id| std::str::from_utf8(id).ok());
    texts.filter(|id| is_id(id)).map(str::to_owned).collect()
}

/// A container's id as a query has asked for it.
pub(super) fn shown(asked: &[String], id: Option<String>) -> Option<String> {
    let beginning = asked.iter().find(|asked| id.as_ref().is_some_and(|id| id.starts_with(asked.as_str())));
    beginning.cloned().or(id)
}

pub(super) fn text_of(value: &Value, pointer: &str) -> Option<String> {
    value.pointer(pointer)?.as_str().map(str::to_owned)
}

pub(super) fn number_of(value: &Value, pointer: &str) -> Option<i64> {
    value.pointer(pointer)?.as_i64()
}

fn joined(value: &Value, pointer: &str) -> Option<String> {
    let parts = value.pointer(pointer)?.as_array()?;
    Some(parts.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "))
}

pub(super) const DOCKER_CONTAINERS: Table = Table::by_id(
    "docker_containers",
    &[
        text("id"),
        text("name"),
        text("image"),
        text("image_id"),
        text("command"),
        bigint("created"),
        text("state"),
        text("status"),
        bigint("pid"),
        text("path"),
        text("config_entrypoint"),
        text("started_at"),
        text("finished_at"),
        integer("privileged"),
        text("security_options"),
        text("env_variables"),
        integer("readonly_rootfs"),
        text("cgroup_namespace"),
        text("ipc_namespace"),
        text("mnt_namespace"),
        text("net_namespace"),
        text("pid_namespace"),
        text("user_namespace"),
        text("uts_namespace"),
    ],
    docker_containers,
);

fn docker_containers(context: &Context, query: &Query) -> Result<Rows, Trouble> {
    let (mut rows, asked) = (Vec::new(), asked(query));
    for container in list(context, "docker_containers", "/containers/json?all=1") {
        context.look()?;
        let id = id_of(&container);
        let more = id.as_ref().and_then(|id| ask(context, &format!("/containers/{id}/json")));
        rows.push(container_row(context, shown(&asked, id), &container, &more.unwrap_or_default()));
    }
    all(rows)
}

fn container_row(context: &Context, id: Option<String>, container: &Value, more: &Value) -> Row {
    let pid = number_of(more, "/State/Pid");
    let namespace = |name: &str| {
        let pid = pid.filter(|pid| *pid > 0)?;
        let link = context.host().read_link(format!("/proc/{pid}/ns/{name}").as_bytes()).ok()?;
        let inode = link.split(|byte| *byte == b'[').nth(1)?.strip_suffix(b"]")?;
        Some(Cell::from(inode))
    };
    row![
        id,
        text_of(container, "/Names/0"),
        text_of(container, "/Image"),
        text_of(container, "/ImageID").map(|id| without_digest(&id).to_owned()),
        text_of(container, "/Command"),
        number_of(container, "/Created"),
        text_of(container, "/State"),
        text_of(container, "/Status"),
        pid,
        text_of(more, "/Path"),
        joined(more, "/Config/Entrypoint"),
        text_of(more, "/State/StartedAt"),
        text_of(more, "/State/FinishedAt"),
        more.pointer("/HostConfig/Privileged").and_then(Value::as_bool),
        joined(more, "/HostConfig/SecurityOpt"),
        joined(more, "/Config/Env"),
        more.pointer("/HostConfig/ReadonlyRootfs").and_then(Value::as_bool),
        namespace("cgroup"),
        namespace("ipc"),
        namespace("mnt"),
        namespace("net"),
        namespace("pid"),
        namespace("user"),
        namespace("uts"),
    ]
}

pub(super) const DOCKER_IMAGES: Table = Table::plain(
    "docker_images",
    &[text("id"), bigint("created"), bigint("size_bytes"), text("tags")],
    docker_images,
);

fn docker_images(context: &Context, _: &Query) -> Result<Rows, Trouble> {
    let images = list(context, "docker_images", "/images/json");
    all(images.iter().map(image_row).collect())
}

fn image_row(image: &Value) -> Row {
    let id = text_of(image, "/Id").map(|id| without_digest(&id).to_owned());
    let tags = image
        .pointer("/RepoTags")
        .and_then(Value::as_array)
        .map(|tags| tags.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(","));
    row![id, number_of(image, "/Created"), number_of(image, "/Size"), tags]
}

pub(super) const DOCKER_CONTAINER_MOUNTS: Table = Table::by_id(
    "docker_container_mounts",
    &[
        text("id"),
        text("type"),
        text("name"),
        text("source"),
        text("destination"),
        text("driver"),
        text("mode"),
        integer("rw"),
        text("propagation"),
    ],
    docker_container_mounts,
);

fn docker_container_mounts(context: &Context, query: &Query) -> Result<Rows, Trouble> {
    let containers = list(context, "docker_container_mounts", "/containers/json?all=1");
    let asked = asked(query);
    all(containers.iter().flat_map(|container| mount_rows(&asked, container)).collect())
}

fn mount_rows(asked: &[String], container: &Value) -> Vec<Row> {
    let mounts = container.pointer("/Mounts").and_then(Value::as_array);
    let id = shown(asked, id_of(container));
    let of = |mount: &Value| {
        row![
            id.clone(),
            text_of(mount, "/Type"),
            text_of(mount, "/Name"),
            text_of(mount, "/Source"),
            text_of(mount, "/Destination"),
            text_of(mount, "/Driver"),
            text_of(mount, "/Mode"),
            mount.pointer("/RW").and_then(Value::as_bool),
            text_of(mount, "/Propagation"),
        ]
    };
    mounts.into_iter().flatten().map(of).collect()
}
