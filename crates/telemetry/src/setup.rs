//! Puts the layers together: stderr, traces, exported log lines, metrics.
//!
//! Exporting happens on threads of the SDK, so a slow or absent collector delays nobody: full queues drop.
//! Only [`init`] touches process-wide state; [`build`] makes the same thing for one part of a process, so that a
//! test can hold several services at once.

use std::{
    io::{self, IsTerminal as _},
    time::Duration,
};

use opentelemetry::{KeyValue, global, trace::TracerProvider as _};
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_otlp::{
    ExporterBuildError, LogExporter, MetricExporter, SpanExporter, WithExportConfig as _,
};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    logs::SdkLoggerProvider,
    metrics::SdkMeterProvider,
    propagation::TraceContextPropagator,
    trace::{SdkTracerProvider, Tracer},
};
use tracing::{Dispatch, level_filters::LevelFilter};
use tracing_opentelemetry::OpenTelemetryLayer;
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::{FilterExt as _, Targets, filter_fn},
    fmt::MakeWriter,
    layer::SubscriberExt as _,
};

use crate::{LogFormat, TelemetryConfig, json::JsonLines, metrics, positions::WithoutPositions};

/// What is exported: our own spans and lines. A list of what may leave, because a list of what may not would miss
/// the next library that logs a query or a header.
const EXPORTED_TARGETS: &str = "tasuki";
/// How long the end of a process may be held up for each of traces and log lines.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(3);

type BoxedLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// Why telemetry could not be set up. The process should say so and go on or stop as its operator wants.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `TASUKI_LOG` is not a filter.
    #[error("log filter is not valid: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// The endpoint is no `http://` address that an exporter can be built for.
    #[error("exporter cannot be built: {0}")]
    Exporter(#[from] ExporterBuildError),
    /// This process has already been set up.
    #[error("telemetry of this process is already set up")]
    AlreadySet,
    /// What was still queued could not be delivered in time.
    #[error("telemetry was not delivered: {0}")]
    NotDelivered(String),
}

/// Keeps exporting alive; delivers what is queued and ends it when dropped.
///
/// Its end blocks the thread (a few seconds at most) while the exporters need the tokio runtime, so it must come
/// before the runtime's end and not on a single-threaded one.
#[must_use = "dropping the guard ends exporting"]
#[derive(Default)]
pub struct Guard {
    running: Option<Providers>,
}

struct Providers {
    traces: SdkTracerProvider,
    metrics: SdkMeterProvider,
    logs: SdkLoggerProvider,
}

/// Sets up logging and, when the configuration says so, exporting for this process. Once, before anything logs.
///
/// Needs a multi-threaded tokio runtime when exporting. Errors: as [`build`], and `TelemetryError::AlreadySet`.
pub fn init(service_name: &'static str, config: &TelemetryConfig) -> Result<Guard, TelemetryError> {
    let (dispatch, guard) = build(service_name, config, io::stderr)?;
    tracing::dispatcher::set_global_default(dispatch).map_err(|_| TelemetryError::AlreadySet)?;
    global::set_text_map_propagator(TraceContextPropagator::new());
    if let Some(providers) = &guard.running {
        global::set_tracer_provider(providers.traces.clone());
        global::set_meter_provider(providers.metrics.clone());
    }
    metrics(); // binds the instruments to the provider of just now
    Ok(guard)
}

/// The same as [`init`] without touching process-wide state: a dispatcher to use, and its guard.
///
/// `writer` receives the log lines. Errors: `TelemetryError::Filter` and `TelemetryError::Exporter`; an unreachable
/// collector is no error.
pub fn build<W>(
    service_name: &'static str,
    config: &TelemetryConfig,
    writer: W,
) -> Result<(Dispatch, Guard), TelemetryError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let mut layers = vec![console(config, writer)?];
    let running = match &config.otlp_endpoint {
        Some(endpoint) => {
            let providers = Providers::start(service_name, endpoint)?;
            layers.push(traces(providers.traces.tracer("tasuki")));
            layers.push(OpenTelemetryTracingBridge::new(&providers.logs).with_filter(exported()).boxed());
            Some(providers)
        }
        None => {
            layers.push(passed_along());
            None
        }
    };
    Ok((Dispatch::new(Registry::default().with(layers)), Guard { running }))
}

impl Guard {
    /// Delivers what is queued now. Errors: `TelemetryError::NotDelivered`.
    pub fn flush(&self) -> Result<(), TelemetryError> {
        match &self.running {
            Some(Providers { traces, metrics, logs }) => {
                first_error([traces.force_flush(), metrics.force_flush(), logs.force_flush()])
            }
            None => Ok(()),
        }
    }

    /// Delivers what is queued and ends exporting. Errors: `TelemetryError::NotDelivered`; it has ended all the same.
    pub fn shutdown(mut self) -> Result<(), TelemetryError> {
        self.end()
    }

    /// The meter that the instruments of this guard's service come from; `None` without exporting.
    /// For tests that hold several services, everything else uses [`metrics()`].
    pub fn meter(&self) -> Option<opentelemetry::metrics::Meter> {
        use opentelemetry::metrics::MeterProvider as _;
        self.running.as_ref().map(|providers| providers.metrics.meter("tasuki"))
    }

    fn end(&mut self) -> Result<(), TelemetryError> {
        match self.running.take() {
            Some(Providers { traces, metrics, logs }) => first_error([
                traces.shutdown_with_timeout(SHUTDOWN_LIMIT),
                metrics.shutdown_with_timeout(SHUTDOWN_LIMIT),
                logs.shutdown_with_timeout(SHUTDOWN_LIMIT),
            ]),
            None => Ok(()),
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            tracing::warn!(%error, "telemetry ended with a loss");
        }
    }
}

impl Providers {
    fn start(service_name: &'static str, endpoint: &str) -> Result<Self, TelemetryError> {
        // The builder reads OTEL_RESOURCE_ATTRIBUTES, the operator's own words, and detects neither host nor user.
        let resource = Resource::builder()
            .with_service_name(service_name)
            .with_attributes([
                KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
                KeyValue::new("service.instance.id", uuid::Uuid::new_v4().to_string()),
            ])
            .build();
        let spans = SpanExporter::builder().with_tonic().with_endpoint(endpoint).build()?;
        let points = MetricExporter::builder().with_tonic().with_endpoint(endpoint).build()?;
        let lines = LogExporter::builder().with_tonic().with_endpoint(endpoint).build()?;
        Ok(Self {
            traces: SdkTracerProvider::builder()
                .with_resource(resource.clone())
                .with_batch_exporter(spans)
                .build(),
            metrics: SdkMeterProvider::builder()
                .with_resource(resource.clone())
                .with_periodic_exporter(points)
                .build(),
            logs: SdkLoggerProvider::builder()
                .with_resource(resource)
                .with_log_processor(WithoutPositions)
                .with_batch_exporter(lines)
                .build(),
        })
    }
}

fn console<W>(config: &TelemetryConfig, writer: W) -> Result<BoxedLayer, TelemetryError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(&config.log_filter)?;
    let terminal = io::stderr().is_terminal();
    let json = match config.log_format {
        LogFormat::Auto => !terminal,
        LogFormat::Human => false,
        LogFormat::Json => true,
    };
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(terminal && !json);
    Ok(if json {
        lines.event_format(JsonLines).with_filter(filter).boxed()
    } else {
        lines.compact().with_filter(filter).boxed()
    })
}

/// Spans become traces. Log lines do not become span events: they are exported once, as log records with the ids.
fn traces(tracer: Tracer) -> BoxedLayer {
    OpenTelemetryLayer::new(tracer)
        .with_location(false) // source paths can hold the name of who built it
        .with_threads(false)
        .with_target(false)
        .with_filter(exported().and(filter_fn(|metadata| metadata.is_span())))
        .boxed()
}

/// Without exporting: a tracer that makes no ids but hands a parent's context on, which is the whole promise of
/// [`crate::traceparent_of_current`] when off.
fn passed_along() -> BoxedLayer {
    tracing_opentelemetry::layer()
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        .with_filter(exported().and(filter_fn(|metadata| metadata.is_span())))
        .boxed()
}

fn exported() -> Targets {
    Targets::new().with_target(EXPORTED_TARGETS, LevelFilter::INFO)
}

fn first_error(results: [OTelSdkResult; 3]) -> Result<(), TelemetryError> {
    results
        .into_iter()
        .find_map(Result::err)
        .map_or(Ok(()), |error| Err(TelemetryError::NotDelivered(error.to_string())))
}
