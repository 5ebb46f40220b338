//! The requests that load consists of: a referral of about a kilobyte with six facts, nobody's in particular.

use jiff::ToSpan as _;
use jiff::tz::TimeZone;
use tasuki_contract::common::v1::{CodeList, Date, Fact, TextList, fact::Value};
use tasuki_contract::intake::v1::{AcceptReferralRequest, ConsentAtSource, SubmitReferralRequest};
use tonic::Request;
use tonic::metadata::{Ascii, MetadataValue};
use uuid::Uuid;

use crate::Error;

/// A referral to the post, still without its label.
pub(super) fn referral(to: &str) -> SubmitReferralRequest {
    let text = |length: usize| "測定のための文。".chars().cycle().take(length).collect::<String>();
    let texts = |count: usize, length| Value::Texts(TextList { texts: vec![text(length); count] });
    let date = |year, month, day| Date { year, month, day };
    let codes = ["suctioning", "oxygen_therapy"].map(str::to_owned).to_vec();
    SubmitReferralRequest {
        to_post_id: to.to_owned(),
        municipality_code: "131172".to_owned(),
        referral_purpose: "nicu_discharge".to_owned(),
        expected_discharge_on: Some(date(2030, 7, 1)),
        sender_telephone: "03-0000-0001".to_owned(),
        message: text(80),
        facts: vec![
            fact("birth_date", Value::Date(date(2021, 11, 5))),
            fact("care_procedures", Value::Codes(CodeList { codes })),
            fact("primary_diagnosis", Value::Text(text(20))),
            fact("medications", texts(2, 25)),
            fact("emergency_signs", texts(2, 25)),
            fact("family_wishes", Value::Text(text(60))),
        ],
        consent_at_source: Some(ConsentAtSource {
            anonymous: false,
            signer_relation: "mother".to_owned(),
            signed_on: Some(date(2022, 4, 5)),
        }),
        ..SubmitReferralRequest::default()
    }
}

/// The same with a label of its own.
pub(super) fn labelled(mut referral: SubmitReferralRequest) -> SubmitReferralRequest {
    referral.label = format!("測定 {}", Uuid::now_v7().simple());
    referral
}

/// The receiver takes it up and meets the family tomorrow.
pub(super) fn acceptance(referral_id: String) -> AcceptReferralRequest {
    let tomorrow = jiff::Timestamp::now().to_zoned(TimeZone::UTC).date().saturating_add(1.day());
    AcceptReferralRequest {
        referral_id,
        first_contact_on: Some(Date {
            year: tomorrow.year().into(),
            month: tomorrow.month().into(),
            day: tomorrow.day().into(),
        }),
        ..AcceptReferralRequest::default()
    }
}

/// A bearer token as it travels.
pub(super) type Bearer = MetadataValue<Ascii>;

/// The token as it travels.
pub(super) fn bearer(token: &str) -> Result<Bearer, Error> {
    Ok(format!("Bearer {token}").parse()?)
}

/// The message with token, purpose and a request id of its own.
pub(super) fn authorised<M>(message: M, bearer: &Bearer) -> Request<M> {
    let mut request = Request::new(message);
    let metadata = request.metadata_mut();
    metadata.insert("authorization", bearer.clone());
    metadata.insert("x-purpose", MetadataValue::from_static("care_coordination"));
    let id = Uuid::now_v7().to_string().parse().expect("invariant: an id is ASCII");
    metadata.insert("x-request-id", id);
    request
}

fn fact(key: &str, value: Value) -> Fact {
    Fact { key: key.to_owned(), value: Some(value), ..Fact::default() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use prost::Message as _;

    use super::*;

    #[test]
    fn a_referral_of_the_load_is_about_a_kilobyte() {
        let bytes = labelled(referral(&Uuid::nil().to_string())).encoded_len();
        assert!((900..=1_300).contains(&bytes), "{bytes} bytes");
    }

    #[test]
    fn each_request_has_an_id_of_its_own() {
        let bearer = bearer("token").unwrap();
        let id = || authorised((), &bearer).metadata().get("x-request-id").unwrap().to_owned();
        assert_ne!(id(), id());
    }
}
