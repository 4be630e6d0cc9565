//! The page of a hunt as a browser has it: what it parses the page to, and that it draws something.

use std::path::{Path, PathBuf};
use std::process::Command;

const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

fn browser() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    BROWSERS.iter().flat_map(|name| folders.iter().map(move |dir| dir.join(name))).find(|file| file.is_file())
}

/// With a profile of its own: what an earlier run has not yet let go of is not in the way.
fn run(browser: &Path, profile: &Path, args: &[&str], page: &Path) -> Vec<u8> {
    let done = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .args(args)
        .arg(format!("file://{}", page.display()))
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    done.stdout
}

/// Width, height, and whether there is more on it than one colour: a plain picture compresses to next to nothing.
fn picture(path: &Path) -> (u32, u32, bool) {
    let bytes = std::fs::read(path).unwrap();
    assert_eq!(&bytes[..8], b"\x89PNG\r\n\x1a\n");
    let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    (number(16), number(20), bytes.len() > 20_000)
}

#[test]
fn a_browser_shows_the_page_as_it_is_meant() {
    let Some(browser) = browser() else {
        println!("skipped: there is no {}", BROWSERS.join(" and no "));
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let (events, store) = (folder.path().join("e.ndjson"), folder.path().join("store"));
    let (page, shot) = (folder.path().join("page.html"), folder.path().join("page.png"));
    let lines: String = (0..40)
        .map(|number| {
            let event = serde_json::json!({
                "@timestamp": 1_767_322_800_000_i64 + number * 3_600_000, "agent": { "id": "a" },
                "data_stream": { "dataset": "endpoint.events.file" },
                "file": { "name": format!("</td><script>document.title='evil'</script>{}", number % 7) },
            });
            format!("{event}\n")
        })
        .collect();
    std::fs::write(&events, lines).unwrap();
    let sensor = |args: &[&std::ffi::OsStr]| {
        let done = Command::new(env!("CARGO_BIN_EXE_sensor-hunt")).args(args).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    sensor(&["store".as_ref(), "import".as_ref(), events.as_ref(), "--store".as_ref(), store.as_ref()]);
    let hunt = folder.path().join("h.toml");
    let queries =
        "'from logs-* | stats cc = count() by file.name', 'from logs-* | keep @timestamp, file.name'";
    std::fs::write(&hunt, format!("[hunt]\nname = 'A page'\nquery = [{queries}]\n")).unwrap();
    let more = ["--store".as_ref(), store.as_ref(), "--report".as_ref(), page.as_ref()];
    sensor(&[["hunt".as_ref(), hunt.as_ref()].as_slice(), more.as_slice()].concat());

    let dom = run(&browser, &folder.path().join("first"), &["--dump-dom"], &page);
    let dom = String::from_utf8(dom).unwrap();
    assert!(dom.contains("<title>A page</title>"), "the title is not the page's: {dom}");
    assert!(!dom.contains("<script"), "a value became markup");
    // A row for each of the seven names, and one for each event; what a value holds is text in its cell.
    let rows = dom
        .split("<tbody>")
        .skip(1)
        .map(|body| body.split("</tbody>").next().unwrap().matches("<tr>").count());
    assert_eq!(rows.collect::<Vec<_>>(), [7, 40]);
    assert!(dom.matches("&lt;script&gt;document.title").count() >= 47);
    // Bars of the first table, a timeline of the second.
    assert_eq!(dom.matches("<svg").count(), 2);

    let screenshot = format!("--screenshot={}", shot.display());
    run(&browser, &folder.path().join("second"), &[&screenshot, "--window-size=1000,1400"], &page);
    assert_eq!(picture(&shot), (1000, 1400, true));
}
