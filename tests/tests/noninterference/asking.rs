//! Everything that a post can ask, asked in both worlds: every method of the contract, found by reflection.

use std::collections::BTreeMap;
use std::time::Duration;

use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, Kind, MethodDescriptor, ReflectMessage as _, Value};
use rand::RngExt as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use tasuki::call;
use tasuki_contract::identity::v1::SearchChildResponse;
use tasuki_contract::timeline::v1::{SubscribeRequest, subscribe_response::Message};
use tasuki_tests::Caller;
use tonic::{Request, Status};
use uuid::Uuid;

use crate::answer;
use crate::declassified::Declassified;
use crate::history::{Things, child_of};
use crate::people::{KINDS, person, ward};
use crate::samples;

/// Fields that follow from the salt of each event, and the times of reads: each world's own.
const SALTED: [&str; 5] = ["digest", "chain", "signature", "signed_at", "read_at"];
/// When a program that was too busy is asked again.
const AGAIN: Duration = Duration::from_millis(50);
/// Pages of one list that are followed.
const PAGES_MAX: usize = 50;

/// A method of the contract with a request to begin with.
pub struct Question {
    pub method: MethodDescriptor,
    request: Option<DynamicMessage>,
    /// Whether it answers without changing anything.
    pub reads: bool,
}

/// All methods; a method without a sample is a mistake of this test.
pub fn questions(pool: &DescriptorPool) -> Vec<Question> {
    let samples: BTreeMap<&str, samples::Sample> =
        samples::all().into_iter().map(|sample| (sample.method, sample)).collect();
    let mut all = Vec::new();
    for service in pool.services().filter(|s| s.full_name().starts_with("tasuki.")) {
        for method in service.methods() {
            let name = format!("{}/{}", service.name(), method.name());
            let sample = samples.get(name.as_str());
            assert!(method.is_server_streaming() || sample.is_some(), "{name} has no sample");
            let request =
                sample.map(|sample| DynamicMessage::deserialize(method.input(), &sample.request).unwrap());
            // Every command carries a context, and no query does; what a document is made of changes nothing yet, but
            // is no query either.
            let reads = method.input().get_field_by_name("context").is_none()
                && !["BeginAttachment", "PutChunk"].contains(&method.name());
            all.push(Question { method, request, reads });
        }
    }
    all
}

/// What of two histories a question may be about.
pub struct About<'a> {
    pub bundle: usize,
    pub things: [&'a Things; 2],
    /// Ids of events of either history.
    pub events: &'a [Uuid],
}

/// One answer as a client sees it.
#[derive(Debug, PartialEq)]
enum Answer {
    Bytes(Vec<u8>),
    Refused { code: tonic::Code, text: String, details: Vec<u8>, headers: String },
}

impl Answer {
    fn of(result: Result<Vec<u8>, Status>) -> Self {
        match result {
            Ok(bytes) => Self::Bytes(bytes),
            Err(status) => {
                let mut headers = status.metadata().clone().into_headers();
                headers.remove("date");
                Self::Refused {
                    code: status.code(),
                    text: status.message().to_owned(),
                    details: status.details().to_vec(),
                    headers: format!("{headers:?}"),
                }
            }
        }
    }

    /// The same without what follows from the salt of each event, which each world draws for itself: the chain of the
    /// feed. That it follows from nothing hidden is shown where it is made.
    fn without_salted(self, method: &MethodDescriptor) -> Self {
        let Self::Bytes(bytes) = self else { return self };
        let mut message = DynamicMessage::decode(method.output(), bytes.as_slice()).unwrap();
        clear_salted(&mut message);
        // A place among the reads is a time and an id: each world's own. Reads of one instant have no order, and one that
        // was tried again stands there twice.
        if method.name() == "ListReads" {
            message.clear_field_by_name("next_page_token");
            if let Some(Value::List(reads)) = message.get_field_by_name_mut("reads") {
                for read in reads.iter_mut() {
                    if let Value::Message(read) = read {
                        // The sentences, which name the minute; the rest says the same in codes.
                        read.clear_field_by_name("ja");
                        read.clear_field_by_name("en");
                    }
                }
                let encoded = |read: &Value| read.as_message().map(|read| read.encode_to_vec());
                reads.sort_by_key(encoded);
                reads.dedup_by_key(|read| encoded(read));
            }
        }
        Self::Bytes(message.encode_to_vec())
    }

    /// Without the one thing that a search tells of cases in which its caller has no part, as the page of exceptions
    /// says: that they exist.
    fn without_existence(self, question: &Question) -> Self {
        match self {
            Self::Bytes(bytes) if question.method.name() == "SearchChild" => {
                let mut response = SearchChildResponse::decode(bytes.as_slice()).unwrap();
                response.exists_ask_post_ids.clear();
                Self::Bytes(response.encode_to_vec())
            }
            other => other,
        }
    }

    fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }
}

fn clear_salted(message: &mut DynamicMessage) {
    let fields: Vec<_> = message.fields().map(|(field, _)| field).collect();
    for field in fields {
        if SALTED.contains(&field.name()) {
            message.clear_field(&field);
            continue;
        }
        match message.get_field_mut(&field) {
            Value::Message(inner) => clear_salted(inner),
            Value::List(all) => all.iter_mut().for_each(|value| {
                if let Value::Message(inner) = value {
                    clear_salted(inner);
                }
            }),
            _ => {}
        }
    }
}

/// Both callers of a post.
pub struct Pair {
    pub callers: [Caller; 2],
}

impl Pair {
    /// Asks a query in both worlds and follows its pages.
    ///
    /// Returns how many answers were no refusals, or what differs.
    pub async fn read(
        &self,
        question: &Question,
        about: &About<'_>,
        rng: &mut StdRng,
    ) -> Result<usize, String> {
        if question.method.is_server_streaming() {
            return self.stream(question).await;
        }
        let mut message = question.request.clone().ok_or("no sample")?;
        fill(&mut message, about, rng);
        if question.method.name() == "ListReads" {
            message.set_field_by_name("page_size", Value::I32(200));
        }
        let mut answered = 0;
        for _ in 0..PAGES_MAX {
            let answers = self.both(question, &message, &Uuid::now_v7().to_string()).await;
            let [one, other] =
                answers.map(|answer| answer.without_existence(question).without_salted(&question.method));
            if one != other {
                return Err(difference(question, &message, &one, &other));
            }
            let Answer::Bytes(bytes) = one else { return Ok(answered) };
            answered += 1;
            let response = DynamicMessage::decode(question.method.output(), bytes.as_slice()).unwrap();
            let next = response.get_field_by_name("next_page_token");
            let Some(next) = next.as_deref().and_then(Value::as_str).filter(|token| !token.is_empty()) else {
                return Ok(answered);
            };
            message.set_field_by_name("page_token", Value::String(next.to_owned()));
        }
        Ok(answered)
    }

    /// Gives a command in both worlds: both are refused alike, or both are taken.
    pub async fn command(
        &self,
        question: &Question,
        about: &About<'_>,
        rng: &mut StdRng,
        declassified: &Declassified,
    ) -> Result<usize, String> {
        let mut message = question.request.clone().ok_or("no sample")?;
        fill(&mut message, about, rng);
        let [one, other] = self.both(question, &message, &Uuid::from_u128(rng.random()).to_string()).await;
        let alike = match (&one, &other) {
            // Ids and times of what was made are each world's own.
            (Answer::Bytes(one), Answer::Bytes(other)) => {
                let shape = |bytes: &[u8]| {
                    let message = DynamicMessage::decode(question.method.output(), bytes).unwrap();
                    message.fields().map(|(field, _)| field.number()).collect::<Vec<_>>()
                };
                shape(one) == shape(other)
            }
            (one, other) => one == other,
        };
        if alike || declassified.allows(&question.method, [&one, &other].map(reason)) {
            return Ok(usize::from(!one.is_refusal()));
        }
        Err(difference(question, &message, &one, &other))
    }

    async fn both(&self, question: &Question, message: &DynamicMessage, id: &str) -> [Answer; 2] {
        let method = &question.method;
        let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
        let ask = |caller: &Caller| {
            let (caller, path) = (caller.clone(), path.clone());
            async move {
                // How busy the program is says nothing of what is hidden.
                loop {
                    let request: Request<Vec<u8>> = caller.request_as(message.encode_to_vec(), id);
                    match answer::call_request(&caller, &path, request).await {
                        Err(status) if busy(&status) => tokio::time::sleep(AGAIN).await,
                        result => return Answer::of(result),
                    }
                }
            }
        };
        let (one, other) = tokio::join!(ask(&self.callers[0]), ask(&self.callers[1]));
        [one, other]
    }

    /// The feed from its beginning until everything was sent.
    async fn stream(&self, question: &Question) -> Result<usize, String> {
        assert_eq!(question.method.name(), "Subscribe", "a stream without an entry");
        let listen = async |caller: &Caller| {
            let mut stream =
                caller.timeline().subscribe(caller.request(SubscribeRequest::default())).await?.into_inner();
            let mut sent = Vec::new();
            while let Some(message) = stream.message().await? {
                let beat = matches!(&message.message, Some(Message::Heartbeat(beat)) if beat.caught_up);
                sent.push(Answer::Bytes(message.encode_to_vec()).without_salted(&question.method));
                if beat {
                    break;
                }
            }
            Ok::<_, Status>(sent)
        };
        let (one, other) = tokio::join!(listen(&self.callers[0]), listen(&self.callers[1]));
        let [one, other] = [one, other].map(|sent| sent.map_err(|status| status.to_string()));
        if one == other { Ok(1) } else { Err(format!("Subscribe: {one:?}\nand: {other:?}")) }
    }
}

fn busy(status: &Status) -> bool {
    use tonic_types::StatusExt as _;
    status.get_error_details().error_info().is_some_and(|info| info.reason == "OVERLOADED")
}

/// The stable reason of a refusal; empty for an answer.
fn reason(answer: &Answer) -> String {
    use tonic_types::StatusExt as _;
    let Answer::Refused { code, text, details, .. } = answer else { return String::new() };
    let status = Status::with_details(*code, text, details.clone().into());
    status.get_error_details().error_info().map(|info| info.reason.clone()).unwrap_or_default()
}

fn difference(question: &Question, message: &DynamicMessage, one: &Answer, other: &Answer) -> String {
    let json = |message: &DynamicMessage| serde_json::to_string(message).unwrap();
    let shown = |answer: &Answer| match answer {
        Answer::Bytes(bytes) => {
            json(&DynamicMessage::decode(question.method.output(), bytes.as_slice()).unwrap())
        }
        Answer::Refused { code, text, .. } => format!("{code:?} {} {text}", reason(answer)),
    };
    let (name, asked) = (question.method.full_name(), json(message));
    format!("{name} {asked}\n  one:   {}\n  other: {}", shown(one), shown(other))
}

/// Puts ids of the bundle into the fields that are named after them, and asks for small pages, without waiting.
fn fill(message: &mut DynamicMessage, about: &About<'_>, rng: &mut StdRng) {
    let things = about.things[usize::from(rng.random_bool(0.2))];
    let fields: Vec<_> = message.descriptor().fields().collect();
    for field in fields {
        if let Kind::Message(_) = field.kind() {
            if message.has_field(&field) {
                match message.get_field_mut(&field) {
                    Value::Message(inner) => fill(inner, about, rng),
                    Value::List(all) => {
                        for value in all {
                            if let Value::Message(inner) = value {
                                fill(inner, about, rng);
                            }
                        }
                    }
                    _ => {}
                }
            }
            continue;
        }
        let value = match field.name() {
            "case_id" | "survivor_case_id" => any(things.cases.iter().map(ToString::to_string), rng),
            "referral_id" => any(things.referrals.iter().map(|(_, id)| id.to_string()), rng),
            "handoff_id" => any(things.handoffs.iter().map(|(_, id)| id.to_string()), rng),
            "meeting_id" => any(things.meetings.iter().map(ToString::to_string), rng),
            "attachment_id" => any(things.attachments.iter().map(ToString::to_string), rng),
            "consultation_id" => any(things.consultations.iter().map(ToString::to_string), rng),
            "after_event_id" => any(about.events.iter().map(ToString::to_string), rng),
            "name_kana" => child_of(about.bundle, rng.random()),
            "agency_id" => person(about.bundle, rng.random_range(0..KINDS.len())).agency.to_string(),
            "municipality_code" => crate::people::MUNICIPALITY.to_owned(),
            "cursor" | "page_token" | "etag" => String::new(),
            "page_size" => {
                let size = *[1, 3, 200].choose(rng).unwrap();
                message.set_field(&field, Value::I32(size));
                continue;
            }
            // Documents here have one chunk.
            "index" => {
                message.set_field(&field, Value::I32(0));
                continue;
            }
            "wait_s" => {
                message.clear_field(&field);
                continue;
            }
            name if name.ends_with("post_id") => somebody(about, rng),
            name if name.ends_with("post_ids") => {
                message.set_field(&field, Value::List(vec![Value::String(somebody(about, rng))]));
                continue;
            }
            _ => continue,
        };
        // A list of ids keeps what the sample says.
        if !field.is_list() && matches!(field.kind(), Kind::String) {
            message.set_field(&field, Value::String(value));
        }
    }
}

fn somebody(about: &About<'_>, rng: &mut StdRng) -> String {
    match rng.random_range(0..=KINDS.len()) {
        place if place < KINDS.len() => person(about.bundle, place).post.to_string(),
        _ => ward().post.to_string(),
    }
}

/// One of them, or one that nobody knows.
fn any(ids: impl Iterator<Item = String>, rng: &mut StdRng) -> String {
    let ids: Vec<String> = ids.collect();
    match ids.choose(rng) {
        Some(id) if rng.random_bool(0.9) => id.clone(),
        _ => Uuid::from_u128(rng.random()).to_string(),
    }
}

/// That the contract is the one that the samples are for.
pub fn pool() -> DescriptorPool {
    call::pool().unwrap()
}
