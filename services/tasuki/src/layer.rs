//! What stands around every call: its span, its duration, its deadline, a bound on how many run at once, and reasons
//! for errors that the transport makes itself.

use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::{HeaderValue, Request, Response};
use tasuki_kit::{Platform, errors};
use tasuki_log::AppendError;
use tasuki_telemetry::ClosedSet;
use tasuki_transport::server::Peer;
use tokio::sync::Semaphore;
use tonic::{Code, Status};
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

/// What [`ClosedSet`] calls a method that is not of the contract.
const OTHER: &str = "_OTHER";
/// Calls that run at once in this process; more are refused at once, so that no queue grows while a server is away.
/// More than the writer takes, whose own bound is met first.
const CALLS_MAX: usize = 4_096;
static CALLS: Semaphore = Semaphore::const_new(CALLS_MAX);
/// Calls that take no place among them. The first mostly waits for news, one caller for each post: whoever polls must not
/// shut out whoever acts. The second is refused for no load.
const UNBOUNDED: [&str; 2] =
    ["tasuki.timeline.v1.TimelineService/ReadFeed", "tasuki.consent.v1.ConsentService/WithdrawConsent"];

/// Wraps a service in [`Observed`].
#[derive(Clone, Debug)]
pub struct Observe(pub Platform);

impl<S> Layer<S> for Observe {
    type Service = Observed<S>;
    fn layer(&self, inner: S) -> Self::Service {
        Observed { inner, platform: self.0.clone() }
    }
}

/// A service whose calls are traced and measured.
#[derive(Clone, Debug)]
pub struct Observed<S> {
    inner: S,
    platform: Platform,
}

impl<S, B, R> Service<Request<B>> for Observed<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    R: Default + Send + 'static,
    S::Error: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let method = METHODS.member(request.uri().path());
        let span = tracing::info_span!(target: "tasuki", "rpc", rpc.system = "grpc", rpc.method = method);
        if let Some(parent) = tasuki_telemetry::extract_http(request.headers()) {
            tasuki_telemetry::child_of(&span, &parent);
        }
        let started = Instant::now();
        // Health and reflection are asked above all when there is too much to do.
        let bounded = method != OTHER && !UNBOUNDED.contains(&method);
        let refused = |status: Status| {
            tasuki_telemetry::metrics().rpc_done(method, status.code() as i32, Duration::ZERO);
            let response: Response<R> = status.into_http();
            Box::pin(std::future::ready(Ok(response)))
        };
        // Before its message is read and before it takes a place: who has no token costs next to nothing.
        if method != OTHER {
            let mut given = request.headers().get_all(http::header::AUTHORIZATION).iter();
            let first = given.next().and_then(|v| v.to_str().ok());
            let caller = match self.platform.authenticate(first, given.next().is_some()) {
                Ok(caller) => caller,
                Err(status) => return refused(status),
            };
            let peer = request.extensions().get::<Arc<Peer>>();
            if peer.is_some_and(|peer| !peer.may_speak_for(caller.agency)) {
                return refused(with_reason(
                    Code::Unauthenticated,
                    "CERTIFICATE_OF_ANOTHER_AGENCY",
                    "the token is not of an agency that the connection's certificate names",
                    "接続の証明書とトークンの機関が一致しません",
                ));
            }
        }
        let permit = bounded.then(|| CALLS.try_acquire());
        if let Some(Err(_)) = permit {
            return refused(errors::append_failed(&AppendError::Overloaded));
        }
        // tonic keeps the same time around this layer, a moment later, and would answer CANCELLED without a reason.
        let deadline = time_left(request.headers()).map(tokio::time::sleep);
        // The inner service starts its work when called, so it is called inside the span.
        let future = span.in_scope(|| self.inner.call(request));
        Box::pin(
            async move {
                let _permit = permit;
                let mut response = tokio::select! {
                    biased;
                    response = future => response?,
                    () = passed(deadline) => with_reason(
                        Code::DeadlineExceeded,
                        "DEADLINE_EXCEEDED",
                        "the deadline has passed",
                        "時間切れです",
                    )
                    .into_http(),
                };
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
    let status = if message.contains("message%20length%20too%20large") || message.contains("length too large")
    {
        with_reason(
            Code::ResourceExhausted,
            "MESSAGE_TOO_LARGE",
            "the message is larger than 1 MiB",
            "メッセージが大きすぎます",
        )
    } else if code == Code::Internal as i32 && message.contains("decode") {
        with_reason(
            Code::InvalidArgument,
            "MALFORMED_MESSAGE",
            "the message is not of the method's request type",
            "メッセージを読み取れません",
        )
    } else if code == Code::Unimplemented as i32 {
        with_reason(
            Code::Unimplemented,
            "UNKNOWN_METHOD",
            "there is no such method here",
            "そのメソッドはありません",
        )
    } else {
        return code;
    };
    for name in ["grpc-status", "grpc-message", "grpc-status-details-bin"] {
        headers.remove(name);
    }
    let _ = status.add_header(headers);
    headers.entry("grpc-status").or_insert(HeaderValue::from_static("2"));
    status.code() as i32
}

fn with_reason(code: Code, reason: &str, en: &str, ja: &str) -> Status {
    errors::status(code, reason, en, ja)
}

/// What `grpc-timeout` leaves for the call; `None` without one, or with one that cannot be read.
fn time_left(headers: &http::HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let digits = (1..=8).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit());
    let number: u64 = number.parse().ok().filter(|_| digits)?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3_600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

async fn passed(deadline: Option<tokio::time::Sleep>) {
    match deadline {
        Some(deadline) => deadline.await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_read_in_every_unit_and_nothing_else_is_one() {
        let left = |text: &str| {
            time_left(
                &[(http::HeaderName::from_static("grpc-timeout"), text.parse().unwrap())]
                    .into_iter()
                    .collect(),
            )
        };
        for (text, seconds) in
            [("2H", 7_200.0), ("3M", 180.0), ("5S", 5.0), ("400m", 0.4), ("7u", 7e-6), ("9n", 9e-9)]
        {
            assert_eq!(left(text), Some(Duration::from_secs_f64(seconds)), "{text}");
        }
        for text in ["", "S", "5", "5s", "-5S", "+5S", "123456789S", "5 S"] {
            assert_eq!(left(text), None, "{text}");
        }
    }
}
