//! Answers over HTTP: for root on a socket, and for everybody on this machine, metrics and liveness, on an address of
//! it. Who asks is never trusted to be quick, brief or few.

use std::convert::Infallible;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::confine::{self, Role};

use super::metrics;
use super::status::Sources;

/// Connections at one time, each way in; more wait.
const CONNECTIONS_MAX: usize = 16;
/// For the head of a request, and for the whole of a connection.
const HEAD_TIME_MAX: Duration = Duration::from_secs(5);
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(60);
/// For the head of a request.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// How long reading rules anew may take.
const RELOAD_TIME_MAX: Duration = Duration::from_secs(55);

const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Somebody wants the rules and the configuration to be read anew, and to hear how that went.
pub(crate) type Reload = oneshot::Sender<Result<String, String>>;

/// What all connections share.
struct Shared {
    sources: Sources,
    reload: mpsc::Sender<Reload>,
}

/// The thread that answers; it ends with the value.
pub(crate) struct Server {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
    socket: Option<PathBuf>,
}

impl Server {
    /// Listens on what can be had. What cannot is told to `report`: a sensor that cannot be asked works all the same.
    pub(crate) fn start(
        socket: &Path,
        listen: &str,
        sources: Sources,
        reload: mpsc::Sender<Reload>,
        report: impl Fn(&str),
    ) -> Option<Self> {
        let failed = |place: &str, cause: &io::Error| report(&format!("nobody can ask at {place}: {cause}"));
        let at_socket = (!socket.as_os_str().is_empty())
            .then(|| bind(socket).inspect_err(|cause| failed(&socket.display().to_string(), cause)).ok());
        let at_address = (!listen.is_empty()).then(|| {
            let bound = std::net::TcpListener::bind(listen).and_then(|listener| {
                listener.set_nonblocking(true)?;
                let address = listener.local_addr()?;
                report(&format!("metrics at http://{address}/metrics"));
                Ok(listener)
            });
            bound.inspect_err(|cause| failed(listen, cause)).ok()
        });
        let (at_socket, at_address) = (at_socket.flatten(), at_address.flatten());
        if at_socket.is_none() && at_address.is_none() {
            return None;
        }
        let socket = at_socket.is_some().then(|| socket.to_owned());
        let shared = Arc::new(Shared { sources, reload });
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("health".to_owned()).spawn(move || {
            confine::thread(&Role::Answer);
            if let Err(cause) = serve_until(at_socket, at_address, shared, stopped) {
                tracing::warn!("nobody can ask any more: {cause}");
            }
        });
        let thread = thread.inspect_err(|cause| report(&format!("nobody can ask: {cause}"))).ok()?;
        Some(Self { stop: Some(stop), thread: Some(thread), socket })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic has been reported by its own hook.
            let _ = thread.join();
        }
        if let Some(socket) = &self.socket {
            drop(std::fs::remove_file(socket));
        }
    }
}

/// The thread. It has a loop of its own: who asks much holds up nothing else.
fn serve_until(
    at_socket: Option<std::os::unix::net::UnixListener>,
    at_address: Option<std::net::TcpListener>,
    shared: Arc<Shared>,
    stopped: oneshot::Receiver<()>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let at_socket = at_socket.map(UnixListener::from_std).transpose()?;
        let at_address = at_address.map(TcpListener::from_std).transpose()?;
        let root = accept_root(at_socket, Arc::clone(&shared));
        let everybody = accept_everybody(at_address, shared);
        tokio::select! {
            () = root => {}
            () = everybody => {}
            // The other side going away is the end as well.
            _ = stopped => {}
        }
        Ok(())
    })
}

/// Takes the place of a socket that nobody listens on any more; root alone may use it.
fn bind(path: &Path) -> io::Result<std::os::unix::net::UnixListener> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    match std::fs::symlink_metadata(path) {
        Ok(there) if there.file_type().is_socket() => {
            if std::os::unix::net::UnixStream::connect(path).is_ok() {
                return Err(io::Error::other("another sensor answers there"));
            }
            std::fs::remove_file(path)?;
        }
        Ok(_) => return Err(io::Error::other("something else is there")),
        Err(_) => {}
    }
    // Nobody may connect before its mode is right: it is made under another name.
    let fresh = path.with_extension(format!("{}.new", std::process::id()));
    drop(std::fs::remove_file(&fresh));
    let listener = std::os::unix::net::UnixListener::bind(&fresh)?;
    listener.set_nonblocking(true)?;
    std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&fresh, path)?;
    Ok(listener)
}

async fn accept_root(listener: Option<UnixListener>, shared: Arc<Shared>) {
    let Some(listener) = listener else { return std::future::pending().await };
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    serve(TokioIo::new(stream), shared, true).await;
                    drop(place);
                });
            }
            // Descriptors may be short for a while.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn accept_everybody(listener: Option<TcpListener>, shared: Arc<Shared>) {
    let Some(listener) = listener else { return std::future::pending().await };
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    serve(TokioIo::new(stream), shared, false).await;
                    drop(place);
                });
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn serve<S>(stream: S, shared: Arc<Shared>, is_root: bool)
where
    S: hyper::rt::Read + hyper::rt::Write + Unpin,
{
    let answer = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(answer(&request, &shared, is_root).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        // One request each: nobody keeps a place for nothing.
        .keep_alive(false)
        .serve_connection(stream, answer);
    // Whatever went wrong is the asker's concern.
    let _ = tokio::time::timeout(CONNECTION_TIME_MAX, connection).await;
}

fn text(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    response
}

async fn answer(request: &Request<Incoming>, shared: &Shared, is_root: bool) -> Response<Full<Bytes>> {
    const PLAIN: &str = "text/plain; charset=utf-8";
    const JSON: &str = "application/json";
    let sources = &shared.sources;
    let yes = |is_so: bool, what: &'static str| {
        let status = if is_so { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        text(status, PLAIN, format!("{}{what}\n", if is_so { "" } else { "not " }))
    };
    let query = request.uri().query().unwrap_or_default();
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/healthz") => yes(sources.is_alive(), "alive"),
        (&Method::GET, "/readyz") => yes(sources.is_ready(), "ready"),
        (&Method::GET, "/metrics") => match metrics::page(sources.read(false)) {
            Ok(page) => text(StatusCode::OK, METRICS_TYPE, page),
            Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, PLAIN, "the metrics cannot be written\n"),
        },
        (&Method::GET, "/status") if is_root => {
            let status = sources.read(query == "watch");
            match serde_json::to_vec(&status) {
                Ok(json) => text(StatusCode::OK, JSON, json),
                Err(cause) => text(StatusCode::INTERNAL_SERVER_ERROR, PLAIN, format!("{cause}\n")),
            }
        }
        (&Method::GET, "/alerts") if is_root => {
            let first = query.strip_prefix("since=").and_then(|number| number.parse().ok()).unwrap_or(0);
            let (alerts, next) = sources.recent.since(first);
            let mut lines = format!("{{\"next\":{next}}}\n").into_bytes();
            for alert in alerts {
                lines.extend_from_slice(&alert);
                lines.push(b'\n');
            }
            text(StatusCode::OK, "application/x-ndjson", lines)
        }
        (&Method::POST, "/reload") if is_root => {
            let (tell, told) = oneshot::channel();
            if shared.reload.try_send(tell).is_err() {
                return text(StatusCode::CONFLICT, PLAIN, "a reload is under way\n");
            }
            match tokio::time::timeout(RELOAD_TIME_MAX, told).await {
                Ok(Ok(Ok(done))) => text(StatusCode::OK, PLAIN, done),
                Ok(Ok(Err(why))) => text(StatusCode::UNPROCESSABLE_ENTITY, PLAIN, why),
                _ => text(StatusCode::SERVICE_UNAVAILABLE, PLAIN, "the sensor does not answer\n"),
            }
        }
        _ => text(StatusCode::NOT_FOUND, PLAIN, "/metrics, /healthz, /readyz\n"),
    }
}
