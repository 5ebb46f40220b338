//! Trace context as one string: from a call, into an event's header, onto a NATS message, back into a span.
//!
//! It never carries baggage or `tracestate`, which could smuggle content. Strings that come from outside are parsed
//! and written anew, so that what we store is always 55 characters of the W3C format.

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::{
    Context,
    propagation::{Extractor, Injector, TextMapPropagator as _},
    trace::TraceContextExt as _,
};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// The name of the header, in gRPC metadata, NATS headers and event headers alike.
const TRACEPARENT: &str = "traceparent";
const TRACEPARENT_HEADER: HeaderName = HeaderName::from_static(TRACEPARENT);

/// The W3C `traceparent` of the current span: what to pass on, and what an event's header keeps.
///
/// `None` outside of any exported span. With exporting off it is `None` too, unless the call brought one (see
/// [`child_of`]); that one is returned as it came.
pub fn traceparent_of_current() -> Option<String> {
    // Entering a span makes it the current OpenTelemetry context; asking that, not `Span::current()`, finds the
    // enclosing exported span when the innermost one is filtered out.
    Context::map_current(traceparent_of)
}

/// Makes `span` a child of `traceparent`. Call it before the span is entered, and `instrument` with it afterwards.
///
/// Returns whether it did. A span that has already been entered gets a link instead; a string that is no
/// `traceparent` changes nothing.
pub fn child_of(span: &Span, traceparent: &str) -> bool {
    let Some(parent) = parse(traceparent) else { return false };
    let became_child = span.set_parent(parent.clone()).is_ok();
    if !became_child {
        span.add_link(parent.span().span_context().clone());
    }
    became_child
}

/// Links `span` to `traceparent`: for work on many events at once (a batch of the relay or the projector), which
/// has no single parent. A string that is no `traceparent` changes nothing.
pub fn link_to(span: &Span, traceparent: &str) {
    if let Some(linked) = parse(traceparent) {
        span.add_link(linked.span().span_context().clone());
    }
}

/// The `traceparent` that the headers of a call carry; `None` for none, several or a malformed one.
pub fn extract_http(headers: &HeaderMap) -> Option<String> {
    let mut values = headers.get_all(&TRACEPARENT_HEADER).iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    parse(value.to_str().ok()?).as_ref().and_then(traceparent_of)
}

/// Puts the current span's `traceparent` into the headers of an outgoing call; without one it changes nothing.
pub fn inject_http(headers: &mut HeaderMap) {
    if let Some(value) = traceparent_of_current().and_then(|text| HeaderValue::from_str(&text).ok()) {
        headers.insert(TRACEPARENT_HEADER, value);
    }
}

/// The remote context that `traceparent` names, or `None` when it is not a valid one.
fn parse(traceparent: &str) -> Option<Context> {
    let carrier = Carrier(Some(traceparent.to_owned()));
    let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &carrier);
    context.span().span_context().is_valid().then_some(context)
}

fn traceparent_of(context: &Context) -> Option<String> {
    let mut carrier = Carrier(None);
    TraceContextPropagator::new().inject_context(context, &mut carrier);
    carrier.0
}

/// The one header that is propagated.
struct Carrier(Option<String>);

impl Extractor for Carrier {
    fn get(&self, key: &str) -> Option<&str> {
        if key == TRACEPARENT { self.0.as_deref() } else { None }
    }
    fn keys(&self) -> Vec<&str> {
        vec![TRACEPARENT]
    }
}

impl Injector for Carrier {
    fn set(&mut self, key: &str, value: String) {
        if key == TRACEPARENT {
            self.0 = Some(value);
        }
    }
}
