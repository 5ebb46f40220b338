//! Each refusal has its own stable reason, a text in both languages, and appends nothing.

use std::collections::BTreeMap;

use prost::Message as _;
use tasuki::token::AUDIENCE;
use tasuki::{region, token};
use tasuki_auth::{DevGrant, DevIssuer};
use tasuki_contract::common::v1::{CommandContext, Date};
use tasuki_contract::directory::v1::directory_service_client::DirectoryServiceClient;
use tasuki_contract::directory::v1::{CreatePostRequest, RegisterAgencyRequest, RetirePostRequest};
use tasuki_contract::handoff::v1::handoff_service_client::HandoffServiceClient;
use tasuki_contract::handoff::v1::{HandoffKind, ProposeHandoffRequest};
use tasuki_contract::intake::v1::{
    AcceptReferralRequest, GetReferralRequest, ListReferralsRequest, SubmitReferralResponse,
};
use tasuki_contract::timeline::v1::{GetCaseCardRequest, GetTimelineRequest, ListCaseloadRequest};
use tasuki_domain::ids::PostId;
use tasuki_tests::{Caller, World, referral};
use tonic::{Code, Request};
use uuid::Uuid;

use crate::answer::{Seen, call_request};
use crate::{PROGRAM, log_head};

/// A world in which one referral was accepted, one waits, and one was sent to a post that may not lead.
struct Scene {
    world: World,
    hospital: Caller,
    coordinator: Caller,
    school: Caller,
    accepted: SubmitReferralResponse,
    waiting: SubmitReferralResponse,
    to_school: SubmitReferralResponse,
    _program: tasuki_tests::Program,
}

impl Scene {
    async fn new() -> Self {
        let world = World::start(PROGRAM).await.unwrap();
        let program = world.ready().await.unwrap();
        let hospital = world.caller(&program, "hospital.discharge").await.unwrap();
        let coordinator = world.caller(&program, "coordinator.desk").await.unwrap();
        let school = world.caller(&program, "school.head").await.unwrap();
        let submit = async |to: PostId, label: &str| {
            let request = hospital.request(referral(to, label));
            hospital.referrals().submit_referral(request).await.unwrap().into_inner()
        };
        let accepted = submit(coordinator.post, "kita_A").await;
        let waiting = submit(coordinator.post, "kita_B").await;
        let to_school = submit(school.post, "kita_C").await;
        let request = coordinator.request(accept(&accepted, true, ""));
        coordinator.referrals().accept_referral(request).await.unwrap();
        Self { world, hospital, coordinator, school, accepted, waiting, to_school, _program: program }
    }

    fn issuer(&self) -> &DevIssuer {
        self.world.secrets.issuer.as_ref().unwrap()
    }

    /// The hospital's caller with another token.
    fn with_token(&self, token: &str) -> Caller {
        Caller { token: token.to_owned(), ..self.hospital.clone() }
    }

    fn operator(&self) -> Caller {
        self.with_token(&token::for_operator(self.issuer(), 600).unwrap())
    }

    /// What a token of the hospital's post says.
    fn grant(&self) -> DevGrant {
        let (agency, post) = self.world.post("hospital.discharge");
        DevGrant {
            subject: region::holder_of(post),
            audience: AUDIENCE.to_owned(),
            agency: agency.0,
            posts: vec![post.0],
            operator: false,
            issued_at_s: jiff::Timestamp::now().as_second(),
            lifetime_s: 600,
        }
    }
}

fn accept(sent: &SubmitReferralResponse, as_lead: bool, etag: &str) -> AcceptReferralRequest {
    let day = jiff::Timestamp::now().in_tz("Asia/Tokyo").unwrap().date();
    AcceptReferralRequest {
        context: Some(CommandContext { etag: etag.to_owned(), occurred_at: None }),
        referral_id: sent.referral_id.clone(),
        as_lead,
        first_contact_on: Some(Date {
            year: day.year().into(),
            month: day.month().into(),
            day: day.day().into(),
        }),
        ..AcceptReferralRequest::default()
    }
}

async fn accepted(caller: &Caller, request: AcceptReferralRequest) -> Seen {
    Seen::refused(caller.referrals().accept_referral(caller.request(request)).await)
}

async fn submitted(caller: &Caller, to: PostId) -> Seen {
    Seen::refused(caller.referrals().submit_referral(caller.request(referral(to, "kita_D"))).await)
}

async fn card(caller: &Caller, case: &str) -> Seen {
    let request = GetCaseCardRequest { case_id: case.to_owned(), after_event_id: String::new() };
    Seen::refused(caller.timeline().get_case_card(caller.request(request)).await)
}

/// Code and reason that were seen, each under what was done.
#[derive(Default)]
struct Book(BTreeMap<String, &'static str>);

impl Book {
    fn note(&mut self, what: &'static str, seen: &Seen, code: Code, reason: &str) {
        assert_eq!((seen.code, seen.reason.as_str()), (code, reason), "{what}: {:?}", seen.fields);
        if let Some(other) = self.0.insert(seen.reason.clone(), what) {
            panic!("{other} and {what} share the reason {reason}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_impossible_command_has_its_own_reason_and_nothing_is_appended() {
    let scene = Scene::new().await;
    let Scene { world, hospital, coordinator, school, .. } = &scene;
    let before = log_head(world).await;
    let mut book = Book::default();

    let seen = accepted(coordinator, accept(&scene.waiting, false, "an-old-etag")).await;
    book.note("a stale etag", &seen, Code::Aborted, "STALE_ETAG");
    let seen = accepted(coordinator, accept(&scene.accepted, true, "")).await;
    book.note("a double acceptance", &seen, Code::FailedPrecondition, "ALREADY_ACCEPTED");
    let seen = submitted(hospital, PostId(Uuid::now_v7())).await;
    book.note("an unknown post", &seen, Code::FailedPrecondition, "UNKNOWN_POST");
    let seen = accepted(school, accept(&scene.to_school, true, "")).await;
    book.note("a lead that may not lead", &seen, Code::FailedPrecondition, "MAY_NOT_LEAD");
    let seen = accepted(hospital, accept(&scene.waiting, false, "")).await;
    book.note("an answer by the sender", &seen, Code::PermissionDenied, "NOT_YOUR_PART");

    let request_id = Uuid::now_v7().to_string();
    let twice = |etag: &str| coordinator.request_as(accept(&scene.waiting, false, etag), &request_id);
    coordinator.referrals().accept_referral(twice("")).await.unwrap();
    let after_acceptance = log_head(world).await;
    let seen = Seen::refused(coordinator.referrals().accept_referral(twice("another-body")).await);
    book.note("a request id with another body", &seen, Code::AlreadyExists, "REQUEST_ID_REUSED");
    let again = coordinator.referrals().accept_referral(twice("")).await;
    assert!(again.is_ok(), "the same body gets its first answer: {again:?}");

    let retire = RetirePostRequest { context: None, post_id: coordinator.post.to_string() };
    let mut directory = DirectoryServiceClient::new(hospital.channel.clone());
    let seen = Seen::refused(directory.retire_post(hospital.request(retire.clone())).await);
    book.note("a command for operators", &seen, Code::PermissionDenied, "OPERATOR_ONLY");
    let seen = Seen::refused(directory.retire_post(scene.operator().request(retire)).await);
    book.note("the retirement of a lead", &seen, Code::FailedPrecondition, "POST_HAS_CASES");
    // What is no post is unknown, and an id that is taken is taken, whatever else stands under it.
    let case = scene.accepted.case_id.clone();
    let as_post = PostId(Uuid::try_parse(&case).unwrap());
    let seen = submitted(hospital, as_post).await;
    assert_eq!((seen.code, seen.reason.as_str()), (Code::FailedPrecondition, "UNKNOWN_POST"));
    let agency = RegisterAgencyRequest {
        agency_id: case.clone(),
        kind: "nursery".to_owned(),
        name_ja: "例示保育園".to_owned(),
        name_en: "Example nursery".to_owned(),
        municipality_code: "131172".to_owned(),
        ..RegisterAgencyRequest::default()
    };
    let seen = Seen::refused(directory.register_agency(scene.operator().request(agency)).await);
    book.note("an id that is taken", &seen, Code::FailedPrecondition, "ALREADY_EXISTS");
    let post = CreatePostRequest {
        post_id: case,
        agency_id: world.post("hospital.discharge").0.0.to_string(),
        label_ja: "例示窓口".to_owned(),
        label_en: "Example desk".to_owned(),
        ..CreatePostRequest::default()
    };
    let seen = Seen::refused(directory.create_post(scene.operator().request(post)).await);
    assert_eq!((seen.code, seen.reason.as_str()), (Code::FailedPrecondition, "ALREADY_EXISTS"));
    assert!(after_acceptance > before);
    assert_eq!(log_head(world).await, after_acceptance, "a refused command was appended");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_come_in_is_told_why_and_learns_nothing_else() {
    let scene = Scene::new().await;
    let Scene { world, hospital, coordinator, .. } = &scene;
    let before = log_head(world).await;
    let mut book = Book::default();
    let try_with = async |token: &str| submitted(&scene.with_token(token), coordinator.post).await;
    let issue = |grant: &DevGrant| scene.issuer().issue(grant).unwrap();

    let expired = DevGrant { issued_at_s: scene.grant().issued_at_s - 3_600, ..scene.grant() };
    book.note("an expired token", &try_with(&issue(&expired)).await, Code::Unauthenticated, "TOKEN_EXPIRED");
    let elsewhere = DevGrant { audience: "elsewhere".to_owned(), ..scene.grant() };
    let seen = try_with(&issue(&elsewhere)).await;
    book.note("another audience", &seen, Code::Unauthenticated, "TOKEN_WRONG_AUDIENCE");
    let seen = try_with("garbage").await;
    book.note("garbage", &seen, Code::Unauthenticated, "TOKEN_MALFORMED");
    let stranger = DevIssuer::generate().unwrap().issue(&scene.grant()).unwrap();
    book.note("a stranger's key", &try_with(&stranger).await, Code::Unauthenticated, "TOKEN_UNKNOWN_KEY");
    let (content, _) = hospital.token.rsplit_once('.').unwrap();
    let (_, signature) = coordinator.token.rsplit_once('.').unwrap();
    let seen = try_with(&format!("{content}.{signature}")).await;
    book.note("a forged signature", &seen, Code::Unauthenticated, "TOKEN_BAD_SIGNATURE");
    let mut anonymous = hospital.request(referral(coordinator.post, "kita_E"));
    anonymous.metadata_mut().remove("authorization");
    let seen = Seen::refused(hospital.referrals().submit_referral(anonymous).await);
    book.note("no token", &seen, Code::Unauthenticated, "TOKEN_MISSING");
    let not_held = DevGrant { subject: "holder:nobody".to_owned(), ..scene.grant() };
    let seen = try_with(&issue(&not_held)).await;
    book.note("a post not held", &seen, Code::PermissionDenied, "POST_NOT_HELD");
    // The claim alone is not enough either: another agency's post, held by its own subject.
    let foreign = DevGrant { posts: vec![coordinator.post.0], ..scene.grant() };
    assert_eq!(try_with(&issue(&foreign)).await.reason, "POST_NOT_HELD");
    let operator = scene.operator();
    let list = ListCaseloadRequest::default();
    let seen = Seen::refused(operator.timeline().list_caseload(operator.request(list)).await);
    book.note("a view without a post", &seen, Code::PermissionDenied, "POST_REQUIRED");
    let list = ListReferralsRequest::default();
    let alike = Seen::refused(operator.referrals().list_referrals(operator.request(list)).await);
    assert_eq!(alike.whole, seen.whole, "every list says so in the same words");
    let get = GetReferralRequest {
        referral_id: scene.waiting.referral_id.clone(),
        ..GetReferralRequest::default()
    };
    let alike = Seen::refused(operator.referrals().get_referral(operator.request(get)).await);
    assert_eq!(alike.whole, seen.whole, "and so does every single read");
    assert_eq!(log_head(world).await, before, "something was appended");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_case_and_one_that_does_not_exist_are_answered_byte_for_byte_alike() {
    let scene = Scene::new().await;
    let Scene { school, accepted: foreign, .. } = &scene;
    let (case, nothing) = (foreign.case_id.as_str(), Uuid::now_v7().to_string());
    let before = log_head(&scene.world).await;

    let seen = card(school, case).await;
    assert_eq!((seen.code, seen.reason.as_str()), (Code::NotFound, "NOT_FOUND"));
    assert_eq!(seen.whole, card(school, &nothing).await.whole);

    let timeline = async |case: &str| {
        let request = GetTimelineRequest { case_id: case.to_owned(), ..GetTimelineRequest::default() };
        Seen::refused(school.timeline().get_timeline(school.request(request)).await).whole
    };
    assert_eq!(timeline(case).await, timeline(&nothing).await);
    let get = async |referral: &str| {
        let request =
            GetReferralRequest { referral_id: referral.to_owned(), ..GetReferralRequest::default() };
        Seen::refused(school.referrals().get_referral(school.request(request)).await).whole
    };
    assert_eq!(get(&foreign.referral_id).await, get(&nothing).await);
    let propose = async |case: &str| {
        let request = ProposeHandoffRequest {
            case_id: case.to_owned(),
            kind: HandoffKind::School.into(),
            incoming_post_id: school.post.to_string(),
            ..ProposeHandoffRequest::default()
        };
        let mut service = HandoffServiceClient::new(school.channel.clone());
        Seen::refused(service.propose_handoff(school.request(request)).await).whole
    };
    assert_eq!(propose(case).await, propose(&nothing).await);
    let refer_into = async |case: &str| {
        let mut request = referral(scene.coordinator.post, "kita_F");
        request.case_id = case.to_owned();
        Seen::refused(school.referrals().submit_referral(school.request(request)).await).whole
    };
    assert_eq!(refer_into(case).await, refer_into(&nothing).await);
    let answer = async |referral: &str| {
        let sent = SubmitReferralResponse { referral_id: referral.to_owned(), ..foreign.clone() };
        accepted(school, accept(&sent, true, "some-etag")).await.whole
    };
    assert_eq!(answer(&foreign.referral_id).await, answer(&nothing).await);
    assert_eq!(log_head(&scene.world).await, before, "something was appended");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_has_a_reason_too() {
    const SUBMIT: &str = "/tasuki.intake.v1.ReferralService/SubmitReferral";
    let scene = Scene::new().await;
    let Scene { world, hospital, coordinator, .. } = &scene;
    let before = log_head(world).await;
    let mut book = Book::default();

    let mut large = referral(coordinator.post, "kita_G");
    large.message = "例".repeat(400_000);
    assert!(large.encoded_len() > 1 << 20);
    let seen = Seen::refused(hospital.referrals().submit_referral(hospital.request(large)).await);
    book.note("an oversized message", &seen, Code::ResourceExhausted, "MESSAGE_TOO_LARGE");
    let seen = Seen::refused(call_request(hospital, SUBMIT, hospital.request(vec![0xff; 64])).await);
    book.note("bytes that are no message", &seen, Code::InvalidArgument, "MALFORMED_MESSAGE");
    let nowhere = "/tasuki.intake.v1.ReferralService/Submit";
    let seen = Seen::refused(call_request(hospital, nowhere, hospital.request(Vec::new())).await);
    book.note("a method that does not exist", &seen, Code::Unimplemented, "UNKNOWN_METHOD");

    // Metadata is named as a field is.
    let without = |name: &'static str| {
        let mut request = hospital.request(referral(coordinator.post, "kita_H"));
        request.metadata_mut().remove(name);
        request
    };
    let with = |name: &'static str, value: &str| {
        let mut request = hospital.request(referral(coordinator.post, "kita_H"));
        request.metadata_mut().insert(name, value.parse().unwrap());
        request
    };
    let cases: [(Request<_>, &str, &str); 6] = [
        (without("x-purpose"), "x-purpose", "MISSING"),
        (with("x-purpose", "curiosity"), "x-purpose", "UNKNOWN_CODE"),
        (without("x-request-id"), "x-request-id", "MISSING"),
        (with("x-request-id", &"r".repeat(129)), "x-request-id", "TOO_LONG"),
        (with("x-request-id", "two words"), "x-request-id", "NOT_ALLOWED"),
        (with("x-post", "first"), "x-post", "NOT_A_UUID"),
    ];
    for (request, field, why) in cases {
        let seen = Seen::refused(hospital.referrals().submit_referral(request).await);
        assert_eq!((seen.code, seen.reason.as_str()), (Code::InvalidArgument, "INVALID_ARGUMENT"));
        assert_eq!(seen.fields, [(field.to_owned(), why.to_owned())]);
    }
    let own = with("x-purpose", "own_family");
    let seen = Seen::refused(hospital.referrals().submit_referral(own).await);
    assert_eq!((seen.code, seen.reason.as_str()), (Code::PermissionDenied, "PURPOSE_NOT_YOURS"));
    assert_eq!(log_head(world).await, before, "something was appended");
}
