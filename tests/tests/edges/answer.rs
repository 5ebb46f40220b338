//! What a call was answered with, and calls of any method with any bytes.

use std::time::Duration;

use prost::bytes::{Buf as _, BufMut as _};
use prost_reflect::MethodDescriptor;
use tasuki_tests::Caller;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

/// An error as a client sees it.
#[derive(Debug)]
pub struct Seen {
    pub code: Code,
    /// `ErrorInfo.reason`.
    pub reason: String,
    /// Path and stable reason of each malformed field.
    pub fields: Vec<(String, String)>,
    /// `RetryInfo.retry_delay`.
    pub retry: Option<Duration>,
    /// All that the status says, as bytes that must not depend on what is hidden.
    pub whole: (Code, String, Vec<u8>),
}

impl Seen {
    /// Reads a status; one without a reason of our domain or without a Japanese text is a defect.
    pub fn of(status: &Status) -> Self {
        let details = status.get_error_details();
        let info = details.error_info().unwrap_or_else(|| panic!("no ErrorInfo: {status:?}"));
        assert_eq!(info.domain, "tasuki", "{status:?}");
        let localized =
            details.localized_message().unwrap_or_else(|| panic!("no LocalizedMessage: {status:?}"));
        assert_eq!(localized.locale, "ja");
        assert!(localized.message.chars().any(|c| ('\u{3040}'..='\u{9fff}').contains(&c)), "{localized:?}");
        assert!(status.message().is_ascii() && !status.message().is_empty(), "{status:?}");
        let violations = details.bad_request().into_iter().flat_map(|b| &b.field_violations);
        Self {
            code: status.code(),
            reason: info.reason.clone(),
            fields: violations.map(|v| (v.field.clone(), reason_of(&v.description))).collect(),
            retry: details.retry_info().and_then(|r| r.retry_delay),
            whole: (status.code(), status.message().to_owned(), status.details().to_vec()),
        }
    }

    /// The error of a call that must not have been accepted.
    pub fn refused<T: std::fmt::Debug>(result: Result<T, Status>) -> Self {
        Self::of(&result.expect_err("the call was accepted"))
    }
}

/// The stable reason that a description begins with; one without a text in both languages is a defect.
fn reason_of(description: &str) -> String {
    let (reason, text) = description.split_once(": ").unwrap_or_else(|| panic!("no text: {description}"));
    assert!(reason.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'), "{description}");
    let (en, ja) = text.split_once(" / ").unwrap_or_else(|| panic!("one language: {description}"));
    assert!(en.is_ascii() && !ja.is_ascii(), "{description}");
    reason.to_owned()
}

/// Calls `method` with the bytes of a request, well formed or not.
pub async fn call(caller: &Caller, method: &MethodDescriptor, message: Vec<u8>) -> Result<Vec<u8>, Status> {
    let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
    call_request(caller, &path, caller.request(message)).await
}

/// The same with the caller's own metadata, to any path.
pub async fn call_request(caller: &Caller, path: &str, request: Request<Vec<u8>>) -> Result<Vec<u8>, Status> {
    let mut grpc = Grpc::new(caller.channel.clone());
    grpc.ready().await.map_err(|e| Status::unavailable(e.to_string()))?;
    Ok(grpc.unary(request, path.parse().unwrap(), Raw).await?.into_inner())
}

/// Opens a stream; what it says until it is silent for a moment, or its error.
pub async fn begin_stream(caller: &Caller, path: &str, request: Request<Vec<u8>>) -> Result<Vec<u8>, Status> {
    let mut grpc = Grpc::new(caller.channel.clone());
    grpc.ready().await.map_err(|e| Status::unavailable(e.to_string()))?;
    let mut stream = grpc.server_streaming(request, path.parse().unwrap(), Raw).await?.into_inner();
    let mut said = Vec::new();
    while let Ok(next) = tokio::time::timeout(Duration::from_millis(50), stream.message()).await {
        match next? {
            Some(message) => said.extend(message),
            None => break,
        }
    }
    Ok(said)
}

/// A call that every post may make.
pub async fn is_let_in(caller: &Caller) -> Result<Vec<u8>, Status> {
    let path = "/tasuki.directory.v1.DirectoryService/ListPosts";
    call_request(caller, path, caller.request(Vec::new())).await
}

/// Messages as bytes.
#[derive(Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
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
    type Item = Vec<u8>;
    type Error = Status;
    fn encode(&mut self, item: Vec<u8>, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(item.as_slice());
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;
    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining()).to_vec()))
    }
}
