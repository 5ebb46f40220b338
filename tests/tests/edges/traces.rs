//! One trace from the client's call to the subscriber's delivery, the metrics, the log lines; and nothing personal in
//! any of them.

use std::collections::BTreeSet;
use std::time::Duration;

use tasuki_contract::common::v1::{Fact, fact::Value};
use tasuki_contract::timeline::v1::GetCaseCardRequest;
use tasuki_telemetry::receiver::{Receiver, Span};
use tasuki_tests::{World, eventually, referral};

use crate::PROGRAM;
use crate::process::Process;
use crate::streams::{Feed, register};

const LIMIT: Duration = Duration::from_secs(60);
/// What a client that traces sends.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER_SPAN: &str = "00f067aa0ba902b7";
/// Another call, made while the database is away.
const FAILING_TRACE: &str = "5bf92f3577b34da6a3ce929d0e0e4737";
/// Everything that says something about a child in the referral of this test.
const MARKERS: [&str; 7] = [
    "MARK-LABEL",
    "MARK-REFERRAL-MARK-LABEL",
    "MARK-DIAGNOSIS-MARK-LABEL",
    "MARK-NAME",
    "090-7777-0001",
    "suctioning",
    "nicu_discharge",
];

/// Exports soon, so that the test need not wait.
const SOON: [(&str, &str); 5] = [
    ("OTEL_METRIC_EXPORT_INTERVAL", "200"),
    ("OTEL_BSP_SCHEDULE_DELAY", "100"),
    ("OTEL_BLRP_SCHEDULE_DELAY", "100"),
    ("TASUKI_LOG_FORMAT", "json"),
    ("TASUKI_LOG", "debug"),
];

fn traced<M>(mut request: tonic::Request<M>, trace: &str) -> tonic::Request<M> {
    let traceparent = format!("00-{trace}-{CALLER_SPAN}-01");
    request.metadata_mut().insert("traceparent", traceparent.parse().unwrap());
    request
}

/// Whether the span belongs to the trace, or says that it worked on it among others.
fn joined(span: &Span, trace: &str) -> bool {
    span.trace_id == trace || span.links.iter().any(|(linked, _)| linked == trace)
}

fn names(receiver: &Receiver, trace: &str) -> BTreeSet<String> {
    receiver.spans().iter().filter(|s| joined(s, trace)).map(|s| s.name.clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_leads_from_the_call_to_the_delivery_and_nothing_personal_leaves() {
    let world = World::start(PROGRAM).await.unwrap();
    let receiver = Receiver::start().await.unwrap();
    let endpoint = receiver.endpoint();
    let mut environment = vec![("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str())];
    environment.extend(SOON);
    let mut program = Process::serve(&world, &environment).await;
    register(&world, &program).await;
    let hospital = program.caller(&world, "hospital.discharge").await;
    let desk = program.caller(&world, "coordinator.desk").await;
    let mut feed = Feed::open(&desk, "").await.unwrap();
    feed.until_caught_up().await;

    let mut request = referral(desk.post, "MARK-LABEL");
    request.sender_telephone = "090-7777-0001".to_owned();
    let name = Value::Text("MARK-NAME".to_owned());
    request.facts.push(Fact { key: "name_kanji".to_owned(), value: Some(name), ..Fact::default() });
    let request = traced(hospital.request(request), TRACE);
    let sent = hospital.referrals().submit_referral(request).await.unwrap().into_inner();
    let delivered = loop {
        let item = feed.item().await.item.unwrap();
        if item.event_id == sent.receipt.as_ref().unwrap().event_id {
            break item;
        }
    };
    assert_eq!(delivered.traceparent.get(3..35), Some(TRACE), "the item says which call caused it");
    let request = GetCaseCardRequest { case_id: sent.case_id.clone(), after_event_id: String::new() };
    desk.timeline().get_case_card(desk.request(request)).await.unwrap();

    let stages = ["rpc", "append", "relay", "project", "deliver"];
    let whole = |r: &Receiver| stages.iter().all(|stage| names(r, TRACE).contains(*stage));
    assert!(receiver.wait_until(LIMIT, whole).await, "only {:?} of {stages:?}", names(&receiver, TRACE));
    let spans = receiver.spans();
    let of = |name: &str| spans.iter().find(|s| s.name == name && joined(s, TRACE)).unwrap();
    assert_eq!((of("rpc").trace_id.as_str(), of("rpc").parent_span_id.as_str()), (TRACE, CALLER_SPAN));
    assert_eq!(
        (&of("append").trace_id, &of("append").parent_span_id),
        (&of("rpc").trace_id, &of("rpc").span_id)
    );
    assert_eq!(of("deliver").trace_id, TRACE, "each delivery belongs to the trace of its event");

    let instruments = [
        "tasuki.append.duration",
        "tasuki.append.batch.size",
        "tasuki.commit.duration",
        "tasuki.relay.lag.positions",
        "tasuki.relay.lag.duration",
        "tasuki.projector.lag.positions",
        "tasuki.projector.lag.duration",
        "tasuki.streams.open",
        "tasuki.reads.recorded",
        "rpc.server.call.duration",
    ];
    let arrived = |r: &Receiver| {
        let names: BTreeSet<String> = r.metrics().into_iter().map(|p| p.name).collect();
        instruments.iter().all(|name| names.contains(*name))
    };
    assert!(receiver.wait_until(LIMIT, arrived).await, "{:?}", receiver.metrics());
    let open = |r: &Receiver| r.metrics().iter().any(|p| p.name == "tasuki.streams.open" && p.value == 1.0);
    assert!(receiver.wait_until(LIMIT, open).await, "no open stream was counted");

    // A fault is a line, and the line says in which call.
    world.stack.postgres.kill().await.unwrap();
    let request = GetCaseCardRequest { case_id: sent.case_id, after_event_id: String::new() };
    let failed = desk.timeline().get_case_card(traced(desk.request(request), FAILING_TRACE)).await;
    assert_eq!(failed.unwrap_err().code(), tonic::Code::Unavailable);
    let line = |r: &Receiver| r.logs().iter().any(|l| l.trace_id == FAILING_TRACE && l.body == "fault");
    assert!(receiver.wait_until(LIMIT, line).await, "no exported line of that trace: {:?}", receiver.logs());
    eventually("the line on standard error", LIMIT, || async {
        program.said().lines().any(|l| l.contains("\"fault\"") && l.contains(FAILING_TRACE))
    })
    .await;
    world.stack.postgres.restart().await.unwrap();

    program.signal("TERM").await;
    assert!(program.ended(LIMIT).await.success(), "{}", program.said());
    assert!(!receiver.containing(TRACE_BYTES).is_empty(), "the search finds what is there");
    let said = program.said();
    for marker in MARKERS {
        assert!(receiver.containing(marker.as_bytes()).is_empty(), "{marker} was exported");
        assert!(!said.contains(marker), "{marker} was written to a stream of the process");
    }
}

/// As OTLP carries it.
const TRACE_BYTES: &[u8] =
    &[0x4b, 0xf9, 0x2f, 0x35, 0x77, 0xb3, 0x4d, 0xa6, 0xa3, 0xce, 0x92, 0x9d, 0x0e, 0x0e, 0x47, 0x36];
