//! What is told, to whom, and how little those can do who ask badly.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::mpsc;

use super::metrics::ALL;
use super::*;
use crate::pipeline::Board;
use crate::sink::AlertSinks;

struct Asked {
    _folder: tempfile::TempDir,
    socket: PathBuf,
    address: String,
    server: Server,
    wanted: mpsc::Receiver<Reload>,
    alerts: AlertSinks,
}

fn start() -> Asked {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("run/sensor.sock");
    let (reload, wanted) = mpsc::channel(1);
    let alerts = AlertSinks::default();
    let sources = Sources {
        about: About { version: "1".to_owned(), ..About::default() },
        board: Arc::new(Board::default()),
        channels: Vec::new(),
        store: None,
        recent: Arc::clone(&alerts.recent),
        reloads: Arc::new(Mutex::default()),
    };
    let said = Mutex::new(String::new());
    let server = Server::start(&socket, "127.0.0.1:0", sources, reload, |text| {
        said.lock().unwrap().push_str(text);
    });
    let said = said.into_inner().unwrap();
    let address = said.strip_prefix("metrics at http://").and_then(|rest| rest.strip_suffix("/metrics"));
    let (server, address) = (server.unwrap(), address.unwrap().to_owned());
    Asked { _folder: folder, socket, address, server, wanted, alerts }
}

fn raw(address: &str, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(100))).unwrap();
    stream.write_all(request).unwrap();
    let mut answer = Vec::new();
    // One who is shown the door may see the connection reset.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn get(address: &str, path: &str) -> String {
    raw(address, format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes())
}

#[test]
fn everybody_on_the_machine_gets_metrics_and_liveness_and_no_more() {
    let asked = start();
    let metrics = get(&asked.address, "/metrics");
    assert!(metrics.starts_with("HTTP/1.1 200 OK\r\n") && metrics.ends_with("# EOF\n"), "{metrics}");
    assert!(metrics.contains("\nsensor_build_info{version=\"1\",kernel=\"\"} 1\n"), "{metrics}");
    // The loop has said nothing yet.
    assert!(get(&asked.address, "/healthz").starts_with("HTTP/1.1 503"));
    assert!(get(&asked.address, "/readyz").ends_with("not ready\n"));
    for path in ["/status", "/alerts", "/reload", "/"] {
        assert!(get(&asked.address, path).starts_with("HTTP/1.1 404"), "{path}");
    }
    let reload = raw(&asked.address, b"POST /reload HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n");
    assert!(reload.starts_with("HTTP/1.1 404"), "{reload}");
}

#[test]
fn root_gets_everything_by_a_socket_that_is_root_s_alone() {
    let mut asked = start();
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&asked.socket), 0o600);
    let status: Status = serde_json::from_slice(&ask(&asked.socket, "/status").unwrap()).unwrap();
    assert_eq!(status.about.version, "1");
    assert!(status.troubles.iter().any(|trouble| trouble.contains("not ready")), "{:?}", status.troubles);
    asked.alerts.document(b"{\"a\":1}");
    let alerts = String::from_utf8(ask(&asked.socket, "/alerts?since=0").unwrap()).unwrap();
    assert_eq!(alerts, "{\"next\":1}\n{\"a\":1}\n");
    assert_eq!(ask(&asked.socket, "/alerts?since=1").unwrap(), b"{\"next\":1}\n");
    let answers = std::thread::spawn(move || {
        asked.wanted.blocking_recv().unwrap().send(Ok("done\n".to_owned())).unwrap();
        asked.wanted.blocking_recv().unwrap().send(Err("line 5\n".to_owned())).unwrap();
    });
    assert_eq!(tell(&asked.socket, "/reload").unwrap(), b"done\n");
    assert_eq!(tell(&asked.socket, "/reload").unwrap_err().to_string(), "line 5");
    answers.join().unwrap();
    drop(asked.server);
    let error = format!("{:#}", ask(&asked.socket, "/status").unwrap_err());
    assert!(error.contains("is one running"), "{error}");
}

#[test]
fn a_socket_that_was_left_behind_is_replaced_and_one_in_use_is_not() {
    let asked = start();
    let sources = Sources {
        about: About::default(),
        board: Arc::default(),
        channels: Vec::new(),
        store: None,
        recent: Arc::default(),
        reloads: Arc::default(),
    };
    let said = Mutex::new(String::new());
    // As the sensor does it, from within its own loop.
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let second = runtime.block_on(async {
        Server::start(&asked.socket, "", sources, mpsc::channel(1).0, |text| {
            said.lock().unwrap().push_str(text);
        })
    });
    assert!(second.is_none() && said.lock().unwrap().contains("another sensor"), "{said:?}");
    let left = asked.socket.with_file_name("left.sock");
    drop(std::os::unix::net::UnixListener::bind(&left).unwrap());
    let sources = Sources {
        about: About::default(),
        board: Arc::default(),
        channels: Vec::new(),
        store: None,
        recent: Arc::default(),
        reloads: Arc::default(),
    };
    let _server = Server::start(&left, "", sources, mpsc::channel(1).0, |text| panic!("{text}")).unwrap();
    assert!(ask(&left, "/status").is_ok());
}

#[test]
fn the_slow_the_long_and_the_many_keep_nobody_waiting_for_long() {
    let asked = start();
    // Many who say nothing: as many as there are places, and more.
    let silent: Vec<TcpStream> = (0..40).map(|_| TcpStream::connect(&asked.address).unwrap()).collect();
    // A head without end.
    let endless = [b"GET /metrics HTTP/1.1\r\nx: ".as_slice(), &vec![b'a'; 1 << 20]].concat();
    let answer = raw(&asked.address, &endless);
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 431") || answer.starts_with("HTTP/1.1 400"),
        "{answer}"
    );
    assert!(get(&asked.address, "/metrics").starts_with("HTTP/1.1 200"));
    // Those of the first places are shown the door after five seconds, then those of the next.
    // Root is not held up by them at all.
    ask(&asked.socket, "/status").unwrap();
    drop(silent);
    for garbage in [
        &b"\x00\xff\xfe\r\n\r\n"[..],
        b"GET / HTTP/9.9\r\n\r\n",
        b"\r\n\r\n\r\n",
        b"GET http://[ HTTP/1.1\r\n\r\n",
    ] {
        let _ = raw(&asked.address, garbage);
    }
    assert!(get(&asked.address, "/metrics").starts_with("HTTP/1.1 200"));
}

#[test]
fn every_metric_is_in_the_documents_with_what_to_do() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operations.md");
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let page = metrics::page(Status { store: Some(Default::default()), ..Status::default() }).unwrap();
    for (name, grows, help) in ALL {
        let full = format!("sensor_{name}{}", if grows { "_total" } else { "" });
        assert!(page.contains(&format!("# HELP sensor_{name} {help}")), "{page}");
        assert!(text.contains(&format!("`{full}")), "docs/operations.md does not tell of {full}");
    }
}
