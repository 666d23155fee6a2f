//! [`serve`]: the counts of all links as metrics for Prometheus, over HTTP.

use std::convert::Infallible;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus::{IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};
use tokio::runtime;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use crate::connections::Connections;
use crate::context::{Direction, Register};
use crate::failure::Failure;

/// Connections at a time. More have to wait.
const CONNECTIONS: usize = 16;
/// How long a request may take to come, and a connection to be idle.
const READ_REQUEST_WITHIN: Duration = Duration::from_secs(10);
/// How long a connection may last. Prometheus opens another one.
const CLOSE_AFTER: Duration = Duration::from_secs(600);
/// The Prometheus text format.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";
/// Of each metric of a link.
const LABELS: [&str; 3] = ["direction", "link", "key"];

/// Counts that go up and down: the name of the count, and of its metric.
const GAUGES: [(&str, &str, &str); 2] = [
    ("backlog", "backlog_bytes", "Bytes that wait for the network, or for the link that is made"),
    ("up", "up", "1 while the link is there and read, or while messages of the other bridge arrive"),
];
/// Counts that only rise. One that is not here is a metric, too.
const COUNTERS: [(&str, &str, &str); 12] = [
    ("fragments", "fragments_total", "Fragments that were sent, or published into the link that is made"),
    ("bytes", "payload_bytes_total", "Bytes of their payloads"),
    ("messages", "messages_total", "Network messages with fragments"),
    ("lost_at_origin", "lost_at_origin_total", "Fragments lost before they reached the network"),
    ("dropped", "dropped_total", "Fragments dropped because the network, or a consumer, was too slow"),
    ("lost_in_network", "lost_in_network_total", "Fragments lost on the network, and not sent again"),
    ("recovered", "recovered_total", "Fragments that were sent again after a gap"),
    ("cuts", "cuts_total", "Times that messages stopped to arrive"),
    ("bridge_restarts", "bridge_restarts_total", "Times that the other bridge was started again"),
    ("producer_restarts", "producer_restarts_total", "Times that another producer came to the link"),
    ("links_made_anew", "links_made_anew_total", "Times that the link was made anew"),
    ("rejected", "rejected_total", "Messages that were not of a bridge, or of a second one for the same key"),
];

/// What metrics are made of.
#[derive(Clone)]
struct Counted {
    register: Register,
    connections: Connections,
}

/// Serves metrics at `address`, from a thread of its own, until the process ends. Returns the address: port 0 is any free one.
///
/// # Errors
///
/// The process cannot listen there.
pub fn serve(
    address: SocketAddr,
    register: &Register,
    connections: &Connections,
) -> Result<SocketAddr, Failure> {
    let cannot_listen = |error| Failure::new(format!("cannot listen on {address} for metrics: {error}"));
    let listener = TcpListener::bind(address).map_err(cannot_listen)?;
    listener.set_nonblocking(true).map_err(cannot_listen)?;
    let bound = listener.local_addr().map_err(cannot_listen)?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(cannot_listen)?;
    let counted = Counted { register: register.clone(), connections: connections.clone() };
    let answer = move || runtime.block_on(accept(listener, counted));
    thread::Builder::new().name("metrics".to_owned()).spawn(answer).map_err(cannot_listen)?;
    Ok(bound)
}

async fn accept(listener: TcpListener, counted: Counted) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
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
        let counted = counted.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let response = respond(&request, &counted);
                async move { Ok::<_, Infallible>(response) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(READ_REQUEST_WITHIN)
                .serve_connection(TokioIo::new(stream), service);
            // What a client does wrong is its own concern.
            _ = timeout(CLOSE_AFTER, connection).await;
            drop(permit);
        });
    }
}

fn respond(request: &Request<Incoming>, counted: &Counted) -> Response<Full<Bytes>> {
    let plain = "text/plain; charset=utf-8";
    let (status, kind, text) = match (request.method(), request.uri().path()) {
        (&(Method::GET | Method::HEAD), "/metrics") => match text(counted) {
            Ok(text) => (StatusCode::OK, TEXT_FORMAT, text),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, plain, format!("{error}\n")),
        },
        (&(Method::GET | Method::HEAD), _) => {
            (StatusCode::NOT_FOUND, plain, "the metrics are at /metrics\n".to_owned())
        }
        _ => (StatusCode::METHOD_NOT_ALLOWED, plain, "only GET is allowed\n".to_owned()),
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// All metrics, in a registry of their own.
fn text(counted: &Counted) -> prometheus::Result<String> {
    let registry = Registry::new();
    let gauge = IntGauge::new("tango_bridge_connections", "Other processes to which the network connects")?;
    registry.register(Box::new(gauge.clone()))?;
    gauge.set(counted.connections.count() as i64);
    let links = counted.register.all();
    let names = links.first().map_or_else(Vec::new, |link| link.counts.all().map(|(name, _)| name).to_vec());
    for name in names {
        let values = links.iter().map(|link| {
            let value = link.counts.all().iter().find(|(of, _)| *of == name).map_or(0, |(_, value)| *value);
            ([direction(link.direction), &*link.link, &*link.key], value)
        });
        if let Some((_, metric, help)) = GAUGES.iter().find(|(of, ..)| *of == name) {
            let gauge = IntGaugeVec::new(Opts::new(format!("tango_bridge_{metric}"), *help), &LABELS)?;
            registry.register(Box::new(gauge.clone()))?;
            values.for_each(|(labels, value)| gauge.with_label_values(&labels).set(value as i64));
        } else {
            let known = COUNTERS.iter().find(|(of, ..)| *of == name);
            let metric = known.map_or_else(|| format!("{name}_total"), |(_, metric, _)| (*metric).to_owned());
            let help = known.map_or(name, |(.., help)| help);
            let counter = IntCounterVec::new(Opts::new(format!("tango_bridge_{metric}"), help), &LABELS)?;
            registry.register(Box::new(counter.clone()))?;
            values.for_each(|(labels, value)| counter.with_label_values(&labels).inc_by(value));
        }
    }
    TextEncoder::new().encode_to_string(&registry.gather())
}

/// As a word.
pub(crate) fn direction(direction: Direction) -> &'static str {
    match direction {
        Direction::Publish => "publish",
        Direction::Subscribe => "subscribe",
    }
}
