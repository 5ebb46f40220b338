//! Calls as a post makes them, and requests to make them with.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tasuki_contract::attachments::v1::attachment_service_client::AttachmentServiceClient;
use tasuki_contract::common::v1::{CodeList, Date, Fact, fact::Value};
use tasuki_contract::consent::v1::consent_service_client::ConsentServiceClient;
use tasuki_contract::directory::v1::directory_service_client::DirectoryServiceClient;
use tasuki_contract::erasure::v1::erasure_service_client::ErasureServiceClient;
use tasuki_contract::handoff::v1::handoff_service_client::HandoffServiceClient;
use tasuki_contract::identity::v1::identity_service_client::IdentityServiceClient;
use tasuki_contract::intake::v1 as intake;
use tasuki_contract::intake::v1::consultation_service_client::ConsultationServiceClient;
use tasuki_contract::intake::v1::referral_service_client::ReferralServiceClient;
use tasuki_contract::minutes::v1::minutes_service_client::MinutesServiceClient;
use tasuki_contract::timeline::v1::timeline_service_client::TimelineServiceClient;
use tasuki_domain::ids::PostId;
use tonic::Request;
use tonic::transport::Channel;
use uuid::Uuid;

/// Somebody who calls for one post.
#[derive(Clone, Debug)]
pub struct Caller {
    /// To the program.
    pub channel: Channel,
    /// Bearer token.
    pub token: String,
    /// The post.
    pub post: PostId,
}

impl Caller {
    /// A request with a fresh request id.
    pub fn request<M>(&self, message: M) -> Request<M> {
        self.request_as(message, &Uuid::now_v7().to_string())
    }

    /// A request with this request id: a retry carries the same.
    pub fn request_as<M>(&self, message: M, request_id: &str) -> Request<M> {
        let mut request = Request::new(message);
        let metadata = request.metadata_mut();
        let bearer = format!("Bearer {}", self.token);
        metadata.insert("authorization", bearer.parse().expect("a token is ASCII"));
        metadata.insert("x-purpose", "care_coordination".parse().expect("a code is ASCII"));
        metadata.insert("x-request-id", request_id.parse().expect("an id is ASCII"));
        request
    }

    /// The referral service.
    pub fn referrals(&self) -> ReferralServiceClient<Channel> {
        ReferralServiceClient::new(self.channel.clone())
    }

    /// The consultation service.
    pub fn consultations(&self) -> ConsultationServiceClient<Channel> {
        ConsultationServiceClient::new(self.channel.clone())
    }

    /// The identity service.
    pub fn identity(&self) -> IdentityServiceClient<Channel> {
        IdentityServiceClient::new(self.channel.clone())
    }

    /// The hand-off service.
    pub fn handoffs(&self) -> HandoffServiceClient<Channel> {
        HandoffServiceClient::new(self.channel.clone())
    }

    /// The minutes service.
    pub fn minutes(&self) -> MinutesServiceClient<Channel> {
        MinutesServiceClient::new(self.channel.clone())
    }

    /// The consent service.
    pub fn consents(&self) -> ConsentServiceClient<Channel> {
        ConsentServiceClient::new(self.channel.clone())
    }

    /// The documents of cases.
    pub fn attachments(&self) -> AttachmentServiceClient<Channel> {
        AttachmentServiceClient::new(self.channel.clone())
    }

    /// The directory service.
    pub fn directory(&self) -> DirectoryServiceClient<Channel> {
        DirectoryServiceClient::new(self.channel.clone())
    }

    /// The erasure service.
    pub fn erasures(&self) -> ErasureServiceClient<Channel> {
        ErasureServiceClient::new(self.channel.clone())
    }

    /// The timeline service.
    pub fn timeline(&self) -> TimelineServiceClient<Channel> {
        TimelineServiceClient::new(self.channel.clone())
    }
}

/// A fact with a text value.
pub fn fact(key: &str, value: Value) -> Fact {
    Fact { key: key.to_owned(), value: Some(value), ..Fact::default() }
}

/// A referral that opens a case, with the seven items and nothing that could be taken for a real child.
pub fn referral(to: PostId, label: &str) -> intake::SubmitReferralRequest {
    let date = |year, month, day| Some(Date { year, month, day });
    intake::SubmitReferralRequest {
        to_post_id: to.to_string(),
        municipality_code: "131172".to_owned(),
        referral_purpose: "nicu_discharge".to_owned(),
        expected_discharge_on: date(2027, 7, 1),
        sender_telephone: "03-0000-0001".to_owned(),
        message: format!("MARK-REFERRAL-{label}"),
        facts: vec![
            fact("birth_date", Value::Date(Date { year: 2021, month: 11, day: 5 })),
            fact("care_procedures", Value::Codes(CodeList { codes: vec!["suctioning".to_owned()] })),
            fact("primary_diagnosis", Value::Text(format!("MARK-DIAGNOSIS-{label}"))),
        ],
        label: label.to_owned(),
        consent_at_source: Some(intake::ConsentAtSource {
            anonymous: false,
            signer_relation: "mother".to_owned(),
            signed_on: date(2026, 4, 5),
        }),
        ..intake::SubmitReferralRequest::default()
    }
}

/// A random source whose seed a failing test prints: from `TASUKI_SEED`, or a fresh one.
pub struct Seed(pub StdRng);

impl Seed {
    /// Prints the seed.
    pub fn new(test: &str) -> Self {
        Self::given_or(test, || rand::rng().random())
    }

    /// The same, but for its default: a search so wide that it may find something new belongs where somebody waits for
    /// it, not where a change waits to be taken.
    pub fn given_or(test: &str, default: impl FnOnce() -> u64) -> Self {
        let given = std::env::var("TASUKI_SEED").ok().and_then(|s| s.parse().ok());
        let seed: u64 = given.unwrap_or_else(default);
        println!("{test}: TASUKI_SEED={seed}");
        Self(StdRng::seed_from_u64(seed))
    }
}
