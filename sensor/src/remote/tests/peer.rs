//! A real peer: `osmem-server`, which answers as OpenSearch does, on loopback. Skipped, and said so, where it is not
//! installed; `cargo xtask test` installs it if it can.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::*;

/// Names the executable.
const VARIABLE: &str = "SENSOR_OSMEM_SERVER";

fn executable() -> Option<PathBuf> {
    std::env::var_os(VARIABLE).map(PathBuf::from).filter(|path| path.is_file())
}

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn start(executable: &Path) -> (Server, String) {
    let mut child = Command::new(executable)
        .args(["-addr", "127.0.0.1:0", "-no-stdin-watch", "-parent-pid", &std::process::id().to_string()])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // It says where it is when it can be asked.
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let said: serde_json::Value = serde_json::from_str(&line).unwrap();
    (Server(child), said["url"].as_str().unwrap().to_owned())
}

fn get(url: &str) -> serde_json::Value {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let body = runtime.block_on(async { reqwest::get(url).await.unwrap().bytes().await.unwrap() });
    serde_json::from_slice(&body).unwrap()
}

#[test]
fn a_real_peer_takes_each_document_once() {
    let Some(executable) = executable() else {
        eprintln!("skipped: {VARIABLE} names no osmem-server");
        return;
    };
    let (_server, url) = start(&executable);
    let folder = tempfile::tempdir().unwrap();
    let (remote, said) = bulk(folder.path(), &url);
    put(&remote, 0..2500);
    // The same again, as after a kill before the answer was noted.
    put(&remote, 0..500);
    all_dealt_with(&remote, 3000);
    let sent = remote.shared.sent();
    assert_eq!((sent.delivered, sent.duplicates, sent.dead), (3000, 500, 0), "{said:?}");
    let index = "logs-endpoint.events.file-default";
    assert_eq!(get(&format!("{url}/{index}/_count"))["count"], 2500);
    assert_eq!(get(&format!("{url}/{index}/_doc/e7"))["_source"]["number"], 7);
}
