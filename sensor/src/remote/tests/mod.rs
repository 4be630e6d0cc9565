//! Every status, every way to fail: nothing is lost that fits, nothing is there twice.

mod peer;
mod stub;
mod tls;

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::*;
use stub::{Fault, Stub};

const PATIENCE: Duration = Duration::from_secs(120);

fn endpoint(url: &str) -> Endpoint {
    Endpoint {
        url: address(url).unwrap(),
        access: Access::Open,
        ca_file: Default::default(),
        // Longer than any machine is busy: what is slow has not failed.
        timeout: PATIENCE,
    }
}

type Said = Arc<Mutex<Vec<String>>>;

fn open(folder: &Path, destination: impl Destination + 'static) -> (Remote, Said) {
    let said = Said::default();
    let plan = Plan { name: "test", state_directory: folder, spool_bytes: 8 << 20 };
    let report = || -> Report {
        let said = Arc::clone(&said);
        Box::new(move |text| said.lock().unwrap().push(text.to_owned()))
    };
    (Remote::open(&plan, destination, report).unwrap(), Arc::clone(&said))
}

fn bulk(folder: &Path, url: &str) -> (Remote, Said) {
    open(folder, Bulk::new(endpoint(url), true).unwrap())
}

fn document(number: usize) -> String {
    format!(
        "{{\"event\":{{\"id\":\"e{number}\"}},\"data_stream\":{{\"type\":\"logs\",\"dataset\":\
         \"endpoint.events.file\",\"namespace\":\"default\"}},\"number\":{number}}}"
    )
}

fn put(remote: &Remote, numbers: std::ops::Range<usize>) {
    for number in numbers {
        assert!(remote.sink.line(|out| out.extend_from_slice(document(number).as_bytes())));
    }
}

fn wait(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "{what} did not come to be");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn all_dealt_with(remote: &Remote, count: u64) {
    wait("the end", || {
        let sent = remote.shared.sent();
        sent.delivered + sent.dead == count && remote.shared.waiting().documents == 0
    });
}

/// Has ten documents wait in the spool, so that the first request has all of them.
fn ten_waiting(folder: &Path) {
    let stub = Stub::start(vec![Fault::Status(503, "retry-after: 3600\r\n"); 100]);
    let (remote, _) = bulk(folder, &stub.url);
    put(&remote, 0..10);
    wait("ten in the spool", || remote.shared.waiting().documents == 10);
    assert_eq!(remote.close().dropped(), 0);
    assert_eq!(stub.documents(), 0);
}

/// Sends ten documents through the fault; they must all be there once.
fn survives(fault: Fault, timeout: Duration) -> (RemoteTotals, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    ten_waiting(folder.path());
    let stub = Stub::start([fault]);
    let to = Endpoint { timeout, ..endpoint(&stub.url) };
    let (remote, said) = open(folder.path(), Bulk::new(to, true).unwrap());
    all_dealt_with(&remote, 10);
    assert_eq!(stub.documents(), 10);
    let sent = remote.shared.sent();
    assert_eq!(sent.dead, 0);
    assert_eq!(remote.close().dropped(), 0);
    let said = said.lock().unwrap().clone();
    (sent, said)
}

#[test]
fn documents_arrive_in_their_data_streams_compressed() {
    let folder = tempfile::tempdir().unwrap();
    let stub = Stub::start([]);
    let mut to = endpoint(&stub.url);
    to.access = Access::ApiKey(Secret::find(&secret(folder.path(), "abc=\n"), "").unwrap().unwrap());
    let (remote, said) = open(folder.path(), Bulk::new(to, true).unwrap());
    put(&remote, 0..3000);
    all_dealt_with(&remote, 3000);
    let state = stub.state.lock().unwrap();
    let key = ("logs-endpoint.events.file-default".to_owned(), "e7".to_owned());
    assert_eq!(state.documents[&key]["number"], 7);
    assert!(state.requests.len() >= 3, "no request has more than a thousand");
    let (head, _) = &state.requests[0];
    for line in ["content-encoding: gzip", "authorization: apikey abc=", "content-type: application/x-ndjson"]
    {
        assert!(head.contains(line), "{head}");
    }
    assert_eq!(*said.lock().unwrap(), Vec::<String>::new());
}

fn secret(folder: &Path, text: &str) -> std::path::PathBuf {
    let path = folder.join("secret");
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn a_busy_server_is_left_alone_for_as_long_as_it_asks() {
    let begun = Instant::now();
    let (sent, said) = survives(Fault::Status(429, "retry-after: 2\r\n"), PATIENCE);
    assert!(begun.elapsed() >= Duration::from_secs(2));
    assert_eq!((sent.requests_failed, sent.duplicates), (1, 0));
    assert!(said[0].contains("429") && said[1].contains("takes documents again"), "{said:?}");
}

#[test]
fn errors_of_the_server_are_waited_out() {
    for status in [500, 502, 503, 504, 307, 404, 418] {
        let (sent, _) = survives(Fault::Status(status, ""), PATIENCE);
        assert_eq!(sent.requests_failed, 1, "{status}");
    }
}

#[test]
fn wrong_credentials_are_an_alarm_and_lose_nothing() {
    for status in [401, 403] {
        let (_, said) = survives(Fault::Status(status, ""), PATIENCE);
        assert!(
            said[0].contains("refuses who we say we are") && said[0].contains("wait in the spool"),
            "{said:?}"
        );
    }
}

#[test]
fn broken_connections_lose_nothing_and_double_nothing() {
    for fault in [Fault::Reset, Fault::Nonsense] {
        let (sent, _) = survives(fault.clone(), PATIENCE);
        assert_eq!((sent.requests_failed, sent.duplicates), (1, 0), "{fault:?}");
    }
    for fault in [Fault::TakenThenReset, Fault::Cut] {
        let (sent, _) = survives(fault.clone(), PATIENCE);
        // What had arrived is known by its id.
        assert_eq!((sent.requests_failed, sent.duplicates), (1, 10), "{fault:?}");
    }
}

#[test]
fn a_slow_answer_is_waited_for_and_silence_is_not() {
    let (sent, _) = survives(Fault::Slow, PATIENCE);
    assert_eq!((sent.requests_failed, sent.duplicates), (0, 0));
    let (sent, said) = survives(Fault::Silence, Duration::from_secs(2));
    assert!(sent.requests_failed >= 1 && said[0].contains("no answer in time"), "{said:?}");
}

#[test]
fn of_a_partial_failure_only_what_failed_is_sent_again() {
    let folder = tempfile::tempdir().unwrap();
    ten_waiting(folder.path());
    let stub = Stub::start([Fault::Items(vec![0, 429, 409, 503, 400, 0, 401])]);
    let (remote, _) = bulk(folder.path(), &stub.url);
    all_dealt_with(&remote, 10);
    let state = stub.state.lock().unwrap();
    // One was said to be known, one was refused.
    assert_eq!(state.documents.len(), 8);
    let sizes: Vec<usize> = state.requests.iter().map(|(_, size)| *size).collect();
    assert_eq!(sizes, [10, 3]);
    let sent = remote.shared.sent();
    assert_eq!((sent.delivered, sent.dead, sent.duplicates), (9, 1, 1));
}

/// No right to one of the streams, as when documents go to a further one: the others go on.
#[test]
fn a_stream_that_is_denied_does_not_hold_up_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let stub = Stub::start([]);
    stub.state.lock().unwrap().denied = Some("cloud_defend");
    let (remote, said) = bulk(folder.path(), &stub.url);
    let denied = |number: usize| document(number).replace("endpoint.events.file", "cloud_defend.file");
    remote.sink.line(|out| out.extend_from_slice(denied(1).as_bytes()));
    for number in 0..20 {
        put(&remote, number..number + 1);
        wait("the next", || stub.documents() == number + 1);
    }
    wait("the end", || remote.shared.waiting().documents == 0);
    let sent = remote.shared.sent();
    assert_eq!((sent.delivered, sent.dead), (20, 1));
    // It is known now.
    remote.sink.line(|out| out.extend_from_slice(denied(2).as_bytes()));
    put(&remote, 20..21);
    all_dealt_with(&remote, 23);
    let dead = fs::read_to_string(folder.path().join("dead-letters/test.ndjson")).unwrap();
    assert!(dead.lines().count() == 2 && dead.contains("403: some_exception"), "{dead}");
    assert!(said.lock().unwrap().iter().any(|line| line.contains("refuses a document")));
}

/// A server that denies everything is one whose key has expired: nothing is given up.
#[test]
fn nothing_is_given_up_while_nothing_arrives() {
    let folder = tempfile::tempdir().unwrap();
    let stub = Stub::start([]);
    stub.state.lock().unwrap().denied = Some("logs");
    let (remote, _) = bulk(folder.path(), &stub.url);
    put(&remote, 0..10);
    wait("some attempts", || stub.state.lock().unwrap().requests.len() > sender::DENIED_TRIES_MAX as usize);
    assert_eq!((remote.shared.waiting().documents, remote.shared.sent().dead), (10, 0));
    stub.state.lock().unwrap().denied = None;
    all_dealt_with(&remote, 10);
    assert_eq!(stub.documents(), 10);
}

#[test]
fn a_document_that_does_not_fit_the_mapping_is_kept_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let stub = Stub::start([]);
    stub.state.lock().unwrap().poison = Some("\"number\":5");
    let (remote, said) = bulk(folder.path(), &stub.url);
    put(&remote, 0..10);
    all_dealt_with(&remote, 10);
    assert_eq!(stub.documents(), 9);
    let dead = fs::read_to_string(folder.path().join("dead-letters/test.ndjson")).unwrap();
    let dead: serde_json::Value = serde_json::from_str(&dead).unwrap();
    assert_eq!(dead["reason"], "400: some_exception: a reason");
    assert_eq!(dead["document"]["number"], 5);
    assert!(said.lock().unwrap()[0].contains("dead-letters/test.ndjson"));
}

#[test]
fn what_is_too_large_is_split_down_to_one() {
    let folder = tempfile::tempdir().unwrap();
    let stub = Stub::start([]);
    stub.state.lock().unwrap().bytes_max = Some(1000);
    let (remote, _) = open(folder.path(), Bulk::new(endpoint(&stub.url), false).unwrap());
    put(&remote, 0..50);
    let huge = document(50).replace("\"number\"", &format!("\"{}\"", "x".repeat(2000)));
    assert!(remote.sink.line(|out| out.extend_from_slice(huge.as_bytes())));
    all_dealt_with(&remote, 51);
    assert_eq!(stub.documents(), 50);
    let dead = fs::read_to_string(folder.path().join("dead-letters/test.ndjson")).unwrap();
    assert!(dead.contains("413") && dead.contains("e50"), "{dead}");
}

#[test]
fn an_outage_loses_nothing_that_fits_over_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let ill = Stub::start(vec![Fault::Reset; 10_000]);
    for run in 0..3 {
        let (remote, _) = bulk(folder.path(), &ill.url);
        put(&remote, run * 100..(run + 1) * 100);
        wait("trouble", || remote.shared.sent().trouble.is_some());
        assert_eq!(remote.close().dropped(), 0);
    }
    let stub = Stub::start([]);
    let (remote, _) = bulk(folder.path(), &stub.url);
    all_dealt_with(&remote, 300);
    assert_eq!((stub.documents(), remote.shared.sent().duplicates), (300, 0));
}

#[test]
fn what_the_bound_does_not_hold_is_counted_to_the_document() {
    let folder = tempfile::tempdir().unwrap();
    let stub = Stub::start(vec![Fault::Status(503, "retry-after: 3600\r\n"); 100]);
    let plan = Plan { name: "test", state_directory: folder.path(), spool_bytes: 0 };
    let destination = Bulk::new(endpoint(&stub.url), true).unwrap();
    let remote = Remote::open(&plan, destination, || Box::new(|_| {})).unwrap();
    put(&remote, 0..5000);
    wait("a full spool", || {
        let waiting = remote.shared.waiting();
        waiting.documents + waiting.dropped_full == 5000
    });
    let waiting = remote.shared.waiting();
    assert!(waiting.dropped_full > 0 && waiting.documents > 1000, "{waiting:?}");
    assert!(waiting.bytes <= waiting.bytes_max);
    // An ending sensor does not wait for an hour.
    assert_eq!(remote.close().dropped(), 0);
    stub.state.lock().unwrap().faults.clear();
    let (remote, _) = bulk(folder.path(), &stub.url);
    all_dealt_with(&remote, waiting.documents);
    assert_eq!(stub.documents() as u64, waiting.documents);
}

#[test]
fn a_webhook_gets_each_alert_once() {
    let folder = tempfile::tempdir().unwrap();
    let stub = Stub::start([Fault::Status(500, ""), Fault::Status(429, ""), Fault::Status(400, "")]);
    let mut to = endpoint(&stub.url);
    to.access = Access::Header(Secret::find(&secret(folder.path(), "Bearer t"), "").unwrap().unwrap());
    let (remote, _) = open(folder.path(), Webhook::new(to).unwrap());
    put(&remote, 0..5);
    all_dealt_with(&remote, 5);
    assert_eq!(stub.documents(), 4);
    let state = stub.state.lock().unwrap();
    assert_eq!(state.requests.len(), 7);
    let (head, _) = &state.requests[6];
    for line in ["idempotency-key: e4", "authorization: bearer t", "content-type: application/json"] {
        assert!(head.contains(line), "{head}");
    }
}

#[test]
fn what_is_no_document_of_ours_is_a_dead_letter() {
    let folder = tempfile::tempdir().unwrap();
    let stub = Stub::start([]);
    let (remote, _) = bulk(folder.path(), &stub.url);
    assert!(remote.sink.line(|out| out.extend_from_slice(b"{\"a\":1}")));
    assert!(remote.sink.line(|out| out.extend_from_slice(b"no json \xff")));
    put(&remote, 0..1);
    all_dealt_with(&remote, 3);
    assert_eq!((stub.documents(), remote.shared.sent().dead), (1, 2));
}

#[test]
fn addresses_that_would_show_secrets_are_refused() {
    for (address, expected) in [
        ("https://es.example:9200/prefix", None),
        ("http://127.0.0.1:9200", None),
        ("http://[::1]:9200", None),
        ("http://localhost", None),
        ("http://es.example:9200", Some("only https")),
        ("http://127.0.0.1.evil.example", Some("only https")),
        ("https://user:pass@es.example", Some("no user")),
        ("ftp://es.example", Some("neither")),
        ("es.example:9200", Some("neither")),
        ("", Some("not an address")),
    ] {
        let found = super::address(address).map_err(|error| error.to_string());
        match expected {
            None => assert!(found.is_ok(), "{address}: {found:?}"),
            Some(expected) => {
                assert!(found.clone().is_err_and(|error| error.contains(expected)), "{address}: {found:?}")
            }
        }
    }
    let shown = endpoint("https://hooks.example/T0/secret").shown();
    assert_eq!(shown, "https://hooks.example");
    assert_eq!(
        format!(
            "{:?}",
            Access::ApiKey(
                Secret::find(&secret(tempfile::tempdir().unwrap().path(), "k"), "").unwrap().unwrap()
            )
        ),
        "ApiKey((secret))"
    );
}
