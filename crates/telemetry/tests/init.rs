//! The process-wide set-up; alone in its binary, since it can happen only once.
#![allow(clippy::unwrap_used, missing_docs)]

use std::time::Duration;

use tasuki_telemetry::{
    TelemetryConfig, TelemetryError, init, metrics, receiver::Receiver, traceparent_of_current,
};

const LIMIT: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn a_process_is_set_up_once_and_its_traces_logs_and_metrics_arrive_when_the_guard_goes() {
    let receiver = Receiver::start().await.unwrap();
    let config = TelemetryConfig { otlp_endpoint: Some(receiver.endpoint()), ..TelemetryConfig::default() };
    let guard = init("tasuki", &config).unwrap();
    assert!(matches!(init("tasuki", &TelemetryConfig::default()), Err(TelemetryError::AlreadySet)));

    let passed = tracing::info_span!(target: "tasuki_log", "append").in_scope(|| {
        tracing::info!(target: "tasuki_log", "appended");
        metrics().append_done(Duration::from_millis(1));
        traceparent_of_current().unwrap()
    });
    drop(guard);
    let arrived =
        |seen: &Receiver| !(seen.spans().is_empty() || seen.logs().is_empty() || seen.metrics().is_empty());
    assert!(receiver.wait_until(LIMIT, arrived).await, "{:?}", receiver.requests());
    assert_eq!(receiver.spans()[0].trace_id, passed[3..35]);
    assert_eq!(receiver.logs()[0].trace_id, passed[3..35]);
    assert!(receiver.metrics().iter().any(|point| point.name == "tasuki.append.duration"));
}
