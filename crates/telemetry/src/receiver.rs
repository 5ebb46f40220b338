//! A small OTLP collector for tests: takes traces, metrics and log records over gRPC and keeps them in memory.
//!
//! It keeps the bytes of each request as they came, so that a test can search everything that left a process for
//! what must not, unknown fields included. It never writes anything anywhere and has no limits: for tests alone,
//! behind the feature `test-receiver`.

use std::{
    convert::Infallible,
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf as _, BufMut as _, Bytes};
use opentelemetry_proto::tonic::{
    collector::{
        logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest,
        trace::v1::ExportTraceServiceRequest,
    },
    common::v1::{AnyValue, KeyValue, any_value::Value},
    metrics::v1::metric::Data,
    resource::v1::Resource,
};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use tonic::{
    Status,
    body::Body,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    server::{Grpc, NamedService},
    transport::{Server, server::TcpIncoming},
};

/// The three kinds of telemetry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Spans.
    Traces,
    /// Metric points.
    Metrics,
    /// Log records.
    Logs,
}

/// One export request, as it came over the wire (after gRPC framing).
#[derive(Debug, Clone)]
pub struct RawRequest {
    /// Which service it was sent to.
    pub signal: Signal,
    /// The protobuf message, byte for byte.
    pub bytes: Bytes,
}

/// A span that arrived. Ids are lower-case hexadecimal, an absent one is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// `service.name` of the sender.
    pub service: String,
    /// The span's name.
    pub name: String,
    /// The trace that it belongs to.
    pub trace_id: String,
    /// Its own id.
    pub span_id: String,
    /// Its parent's id.
    pub parent_span_id: String,
    /// The trace and span ids of its links.
    pub links: Vec<(String, String)>,
    /// Attributes, values as text.
    pub attributes: Vec<(String, String)>,
}

/// A log record that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// `service.name` of the sender.
    pub service: String,
    /// `INFO`, `WARN`, …
    pub severity: String,
    /// The message.
    pub body: String,
    /// The trace that it was written in.
    pub trace_id: String,
    /// The span that it was written in.
    pub span_id: String,
    /// Fields, values as text.
    pub attributes: Vec<(String, String)>,
}

/// A metric that arrived, once for each export and set of labels.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// `service.name` of the sender.
    pub service: String,
    /// The instrument's name.
    pub name: String,
    /// Its UCUM unit.
    pub unit: String,
    /// The value of a gauge or sum, the number of measurements of a histogram.
    pub value: f64,
    /// Labels, values as text.
    pub labels: Vec<(String, String)>,
}

/// A running collector on a free loopback port.
pub struct Receiver {
    address: SocketAddr,
    store: Arc<Store>,
    arrivals: watch::Receiver<usize>,
    server: JoinHandle<()>,
}

struct Store {
    requests: Mutex<Vec<RawRequest>>,
    arrived: watch::Sender<usize>,
}

impl Receiver {
    /// Starts a collector. Errors: when no loopback port can be had. It ends when the value is dropped.
    pub async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let (arrived, arrivals) = watch::channel(0);
        let store = Arc::new(Store { requests: Mutex::default(), arrived });
        let router = Server::builder()
            .add_service(Collector::<TRACES>(Arc::clone(&store)))
            .add_service(Collector::<METRICS>(Arc::clone(&store)))
            .add_service(Collector::<LOGS>(Arc::clone(&store)));
        let server = tokio::spawn(async move {
            // An error here shows as exports that fail, which the waiting test reports.
            let _ = router.serve_with_incoming(TcpIncoming::from(listener)).await;
        });
        Ok(Self { address, store, arrivals, server })
    }

    /// What to put into `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits until `condition` holds of this collector, looking again at each arrival. False when `limit` passes first.
    pub async fn wait_until(&self, limit: Duration, condition: impl Fn(&Self) -> bool) -> bool {
        let mut arrivals = self.arrivals.clone();
        let held = tokio::time::timeout(limit, arrivals.wait_for(|_| condition(self))).await;
        matches!(held, Ok(Ok(_)))
    }

    /// Every request so far, in order of arrival.
    pub fn requests(&self) -> Vec<RawRequest> {
        self.store.lock().clone()
    }

    /// The requests whose bytes contain `marker` anywhere.
    pub fn containing(&self, marker: &[u8]) -> Vec<RawRequest> {
        let contains =
            |bytes: &[u8]| !marker.is_empty() && bytes.windows(marker.len()).any(|part| part == marker);
        self.requests().into_iter().filter(|request| contains(&request.bytes)).collect()
    }

    /// All spans so far.
    pub fn spans(&self) -> Vec<Span> {
        let requests = self.decoded::<ExportTraceServiceRequest>(Signal::Traces);
        let groups = requests.into_iter().flat_map(|request| request.resource_spans);
        let of_group = |group: opentelemetry_proto::tonic::trace::v1::ResourceSpans| {
            let service = service_of(group.resource.as_ref());
            group.scope_spans.into_iter().flat_map(|scope| scope.spans).map(move |span| Span {
                service: service.clone(),
                name: span.name,
                trace_id: hex(&span.trace_id),
                span_id: hex(&span.span_id),
                parent_span_id: hex(&span.parent_span_id),
                links: span.links.iter().map(|link| (hex(&link.trace_id), hex(&link.span_id))).collect(),
                attributes: texts(&span.attributes),
            })
        };
        groups.flat_map(of_group).collect()
    }

    /// All log records so far.
    pub fn logs(&self) -> Vec<LogLine> {
        let requests = self.decoded::<ExportLogsServiceRequest>(Signal::Logs);
        let groups = requests.into_iter().flat_map(|request| request.resource_logs);
        let of_group = |group: opentelemetry_proto::tonic::logs::v1::ResourceLogs| {
            let service = service_of(group.resource.as_ref());
            group.scope_logs.into_iter().flat_map(|scope| scope.log_records).map(move |record| LogLine {
                service: service.clone(),
                severity: record.severity_text,
                body: text(record.body.as_ref()),
                trace_id: hex(&record.trace_id),
                span_id: hex(&record.span_id),
                attributes: texts(&record.attributes),
            })
        };
        groups.flat_map(of_group).collect()
    }

    /// All metric points so far.
    pub fn metrics(&self) -> Vec<Point> {
        let requests = self.decoded::<ExportMetricsServiceRequest>(Signal::Metrics);
        let mut points = Vec::new();
        for group in requests.into_iter().flat_map(|request| request.resource_metrics) {
            let service = service_of(group.resource.as_ref());
            for metric in group.scope_metrics.into_iter().flat_map(|scope| scope.metrics) {
                for (value, labels) in values(metric.data.as_ref()) {
                    points.push(Point {
                        service: service.clone(),
                        name: metric.name.clone(),
                        unit: metric.unit.clone(),
                        value,
                        labels,
                    });
                }
            }
        }
        points
    }

    /// A request that does not decode counts as empty here; its bytes are still in [`Receiver::requests`].
    fn decoded<T: prost::Message + Default>(&self, signal: Signal) -> Vec<T> {
        let requests = self.store.lock();
        let of_signal = requests.iter().filter(|request| request.signal == signal);
        of_signal.map(|request| T::decode(request.bytes.clone()).unwrap_or_default()).collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Store {
    fn lock(&self) -> MutexGuard<'_, Vec<RawRequest>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, signal: Signal, bytes: Bytes) {
        let count = {
            let mut requests = self.lock();
            requests.push(RawRequest { signal, bytes });
            requests.len()
        };
        self.arrived.send_replace(count);
    }
}

const TRACES: usize = 0;
const METRICS: usize = 1;
const LOGS: usize = 2;
const SERVICES: [(&str, Signal); 3] = [
    ("opentelemetry.proto.collector.trace.v1.TraceService", Signal::Traces),
    ("opentelemetry.proto.collector.metrics.v1.MetricsService", Signal::Metrics),
    ("opentelemetry.proto.collector.logs.v1.LogsService", Signal::Logs),
];

/// One of the three services, by its index in `SERVICES`. Not the generated servers: those decode before anyone has
/// seen the bytes.
#[derive(Clone)]
struct Collector<const SERVICE: usize>(Arc<Store>);

impl<const SERVICE: usize> NamedService for Collector<SERVICE> {
    const NAME: &'static str = SERVICES[SERVICE].0;
}

impl<const SERVICE: usize> tower::Service<http::Request<Body>> for Collector<SERVICE> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let store = Arc::clone(&self.0);
        Box::pin(async move {
            let export = tower::service_fn(move |request: tonic::Request<Bytes>| {
                store.keep(SERVICES[SERVICE].1, request.into_inner());
                // An empty message is an answer of each kind that means: all accepted.
                std::future::ready(Ok::<_, Status>(tonic::Response::new(Bytes::new())))
            });
            Ok(Grpc::new(Raw).unary(export, request).await)
        })
    }
}

/// Messages as bytes.
#[derive(Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }
    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

type Labels = Vec<(String, String)>;

fn values(data: Option<&Data>) -> Vec<(f64, Labels)> {
    use opentelemetry_proto::tonic::metrics::v1::{NumberDataPoint, number_data_point::Value};
    let number = |point: &NumberDataPoint| {
        #[expect(clippy::cast_precision_loss, reason = "counts of a test")]
        let value = match point.value {
            Some(Value::AsInt(value)) => value as f64,
            Some(Value::AsDouble(value)) => value,
            None => f64::NAN,
        };
        (value, texts(&point.attributes))
    };
    match data {
        Some(Data::Gauge(gauge)) => gauge.data_points.iter().map(number).collect(),
        Some(Data::Sum(sum)) => sum.data_points.iter().map(number).collect(),
        Some(Data::Histogram(histogram)) => {
            #[expect(clippy::cast_precision_loss, reason = "counts of a test")]
            let count = |count: u64| count as f64;
            histogram.data_points.iter().map(|point| (count(point.count), texts(&point.attributes))).collect()
        }
        Some(Data::ExponentialHistogram(_) | Data::Summary(_)) | None => Vec::new(),
    }
}

fn service_of(resource: Option<&Resource>) -> String {
    let attributes = resource.map_or(&[][..], |resource| &resource.attributes);
    let named = attributes.iter().find(|attribute| attribute.key == "service.name");
    named.map(|attribute| text(attribute.value.as_ref())).unwrap_or_default()
}

fn texts(attributes: &[KeyValue]) -> Labels {
    attributes.iter().map(|pair| (pair.key.clone(), text(pair.value.as_ref()))).collect()
}

fn text(value: Option<&AnyValue>) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::BoolValue(value)) => value.to_string(),
        Some(Value::IntValue(value)) => value.to_string(),
        Some(Value::DoubleValue(value)) => value.to_string(),
        Some(other) => format!("{other:?}"),
        None => String::new(),
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut out, byte| {
        // Writing to a String cannot fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}
