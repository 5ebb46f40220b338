//! What leaves a process, seen by a real OTLP collector over gRPC. Two dispatchers stand for two processes: they
//! share nothing but the strings that are passed between them.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{io, time::Duration};

use tasuki_telemetry::{
    Guard, Instruments, TelemetryConfig, build, child_of, extract_http, inject_http, link_to,
    receiver::{Receiver, Span},
    traceparent_of_current,
};
use tracing::{Dispatch, dispatcher::with_default, info_span};

const LIMIT: Duration = Duration::from_secs(20);

fn process(name: &'static str, receiver: &Receiver) -> (Dispatch, Guard) {
    let config = TelemetryConfig { otlp_endpoint: Some(receiver.endpoint()), ..TelemetryConfig::default() };
    build(name, &config, io::sink).unwrap()
}

fn span(receiver: &Receiver, service: &str, name: &str) -> Span {
    let found = receiver.spans().into_iter().find(|span| span.service == service && span.name == name);
    found.unwrap_or_else(|| panic!("no span {name} of {service} among {:?}", receiver.spans()))
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_of_two_processes_joined_by_a_traceparent_are_one_trace() {
    let receiver = Receiver::start().await.unwrap();
    let (intake, intake_guard) = process("tasuki-intake", &receiver);
    let (relay, relay_guard) = process("tasuki-relay", &receiver);

    let mut headers = http::HeaderMap::new();
    let passed = with_default(&intake, || {
        assert_eq!(traceparent_of_current(), None, "outside of a span there is nothing to pass");
        info_span!(target: "tasuki_intake", "submit", rpc.method = "Submit").in_scope(|| {
            info_span!(target: "tasuki_log", "append").in_scope(|| {
                inject_http(&mut headers);
                traceparent_of_current().unwrap()
            })
        })
    });
    assert_eq!(extract_http(&headers).as_ref(), Some(&passed));
    with_default(&relay, || {
        let publish = info_span!(target: "tasuki_relay", "publish");
        assert!(child_of(&publish, &passed));
        publish.in_scope(|| assert_eq!(traceparent_of_current().unwrap()[3..35], passed[3..35]));
        let batch = info_span!(target: "tasuki_relay", "batch");
        link_to(&batch, &passed);
        batch.in_scope(|| assert_ne!(traceparent_of_current().unwrap()[3..35], passed[3..35]));
    });
    intake_guard.shutdown().unwrap();
    relay_guard.shutdown().unwrap();

    assert!(receiver.wait_until(LIMIT, |seen| seen.spans().len() == 4).await, "{:?}", receiver.spans());
    let submit = span(&receiver, "tasuki-intake", "submit");
    let append = span(&receiver, "tasuki-intake", "append");
    let publish = span(&receiver, "tasuki-relay", "publish");
    let batch = span(&receiver, "tasuki-relay", "batch");
    assert_eq!(passed, format!("00-{}-{}-01", append.trace_id, append.span_id));
    assert_eq!((submit.trace_id.as_str(), submit.parent_span_id.as_str()), (append.trace_id.as_str(), ""));
    assert_eq!(append.parent_span_id, submit.span_id);
    assert_eq!((publish.trace_id, publish.parent_span_id), (append.trace_id.clone(), append.span_id.clone()));
    assert_eq!(batch.links, [(append.trace_id.clone(), append.span_id)]);
    assert_ne!(batch.trace_id, append.trace_id);
    assert!(submit.attributes.contains(&("rpc.method".into(), "Submit".into())), "{:?}", submit.attributes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_line_inside_a_span_arrives_with_its_trace_once_and_not_as_a_span_event() {
    let receiver = Receiver::start().await.unwrap();
    let (dispatch, guard) = process("tasuki-intake", &receiver);
    let passed = with_default(&dispatch, || {
        info_span!(target: "tasuki_intake", "submit").in_scope(|| {
            tracing::warn!(target: "tasuki_intake", position = 17_u64, "line within");
            traceparent_of_current().unwrap()
        })
    });
    guard.flush().unwrap();
    assert!(receiver.wait_until(LIMIT, |seen| !seen.logs().is_empty() && !seen.spans().is_empty()).await);
    let logs = receiver.logs();
    let [line] = logs.as_slice() else { panic!("{logs:?}") };
    assert_eq!(
        (line.service.as_str(), line.body.as_str(), line.severity.as_str()),
        ("tasuki-intake", "line within", "WARN")
    );
    assert_eq!(format!("00-{}-{}-01", line.trace_id, line.span_id), passed);
    assert_eq!(line.attributes, [("position".to_owned(), "17".to_owned())]);
    let with_text = receiver.containing(b"line within");
    assert_eq!(with_text.len(), 1, "in the log export and nowhere else: {with_text:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_libraries_say_never_leaves_the_process_and_neither_do_host_user_or_source_paths() {
    let receiver = Receiver::start().await.unwrap();
    let (dispatch, guard) = process("tasuki-intake", &receiver);
    with_default(&dispatch, || {
        info_span!(target: "tasuki_intake", "submit").in_scope(|| {
            info_span!(target: "a_library", "library_span", query = "marker-of-a-library").in_scope(|| {
                tracing::error!(target: "a_library", "marker-of-a-library");
                tracing::info!(target: "tasuki_intake", "marker-of-ours");
                assert!(traceparent_of_current().is_some(), "found past the span that is not exported");
            });
        });
    });
    guard.shutdown().unwrap();
    assert!(receiver.wait_until(LIMIT, |seen| !seen.logs().is_empty() && !seen.spans().is_empty()).await);
    assert_eq!(receiver.containing(b"marker-of-ours").len(), 1, "the search finds what is there");
    assert!(receiver.containing(b"marker-of-a-library").is_empty());
    assert!(receiver.containing(b"library_span").is_empty());
    for key in [&b"host."[..], b"process.owner", b"user.", b".rs"] {
        assert!(receiver.containing(key).is_empty(), "{}", String::from_utf8_lossy(key));
    }
    assert!(!receiver.containing(b"service.instance.id").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_instrument_arrives_with_its_unit_and_only_closed_labels() {
    let receiver = Receiver::start().await.unwrap();
    let (_dispatch, guard) = process("tasuki", &receiver);
    let instruments = Instruments::new(&guard.meter().unwrap());
    instruments.append_done(Duration::from_millis(3));
    instruments.batch_committed(12, Duration::from_millis(2));
    instruments.relay_behind(5, Duration::from_millis(1500));
    instruments.projector_behind(7, Duration::ZERO);
    let (kept, dropped) = (instruments.stream_opened(), instruments.stream_opened());
    drop(dropped);
    instruments.rpc_done("tasuki.intake.v1.Intake/Submit", 9, Duration::from_millis(4));
    instruments.rpc_done("_OTHER", 99, Duration::from_millis(4));
    instruments.reads_recorded(2);
    guard.flush().unwrap();
    assert!(receiver.wait_until(LIMIT, |seen| !seen.metrics().is_empty()).await);
    drop(kept);

    let points = receiver.metrics();
    let value = |name: &str, unit: &str| {
        let found: Vec<_> = points.iter().filter(|point| point.name == name).collect();
        let [point] = found.as_slice() else { panic!("{name}: {found:?}") };
        assert_eq!((point.unit.as_str(), point.labels.as_slice()), (unit, &[][..]), "{name}");
        point.value
    };
    assert_eq!(value("tasuki.append.duration", "s"), 1.0);
    assert_eq!(value("tasuki.append.batch.size", "{event}"), 1.0);
    assert_eq!(value("tasuki.commit.duration", "s"), 1.0);
    assert_eq!(value("tasuki.relay.lag.positions", "{position}"), 5.0);
    assert_eq!(value("tasuki.relay.lag.duration", "s"), 1.5);
    assert_eq!(value("tasuki.projector.lag.positions", "{position}"), 7.0);
    assert_eq!(value("tasuki.projector.lag.duration", "s"), 0.0);
    assert_eq!(value("tasuki.streams.open", "{stream}"), 1.0);
    assert_eq!(value("tasuki.reads.recorded", "{read}"), 2.0);
    let mut calls: Vec<_> = points.iter().filter(|point| point.name == "rpc.server.call.duration").collect();
    calls.sort_by_key(|point| point.labels.iter().find(|(key, _)| key == "rpc.method").cloned());
    let label =
        |at: usize, key: &str| calls[at].labels.iter().find(|(name, _)| name == key).unwrap().1.clone();
    assert_eq!(
        (label(0, "rpc.method"), label(0, "rpc.response.status_code")),
        ("_OTHER".into(), "_OTHER".into())
    );
    assert_eq!(label(1, "rpc.response.status_code"), "FAILED_PRECONDITION");
    assert_eq!(calls.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_holds_nobody_up() {
    let receiver = Receiver::start().await.unwrap();
    let endpoint = receiver.endpoint();
    drop(receiver); // its port refuses from here on
    let config = TelemetryConfig { otlp_endpoint: Some(endpoint), ..TelemetryConfig::default() };
    let (dispatch, guard) = build("tasuki", &config, io::sink).unwrap();
    let begun = std::time::Instant::now();
    with_default(&dispatch, || {
        for _ in 0..5_000 {
            info_span!(target: "tasuki_log", "append")
                .in_scope(|| tracing::info!(target: "tasuki_log", "line"));
        }
    });
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let result = guard.shutdown();
    assert!(result.is_err(), "a loss is reported");
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}
