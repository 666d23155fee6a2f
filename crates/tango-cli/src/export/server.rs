//! A small HTTP server: `GET /metrics`, and a page that names it.

use std::convert::Infallible;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::runtime;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{sleep, timeout};

use super::metrics;
use crate::failure::Failure;
use crate::folder::LinkFolder;
use crate::signals::TerminationSignals;
use crate::standard;

/// Connections at a time. More have to wait.
const CONNECTIONS: usize = 64;
/// How long a request may take to come, and a connection to be idle.
const READ_REQUEST_WITHIN: Duration = Duration::from_secs(10);
/// How long a connection may last. Prometheus opens another one.
const CLOSE_AFTER: Duration = Duration::from_secs(600);
/// The Prometheus text format.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Serves until a signal arrives.
pub(super) fn run(address: SocketAddr, folder: &LinkFolder) -> Result<(), Failure> {
    let (ended, end) = oneshot::channel();
    let signals = TerminationSignals::block().and_then(|signals| {
        signals.on_arrival(|signal| {
            // It fails if the server has failed, and ends the process itself.
            let _ = ended.send(signal);
        })
    });
    signals.map_err(Failure::signals)?;
    let cannot_listen = |error| Failure::new(format!("cannot listen on {address}: {error}"));
    let listener = TcpListener::bind(address).map_err(cannot_listen)?;
    listener.set_nonblocking(true).map_err(cannot_listen)?;
    let bound = listener.local_addr().map_err(cannot_listen)?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(cannot_listen)?;
    standard::print(&format!("http://{bound}/metrics\n")).map_err(Failure::output)?;
    let signal = runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener).map_err(cannot_listen)?;
        tokio::spawn(serve(listener, folder.clone()));
        end.await.map_err(|_| Failure::new("cannot wait for signals"))
    })?;
    Err(Failure::signal(signal))
}

async fn serve(listener: tokio::net::TcpListener, folder: LinkFolder) {
    let free = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&free).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            // The connection was given up before it was accepted.
            Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
            // Too many open files, for example: it may get better.
            Err(_) => {
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let folder = folder.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let response = respond(&request, &folder);
                async move { Ok::<_, Infallible>(response) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(READ_REQUEST_WITHIN)
                .serve_connection(TokioIo::new(stream), service);
            // What a client does wrong is its own concern.
            let _ = timeout(CLOSE_AFTER, connection).await;
            drop(permit);
        });
    }
}

fn respond(request: &Request<Incoming>, folder: &LinkFolder) -> Response<Full<Bytes>> {
    let (status, kind, text) = match (request.method(), request.uri().path()) {
        (&(Method::GET | Method::HEAD), "/metrics") => match metrics::text(folder) {
            Ok(text) => (StatusCode::OK, TEXT_FORMAT, text),
            Err(failure) => {
                let reason = failure.message().unwrap_or_default() + "\n";
                (StatusCode::INTERNAL_SERVER_ERROR, "text/plain; charset=utf-8", reason)
            }
        },
        (&(Method::GET | Method::HEAD), "/") => {
            (StatusCode::OK, "text/html; charset=utf-8", "<a href=\"/metrics\">metrics</a>\n".to_owned())
        }
        (&(Method::GET | Method::HEAD), _) => {
            (StatusCode::NOT_FOUND, "text/plain; charset=utf-8", "the metrics are at /metrics\n".to_owned())
        }
        _ => {
            (StatusCode::METHOD_NOT_ALLOWED, "text/plain; charset=utf-8", "only GET is allowed\n".to_owned())
        }
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    response
}
