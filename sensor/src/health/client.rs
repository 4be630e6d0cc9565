//! Asks a running sensor by its socket.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

const TIME_MAX: Duration = Duration::from_secs(60);
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// What is there.
///
/// # Errors
///
/// When no sensor answers, or not so.
pub(crate) fn ask(socket: &Path, path: &str) -> anyhow::Result<Vec<u8>> {
    request(socket, &Method::GET, path)
}

/// Has something done; the answer is for a person.
///
/// # Errors
///
/// When no sensor answers, or it was not done.
pub(crate) fn tell(socket: &Path, path: &str) -> anyhow::Result<Vec<u8>> {
    request(socket, &Method::POST, path)
}

fn request(socket: &Path, method: &Method, path: &str) -> anyhow::Result<Vec<u8>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let answer = tokio::time::timeout(TIME_MAX, exchange(socket, method, path)).await;
        answer.with_context(|| format!("the sensor at {} does not answer", socket.display()))?
    })
}

async fn exchange(socket: &Path, method: &Method, path: &str) -> anyhow::Result<Vec<u8>> {
    let stream = UnixStream::connect(socket).await.with_context(|| {
        format!("no sensor can be asked at {}: is one running, and are you root", socket.display())
    })?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request =
        Request::builder().method(method).uri(path).header("host", "sensor").body(Empty::<Bytes>::new())?;
    let answer = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|cause| anyhow::anyhow!("{cause}"))?.to_bytes();
        if status != StatusCode::OK {
            bail!("{}", String::from_utf8_lossy(&body).trim_end());
        }
        Ok(body.to_vec())
    };
    tokio::pin!(answer);
    tokio::select! {
        answer = &mut answer => answer,
        ended = connection => {
            ended?;
            answer.await
        }
    }
}
