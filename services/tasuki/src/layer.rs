//! What stands around every call: its span, its duration, and reasons for errors that the transport makes itself.

use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll};
use std::time::Instant;

use http::{HeaderValue, Request, Response};
use tasuki_telemetry::ClosedSet;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use tower::{Layer, Service};
use tracing::Instrument as _;

/// Methods of the contract: the only names that a metric or a span bears.
static METHODS: LazyLock<ClosedSet> = LazyLock::new(|| {
    let pool = prost_reflect::DescriptorPool::decode(tasuki_contract::DESCRIPTORS)
        .expect("invariant: the contract's own descriptors");
    ClosedSet::new(pool.services().flat_map(|s| {
        let service = s.full_name().to_owned();
        s.methods().map(move |m| &*format!("{service}/{}", m.name()).leak()).collect::<Vec<&'static str>>()
    }))
});

/// Wraps a service in [`Observed`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Observe;

impl<S> Layer<S> for Observe {
    type Service = Observed<S>;
    fn layer(&self, inner: S) -> Self::Service {
        Observed(inner)
    }
}

/// A service whose calls are traced and measured.
#[derive(Clone, Debug)]
pub struct Observed<S>(S);

impl<S, B, R> Service<Request<B>> for Observed<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let method = METHODS.member(request.uri().path());
        let span = tracing::info_span!(target: "tasuki", "rpc", rpc.system = "grpc", rpc.method = method);
        if let Some(parent) = tasuki_telemetry::extract_http(request.headers()) {
            tasuki_telemetry::child_of(&span, &parent);
        }
        let started = Instant::now();
        // The inner service starts its work when called, so it is called inside the span.
        let future = span.in_scope(|| self.0.call(request));
        Box::pin(
            async move {
                let mut response = future.await?;
                let code = reasoned(response.headers_mut());
                tasuki_telemetry::metrics().rpc_done(method, code, started.elapsed());
                Ok(response)
            }
            .instrument(span),
        )
    }
}

/// Gives errors that the transport made itself a stable reason; returns the code of the call.
fn reasoned(headers: &mut http::HeaderMap) -> i32 {
    let Some(status) = headers.get("grpc-status") else { return 0 };
    let code = status.to_str().ok().and_then(|s| s.parse().ok()).unwrap_or(2);
    if code == 0 || headers.contains_key("grpc-status-details-bin") {
        return code;
    }
    let message = headers.get("grpc-message").and_then(|m| m.to_str().ok()).unwrap_or_default();
    let (code, reason, ja) =
        if message.contains("message%20length%20too%20large") || message.contains("length too large") {
            (Code::ResourceExhausted, "MESSAGE_TOO_LARGE", "メッセージが大きすぎます")
        } else if message.contains("imeout") {
            (Code::DeadlineExceeded, "DEADLINE_EXCEEDED", "時間切れです")
        } else if code == Code::Internal as i32 && message.contains("decode") {
            (Code::InvalidArgument, "MALFORMED_MESSAGE", "メッセージを読み取れません")
        } else {
            return code;
        };
    let text = match code {
        Code::ResourceExhausted => "the message is larger than 1 MiB",
        Code::DeadlineExceeded => "the deadline has passed",
        _ => "the message is not of the method's request type",
    };
    let mut details = tonic_types::ErrorDetails::with_error_info(reason, tasuki_kit::errors::DOMAIN, []);
    details.set_localized_message("ja", ja);
    let status = Status::with_error_details(code, text, details);
    for name in ["grpc-status", "grpc-message", "grpc-status-details-bin"] {
        headers.remove(name);
    }
    let _ = status.add_header(headers);
    headers.entry("grpc-status").or_insert(HeaderValue::from_static("2"));
    code as i32
}
