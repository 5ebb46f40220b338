//! With exporting off: a caller's trace passes through, nothing is invented, log lines still carry what there is.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    io,
    sync::{Arc, Mutex},
};

use http::{HeaderMap, HeaderValue};
use tasuki_telemetry::{
    LogFormat, TelemetryConfig, TelemetryError, build, child_of, extract_http, inject_http,
    traceparent_of_current,
};
use tracing::{Instrument as _, dispatcher::with_default, info_span};

const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// Keeps what is logged.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    fn json(&self) -> Vec<serde_json::Value> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn off(lines: &Lines) -> tracing::Dispatch {
    let config = TelemetryConfig { log_format: LogFormat::Json, ..TelemetryConfig::default() };
    let lines = lines.clone();
    build("tasuki", &config, move || lines.clone()).unwrap().0
}

#[test]
fn without_a_caller_that_brings_one_there_is_no_traceparent() {
    with_default(&off(&Lines::default()), || {
        info_span!(target: "tasuki_intake", "submit").in_scope(|| {
            assert_eq!(traceparent_of_current(), None);
            let mut headers = HeaderMap::new();
            inject_http(&mut headers);
            assert!(headers.is_empty());
        });
    });
}

#[test]
fn a_callers_traceparent_is_passed_along_as_it_came_also_to_inner_spans() {
    with_default(&off(&Lines::default()), || {
        let call = info_span!(target: "tasuki_intake", "submit");
        assert!(child_of(&call, TRACEPARENT));
        call.in_scope(|| {
            info_span!(target: "tasuki_log", "append").in_scope(|| {
                assert_eq!(traceparent_of_current().as_deref(), Some(TRACEPARENT));
                let mut headers = HeaderMap::new();
                inject_http(&mut headers);
                assert_eq!(extract_http(&headers).as_deref(), Some(TRACEPARENT));
            });
        });
        assert_eq!(traceparent_of_current(), None, "it ends with the call");
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn it_follows_an_instrumented_future_across_threads() {
    let dispatch = off(&Lines::default());
    let future = with_default(&dispatch, || {
        let call = info_span!(target: "tasuki_intake", "submit");
        assert!(child_of(&call, TRACEPARENT));
        async {
            tokio::task::yield_now().await;
            traceparent_of_current()
        }
        .instrument(call)
    });
    assert_eq!(tokio::spawn(future).await.unwrap().as_deref(), Some(TRACEPARENT));
}

#[test]
fn what_is_no_traceparent_changes_nothing() {
    with_default(&off(&Lines::default()), || {
        for bad in [
            "",
            "garbage",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-B7AD6B7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-name-of-a-person",
        ] {
            let span = info_span!(target: "tasuki_intake", "submit");
            assert!(!child_of(&span, bad), "{bad}");
            span.in_scope(|| assert_eq!(traceparent_of_current(), None, "{bad}"));
            let mut headers = HeaderMap::new();
            headers.insert("traceparent", HeaderValue::from_str(bad).unwrap());
            assert_eq!(extract_http(&headers), None, "{bad}");
        }
        let mut twice = HeaderMap::new();
        twice.append("traceparent", HeaderValue::from_static(TRACEPARENT));
        twice.append("traceparent", HeaderValue::from_static(TRACEPARENT));
        assert_eq!(extract_http(&twice), None);
    });
}

#[test]
fn a_span_that_is_already_entered_cannot_change_its_parent() {
    with_default(&off(&Lines::default()), || {
        let call = info_span!(target: "tasuki_intake", "submit");
        call.in_scope(|| assert!(!child_of(&call, TRACEPARENT)));
    });
}

#[test]
fn json_lines_carry_the_trace_their_span_and_their_fields_and_no_path() {
    let lines = Lines::default();
    with_default(&off(&lines), || {
        tracing::info!(target: "tasuki_intake", "before \"quotes\"\nand a break");
        let call = info_span!(target: "tasuki_intake", "submit");
        child_of(&call, TRACEPARENT);
        call.in_scope(|| tracing::warn!(target: "tasuki_intake", position = 3_u64, refused = true, "within"));
        tracing::debug!(target: "tasuki_intake", "below the filter");
    });
    let lines = lines.json();
    let [before, within] = lines.as_slice() else { panic!("{lines:?}") };
    assert_eq!(before["message"], "before \"quotes\"\nand a break");
    assert!(before.get("trace_id").is_none());
    assert_eq!(within["trace_id"], TRACEPARENT[3..35]);
    assert_eq!(within["span_id"], TRACEPARENT[36..52]);
    assert_eq!(within["span"], "submit");
    assert_eq!(within["level"], "WARN");
    assert_eq!(within["fields"], serde_json::json!({"position": 3, "refused": true}));
    assert!(within["time"].as_str().unwrap().ends_with('Z'));
    assert!(!within.to_string().contains(".rs"));
}

#[test]
fn a_filter_that_is_none_is_refused() {
    let config = TelemetryConfig { log_filter: "tasuki=loud".into(), ..TelemetryConfig::default() };
    assert!(matches!(build("tasuki", &config, io::sink), Err(TelemetryError::Filter(_))));
}
