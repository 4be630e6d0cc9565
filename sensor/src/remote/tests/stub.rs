//! A server on loopback that answers `_bulk` as Elasticsearch documents it, or fails in a way that it is told.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

/// What goes wrong with a request.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    /// This status for the whole request, with these headers.
    Status(u16, &'static str),
    /// These statuses for its documents in turn, 0 for what would be right.
    Items(Vec<u16>),
    /// The documents are taken, and the connection is reset before the answer.
    TakenThenReset,
    /// The connection is closed at once.
    Reset,
    /// Nothing is answered, for longer than anybody waits.
    Silence,
    /// An answer that is cut, and one that is no JSON.
    Cut,
    Nonsense,
    /// Right, but a byte at a time.
    Slow,
}

#[derive(Default)]
pub(super) struct State {
    /// What is wrong with the next requests; then nothing.
    pub(super) faults: VecDeque<Fault>,
    /// Documents by index and id.
    pub(super) documents: BTreeMap<(String, String), Value>,
    /// Of each request: its headers and the number of documents in it.
    pub(super) requests: Vec<(String, usize)>,
    /// Requests above this are too large.
    pub(super) bytes_max: Option<usize>,
    /// Documents with this in them are not mapped.
    pub(super) poison: Option<&'static str>,
    /// Documents for streams with this in their name are not taken.
    pub(super) denied: Option<&'static str>,
}

pub(super) struct Stub {
    pub(super) url: String,
    pub(super) state: Arc<Mutex<State>>,
}

impl Stub {
    pub(super) fn start(faults: impl IntoIterator<Item = Fault>) -> Self {
        let mut stub = Self::serving(serve);
        stub.state.lock().unwrap().faults = faults.into_iter().collect();
        stub.url.insert_str(0, "http://");
        stub
    }

    /// By TLS alone.
    pub(super) fn with_tls(config: Arc<rustls::ServerConfig>) -> Self {
        let mut stub = Self::serving(move |stream, state| {
            let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            serve(rustls::StreamOwned::new(connection, stream), state)
        });
        stub.url.insert_str(0, "https://");
        stub
    }

    /// Its `url` has no scheme yet.
    fn serving(serve: impl Fn(TcpStream, &Mutex<State>) -> Option<()> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = listener.local_addr().unwrap().to_string();
        let state = Arc::new(Mutex::new(State::default()));
        let (shared, serve) = (Arc::clone(&state), Arc::new(serve));
        // Ends with the process.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (shared, serve) = (Arc::clone(&shared), Arc::clone(&serve));
                std::thread::spawn(move || serve(stream.unwrap(), &shared));
            }
        });
        Self { url, state }
    }

    pub(super) fn documents(&self) -> usize {
        self.state.lock().unwrap().documents.len()
    }
}

fn serve(stream: impl Read + Write, state: &Mutex<State>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = String::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if line == "\r\n" {
                break;
            }
            head.push_str(&line.to_lowercase());
        }
        let length =
            head.lines().find_map(|line| line.strip_prefix("content-length:"))?.trim().parse().ok()?;
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        answer(reader.get_mut(), &head, body, state)?;
    }
}

fn answer(stream: &mut impl Write, head: &str, body: Vec<u8>, state: &Mutex<State>) -> Option<()> {
    let size = body.len();
    let body = if head.contains("content-encoding: gzip") {
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(body.as_slice()).read_to_end(&mut plain).unwrap();
        plain
    } else {
        body
    };
    let lines: Vec<Value> = body
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    let mut state = state.lock().unwrap();
    let is_bulk = head.starts_with("post /_bulk?filter_path=errors");
    state.requests.push((head.to_owned(), if is_bulk { lines.len() / 2 } else { lines.len() }));
    let fault = state.faults.pop_front();
    if state.bytes_max.is_some_and(|max| size > max) {
        return respond(stream, 413, "", b"too large");
    }
    match &fault {
        Some(Fault::Status(status, headers)) => {
            return respond(stream, *status, headers, b"{\"said\":\"no\"}");
        }
        Some(Fault::Reset) => return None,
        Some(Fault::Silence) => {
            drop(state);
            std::thread::sleep(Duration::from_secs(60));
            return None;
        }
        Some(Fault::Nonsense) => return respond(stream, 200, "", b"<html>welcome</html>"),
        _ => {}
    }
    if !is_bulk {
        for line in lines {
            let id = line["event"]["id"].as_str().unwrap().to_owned();
            state.documents.insert((String::new(), id), line);
        }
        return respond(stream, 200, "", b"ok");
    }
    let statuses = if let Some(Fault::Items(statuses)) = &fault { statuses.clone() } else { Vec::new() };
    let mut items = Vec::new();
    for (at, pair) in lines.chunks(2).enumerate() {
        let create = &pair[0]["create"];
        let key = (create["_index"].as_str().unwrap().to_owned(), create["_id"].as_str().unwrap().to_owned());
        let mut status = statuses.get(at).copied().unwrap_or(0);
        if state.poison.is_some_and(|poison| pair[1].to_string().contains(poison)) {
            status = 400;
        }
        if state.denied.is_some_and(|denied| key.0.contains(denied)) {
            status = 403;
        }
        if status == 0 {
            status = if state.documents.contains_key(&key) { 409 } else { 201 };
        }
        if status == 201 {
            state.documents.insert(key, pair[1].clone());
        }
        items.push(if status == 201 {
            json!({"create": {"status": status}})
        } else {
            json!({"create": {"status": status, "error": {"type": "some_exception", "reason": "a reason"}}})
        });
    }
    let errors = items.iter().any(|item| item["create"]["status"] != 201);
    drop(state);
    let reply = json!({"errors": errors, "items": items}).to_string().into_bytes();
    match fault {
        Some(Fault::TakenThenReset) => None,
        Some(Fault::Cut) => {
            write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", reply.len()).ok()?;
            stream.write_all(&reply[..reply.len() / 2]).ok()?;
            None
        }
        Some(Fault::Slow) => {
            write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", reply.len()).ok()?;
            for byte in reply {
                stream.write_all(&[byte]).ok()?;
                stream.flush().ok()?;
            }
            Some(())
        }
        _ => respond(stream, 200, "", &reply),
    }
}

fn respond(stream: &mut impl Write, status: u16, headers: &str, body: &[u8]) -> Option<()> {
    write!(stream, "HTTP/1.1 {status} X\r\n{headers}content-length: {}\r\n\r\n", body.len()).ok()?;
    stream.write_all(body).ok()?;
    stream.flush().ok()
}
