//! Every field of every request, wrong in every way that its kind allows: each is named, and nothing is appended.

use std::collections::BTreeSet;

use prost::Message as _;
use prost_reflect::{DynamicMessage, MethodDescriptor};
use tasuki::{call, token};
use tasuki_tests::{Caller, World};
use tonic::Code;

use crate::answer::{self, Seen};
use crate::samples::{self, Sample};
use crate::variants::{self, MISSING, OVER_LONG, WRONG};
use crate::{PROGRAM, log_head};

/// What cannot be malformed, and why.
const NOT_TRIED: &[(&str, &str, &str)] = &[
    ("", "context.etag", "it is compared, not read: what is not the present one has a reason of its own"),
    (
        "DirectoryService/RegisterAgency",
        "agency_id missing",
        "the server makes one, so the agency is registered",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_malformed_field_of_every_request_is_named_and_nothing_is_appended() {
    let world = World::start(PROGRAM).await.unwrap();
    let program = world.ready().await.unwrap();
    let post = world.caller(&program, "hospital.discharge").await.unwrap();
    let operator = token::for_operator(world.secrets.issuer.as_ref().unwrap(), 3_600).unwrap();
    let operator = Caller { token: operator, ..post.clone() };
    let before = log_head(&world).await;

    let pool = call::pool().unwrap();
    let samples = samples::all();
    let mut complaints = Vec::new();
    let mut kinds = BTreeSet::new();
    let mut tried = 0;
    for sample in &samples {
        let method = call::find(&pool, sample.method).unwrap();
        let caller = if sample.by_operator { &operator } else { &post };
        let message = DynamicMessage::deserialize(method.input(), &sample.request).unwrap();
        let plain = answer::call(caller, &method, message.encode_to_vec()).await.map_err(|s| Seen::of(&s));
        let reason = plain.as_ref().map_or_else(|seen| seen.reason.as_str(), |_| "");
        assert_eq!(reason, sample.refused, "{}: {plain:?}", sample.method);
        for variant in variants::of(&message) {
            let what = format!("{} {}", variant.path, variant.what);
            let is = |(method, start, _): &&(&str, &str, &str)| {
                (method.is_empty() || *method == sample.method) && what.starts_with(start)
            };
            if NOT_TRIED.iter().any(|one| is(&one)) {
                continue;
            }
            tried += 1;
            kinds.insert(variant.what);
            let answer = answer::call(caller, &method, variant.message.encode_to_vec()).await;
            if let Some(complaint) = complaint(sample, &variant, answer) {
                complaints.push(format!("{} {what}: {complaint}", sample.method));
            }
        }
    }
    assert!(complaints.is_empty(), "{} of {tried}:\n{}", complaints.len(), complaints.join("\n"));
    assert_eq!(kinds.len(), 16, "every way to be wrong was tried: {kinds:?}");
    assert!(tried > 400, "{tried}");
    assert_eq!(log_head(&world).await, before, "something was appended");

    let sampled: BTreeSet<String> = samples.iter().map(|s| s.method.to_owned()).collect();
    assert_eq!(sampled, methods(&pool), "a method without a sample");
}

/// What is wrong with the answer, if anything is.
fn complaint(
    sample: &Sample,
    variant: &variants::Variant,
    answer: Result<Vec<u8>, tonic::Status>,
) -> Option<String> {
    let may_be_left_out = variant.what == MISSING && sample.optional.contains(&variant.path.as_str());
    let status = match answer {
        Ok(_) if may_be_left_out && sample.refused.is_empty() => return None,
        Ok(_) => return Some("was accepted".to_owned()),
        Err(status) => status,
    };
    let seen = Seen::of(&status);
    let text = format!("{seen:?} {}", String::from_utf8_lossy(status.details()));
    if text.contains(WRONG) || text.contains(OVER_LONG) {
        return Some("the answer repeats what the field held".to_owned());
    }
    if may_be_left_out {
        let well_formed = seen.code != Code::InvalidArgument;
        return (!well_formed).then(|| format!("is optional, but: {} {:?}", seen.reason, seen.fields));
    }
    // Without a consent the refusal has a reason of its own.
    if variant.what == MISSING && variant.path == "consent_at_source" {
        return (seen.reason != "CONSENT_REQUIRED").then(|| format!("{} {:?}", seen.reason, seen.fields));
    }
    let named = seen.fields.iter().any(|(field, _)| names(field, variant));
    // A client branches on it: it then reads from the beginning.
    let reason = if variant.path == "cursor" { "CURSOR_INVALID" } else { "INVALID_ARGUMENT" };
    let right = (seen.code, seen.reason.as_str()) == (Code::InvalidArgument, reason) && named;
    (!right).then(|| format!("{} {} {:?}", seen.code, seen.reason, seen.fields))
}

/// What is missing may be named by a part of it, or by what is left empty without it.
fn names(field: &str, variant: &variants::Variant) -> bool {
    let path = variant.path.as_str();
    let below = |whole: &str, part: &str| {
        part.strip_prefix(whole).is_some_and(|rest| rest.starts_with('.') || rest.starts_with('['))
    };
    field == path || variant.what == MISSING && (below(path, field) || below(field, path))
}

/// The methods of the contract; streams are looked at elsewhere.
fn methods(pool: &prost_reflect::DescriptorPool) -> BTreeSet<String> {
    let methods = pool.services().flat_map(|s| s.methods().collect::<Vec<_>>());
    let calls = methods.filter(|m: &MethodDescriptor| !m.is_server_streaming());
    calls.map(|m| format!("{}/{}", m.parent_service().name(), m.name())).collect()
}
