//! `tasuki call SERVICE/METHOD -d JSON`: any method of the contract, as JSON in and out.
//!
//! The messages come from the descriptors inside the program, so it needs no reflection and no other tool. Unknown
//! fields and misspelt names are errors that name what there is. A stream prints one JSON object a line until it ends or is interrupted.

use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, MethodDescriptor, SerializeOptions};
use serde_json::Value;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Channel;
use tonic::{Request, Status};
use tonic_types::StatusExt as _;

use crate::{Error, hint};

/// One call.
#[derive(Debug)]
pub struct Call {
    /// `IntakeService/Method`, or with the whole package.
    pub method: String,
    /// The request as JSON; `-` reads standard input.
    pub data: String,
    /// Bearer token.
    pub token: String,
    /// Purpose code.
    pub purpose: String,
    /// Request id; made when empty.
    pub request_id: String,
    /// The post to act for, where the token holds several.
    pub post: Option<String>,
}

/// The descriptors of the whole contract.
pub fn pool() -> Result<DescriptorPool, Error> {
    Ok(DescriptorPool::decode(tasuki_contract::DESCRIPTORS)?)
}

/// Finds a method by `Service/Method`, with or without its package.
///
/// Errors: names the methods of the service, or the services, when there is none of that name.
pub fn find(pool: &DescriptorPool, name: &str) -> Result<MethodDescriptor, Error> {
    let (service, method) = name.rsplit_once('/').ok_or("the method is written SERVICE/METHOD")?;
    let found = pool.services().find(|s| s.full_name() == service || s.name() == service);
    let Some(found) = found else {
        let names: Vec<String> = pool.services().map(|s| s.full_name().to_owned()).collect();
        return Err(format!("no service {service}; there are: {}", names.join(", ")).into());
    };
    found.methods().find(|m| m.name() == method).ok_or_else(|| {
        let names: Vec<String> = found.methods().map(|m| m.name().to_owned()).collect();
        format!("{} has no method {method}; it has: {}", found.name(), names.join(", ")).into()
    })
}

/// Makes the call and writes each answer as JSON.
///
/// Errors: the status in words, with its stable reason and the fields it names.
pub async fn call(channel: Channel, call: Call, out: &mut (impl std::io::Write + Send)) -> Result<(), Error> {
    let pool = pool()?;
    let method = find(&pool, &call.method)?;
    let text = if call.data == "-" { std::io::read_to_string(std::io::stdin())? } else { call.data.clone() };
    let json: Value = serde_json::from_str(&text).map_err(|e| format!("-d: {e}"))?;
    let message = DynamicMessage::deserialize(method.input(), &json).map_err(|e| {
        let why = hint::unknown(&method.input(), &json).unwrap_or_else(|| e.to_string());
        format!("-d: {why}")
    })?;

    let mut request = Request::new(message);
    let metadata = request.metadata_mut();
    metadata.insert("authorization", format!("Bearer {}", call.token).parse()?);
    metadata.insert("x-purpose", call.purpose.parse()?);
    let request_id =
        if call.request_id.is_empty() { uuid::Uuid::now_v7().to_string() } else { call.request_id.clone() };
    metadata.insert("x-request-id", request_id.parse()?);
    if let Some(post) = &call.post {
        metadata.insert("x-post", post.parse()?);
    }
    let path = format!("/{}/{}", method.parent_service().full_name(), method.name()).parse()?;
    let codec = DynamicCodec(method.output());
    let mut grpc = Grpc::new(channel);
    grpc.ready().await?;
    if method.is_server_streaming() {
        let mut stream =
            grpc.server_streaming(request, path, codec).await.map_err(|s| explain(&s))?.into_inner();
        while let Some(answer) = stream.message().await.map_err(|s| explain(&s))? {
            print(out, &answer, false)?;
        }
    } else {
        let answer = grpc.unary(request, path, codec).await.map_err(|s| explain(&s))?.into_inner();
        print(out, &answer, true)?;
    }
    Ok(())
}

fn print(out: &mut impl std::io::Write, message: &DynamicMessage, pretty: bool) -> Result<(), Error> {
    let options = SerializeOptions::new().stringify_64_bit_integers(false);
    let mut bytes = Vec::new();
    if pretty {
        message.serialize_with_options(&mut serde_json::Serializer::pretty(&mut bytes), &options)?;
    } else {
        message.serialize_with_options(&mut serde_json::Serializer::new(&mut bytes), &options)?;
    }
    bytes.push(b'\n');
    out.write_all(&bytes)?;
    out.flush()?;
    Ok(())
}

/// A status in words: code, reason, text in both languages, fields, retry advice.
pub fn explain(status: &Status) -> String {
    let details = status.get_error_details();
    let mut text = format!("{:?}", status.code());
    if let Some(info) = details.error_info() {
        text.push_str(&format!(" {}", info.reason));
    }
    text.push_str(&format!(": {}", status.message()));
    if let Some(localized) = details.localized_message() {
        text.push_str(&format!(" / {}", localized.message));
    }
    for violation in details.bad_request().iter().flat_map(|b| &b.field_violations) {
        text.push_str(&format!("\n  {}: {}", violation.field, violation.description));
    }
    if let Some(delay) = details.retry_info().and_then(|r| r.retry_delay) {
        text.push_str(&format!("\n  retry after {delay:?}"));
    }
    text
}

/// Messages of the contract by descriptor; it holds the type of the answer.
#[derive(Clone, Debug)]
pub(crate) struct DynamicCodec(pub(crate) MessageDescriptor);

impl Codec for DynamicCodec {
    type Encode = DynamicMessage;
    type Decode = DynamicMessage;
    type Encoder = Self;
    type Decoder = Self;
    fn encoder(&mut self) -> Self {
        self.clone()
    }
    fn decoder(&mut self) -> Self {
        self.clone()
    }
}

impl Encoder for DynamicCodec {
    type Item = DynamicMessage;
    type Error = Status;
    fn encode(&mut self, item: DynamicMessage, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.encode(buffer).map_err(|e| Status::internal(e.to_string()))
    }
}

impl Decoder for DynamicCodec {
    type Item = DynamicMessage;
    type Error = Status;
    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<DynamicMessage>, Status> {
        let message =
            DynamicMessage::decode(self.0.clone(), buffer).map_err(|e| Status::internal(e.to_string()))?;
        Ok(Some(message))
    }
}
