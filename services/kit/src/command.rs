//! Running a command: load, decide, append; decide again when somebody was faster.
//!
//! A refusal is returned only after the versions that it relied on are confirmed current, and after it is clear that
//! it is not the echo of the command's own first try.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use tasuki_contract::common::v1::{CommandContext, Fact, Receipt};
use tasuki_contract::event::v1::{Header, ItemKind};
use tasuki_contract::{Classified, DataClass, Event, FieldRule, Sink};
use tasuki_domain::case::CaseState;
use tasuki_domain::days;
use tasuki_domain::decision::{Decided, Decision, Given, Ids, Kind, Look, StreamRef, etag};
use tasuki_domain::dictionary;
use tasuki_domain::identity::{self, Clue};
use tasuki_domain::ids::CaseId;
use tasuki_domain::refusal::{Refusal, Violation};
use tasuki_log::append::Stream;
use tasuki_log::{Append, AppendError, Appended, BlindEntry, NewEvent};
use tonic::Status;
use uuid::Uuid;

use crate::context::Context;
use crate::errors;
use crate::platform::Platform;
use crate::states::Loaded;

/// How often a decision is made anew before the caller is told to try again.
const TRIES_MAX: u32 = 8;
/// What is never refused for load or for a version: it takes the reserved lane of the append, and is tried for as long
/// as its caller waits, [`URGENT_PATIENCE`] at most.
const URGENT: [&str; 1] = ["ConsentService/WithdrawConsent"];
/// Longer than any server is away that comes back by itself.
const URGENT_PATIENCE: Duration = Duration::from_secs(60);
const URGENT_PAUSE: Duration = Duration::from_millis(20);

/// A request of a command: it carries a command context.
pub trait Request: prost::Message {
    /// `Service/Method`, part of the request's digest.
    const METHOD: &'static str;
    /// Etag and time of the command.
    fn context(&self) -> Option<&CommandContext>;
}

/// A response of a command: it carries a receipt.
pub trait Response: prost::Message + Default {
    /// Where the receipt goes.
    fn receipt_mut(&mut self) -> &mut Option<Receipt>;
}

macro_rules! commands {
    ($($package:ident $service:ident { $($method:ident $request:ident $response:ident,)* })*) => {$($(
        impl Request for tasuki_contract::$package::v1::$request {
            const METHOD: &'static str = concat!(stringify!($service), "/", stringify!($method));
            fn context(&self) -> Option<&CommandContext> {
                self.context.as_ref()
            }
        }
        impl Response for tasuki_contract::$package::v1::$response {
            fn receipt_mut(&mut self) -> &mut Option<Receipt> {
                &mut self.receipt
            }
        }
    )*)*};
}

commands! {
    attachments AttachmentService {
        CompleteAttachment CompleteAttachmentRequest CompleteAttachmentResponse,
    }
    consent ConsentService {
        PrepareConsent PrepareConsentRequest PrepareConsentResponse,
        ExplainConsent ExplainConsentRequest ExplainConsentResponse,
        SignConsent SignConsentRequest SignConsentResponse,
        RefuseConsent RefuseConsentRequest RefuseConsentResponse,
        NarrowConsent NarrowConsentRequest NarrowConsentResponse,
        RenewConsent RenewConsentRequest RenewConsentResponse,
        WithdrawConsent WithdrawConsentRequest WithdrawConsentResponse,
        ChangeSigner ChangeSignerRequest ChangeSignerResponse,
        AcknowledgeStopNotice AcknowledgeStopNoticeRequest AcknowledgeStopNoticeResponse,
        ResolveHold ResolveHoldRequest ResolveHoldResponse,
        RecordLegalBasis RecordLegalBasisRequest RecordLegalBasisResponse,
        EndLegalBasis EndLegalBasisRequest EndLegalBasisResponse,
        RecordSignedConsent RecordSignedConsentRequest RecordSignedConsentResponse,
    }
    directory DirectoryService {
        RegisterAgency RegisterAgencyRequest RegisterAgencyResponse,
        SetCalendar SetCalendarRequest SetCalendarResponse,
        CreatePost CreatePostRequest CreatePostResponse,
        ChangeHolders ChangeHoldersRequest ChangeHoldersResponse,
        RetirePost RetirePostRequest RetirePostResponse,
        RevokeCredential RevokeCredentialRequest RevokeCredentialResponse,
        ConfigureMunicipality ConfigureMunicipalityRequest ConfigureMunicipalityResponse,
        AdoptPolicy AdoptPolicyRequest AdoptPolicyResponse,
    }
    erasure ErasureService {
        ProposeErasure ProposeErasureRequest ProposeErasureResponse,
        ConfirmErasure ConfirmErasureRequest ConfirmErasureResponse,
        PlaceLegalHold PlaceLegalHoldRequest PlaceLegalHoldResponse,
        LiftLegalHold LiftLegalHoldRequest LiftLegalHoldResponse,
    }
    intake ConsultationService {
        RecordConsultation RecordConsultationRequest RecordConsultationResponse,
        AnswerConsultation AnswerConsultationRequest AnswerConsultationResponse,
        GuideConsultation GuideConsultationRequest GuideConsultationResponse,
        OpenCase OpenCaseRequest OpenCaseResponse,
        CloseConsultation CloseConsultationRequest CloseConsultationResponse,
    }
    intake ReferralService {
        SubmitReferral SubmitReferralRequest SubmitReferralResponse,
        AcknowledgeReferral AcknowledgeReferralRequest AcknowledgeReferralResponse,
        AcceptReferral AcceptReferralRequest AcceptReferralResponse,
        DeclineReferral DeclineReferralRequest DeclineReferralResponse,
        RerouteReferral RerouteReferralRequest RerouteReferralResponse,
        WithdrawReferral WithdrawReferralRequest WithdrawReferralResponse,
    }
    identity IdentityService {
        ConfirmDistinct ConfirmDistinctRequest ConfirmDistinctResponse,
        MergeCases MergeCasesRequest MergeCasesResponse,
        UnmergeCases UnmergeCasesRequest UnmergeCasesResponse,
    }
    handoff HandoffService {
        ProposeHandoff ProposeHandoffRequest ProposeHandoffResponse,
        OfferHandoff OfferHandoffRequest OfferHandoffResponse,
        AcceptHandoff AcceptHandoffRequest AcceptHandoffResponse,
        DeclineHandoff DeclineHandoffRequest DeclineHandoffResponse,
        BeginAccompaniment BeginAccompanimentRequest BeginAccompanimentResponse,
        RecordJointContact RecordJointContactRequest RecordJointContactResponse,
        CompleteHandoff CompleteHandoffRequest CompleteHandoffResponse,
        CancelHandoff CancelHandoffRequest CancelHandoffResponse,
    }
    minutes MinutesService {
        ScheduleMeeting ScheduleMeetingRequest ScheduleMeetingResponse,
        HoldMeeting HoldMeetingRequest HoldMeetingResponse,
        DraftMinutes DraftMinutesRequest DraftMinutesResponse,
        CirculateMinutes CirculateMinutesRequest CirculateMinutesResponse,
        ConfirmMinutes ConfirmMinutesRequest ConfirmMinutesResponse,
    }
}

/// The states that a decision is made against, with their versions.
pub trait Basis {
    /// Streams that were loaded, with the versions that were seen.
    fn versions(&self) -> Vec<(StreamRef, u64)>;
    /// Why one of the events must not be appended, whatever was decided: a case that was merged takes nothing more, and
    /// of one in doubt nobody new learns.
    fn bars(&self, events: &[Decided]) -> Option<Refusal> {
        let _ = events;
        None
    }
}

impl Basis for () {
    fn versions(&self) -> Vec<(StreamRef, u64)> {
        Vec::new()
    }
}

impl<S: crate::states::Folded> Basis for Loaded<S> {
    fn versions(&self) -> Vec<(StreamRef, u64)> {
        if self.stream.id.is_nil() { Vec::new() } else { vec![(self.stream, self.state.version())] }
    }
    fn bars(&self, events: &[Decided]) -> Option<Refusal> {
        events.iter().find_map(|decided| self.state.bars(self.stream.id, decided))
    }
}

impl<A: Basis, B: Basis> Basis for (A, B) {
    fn versions(&self) -> Vec<(StreamRef, u64)> {
        let mut all = self.0.versions();
        all.extend(self.1.versions());
        all
    }
    fn bars(&self, events: &[Decided]) -> Option<Refusal> {
        self.0.bars(events).or_else(|| self.1.bars(events))
    }
}

impl<B: Basis> Basis for Vec<B> {
    fn versions(&self) -> Vec<(StreamRef, u64)> {
        self.iter().flat_map(Basis::versions).collect()
    }
    fn bars(&self, events: &[Decided]) -> Option<Refusal> {
        self.iter().find_map(|basis| basis.bars(events))
    }
}

/// Loads, decides and appends.
///
/// `load` is called for every try; `decide` is pure; `reply` makes the response of a decision, whose receipt is
/// filled in here. A response holds opaque ids and codes only: it is stored so that a retry gets the same.
pub async fn run<Q, B, R, P, F>(
    platform: &Platform,
    caller: &Context,
    request: &Q,
    load: impl Fn() -> F,
    decide: impl Fn(&B, &mut Given<'_>) -> Result<Decision<R>, Refusal>,
    reply: impl Fn(R) -> P,
) -> Result<P, Status>
where
    Q: Request,
    B: Basis,
    P: Response,
    F: Future<Output = Result<B, Status>> + Send,
{
    if caller.request_id.is_empty() {
        return Err(errors::invalid_field("x-request-id", Violation::MISSING));
    }
    let tries = Tries::of(Q::METHOD);
    loop {
        let tried = try_run(platform, caller, request, &load, &decide, &reply).await;
        match tried {
            Err(status) if tries.again(&status) => tokio::time::sleep(URGENT_PAUSE).await,
            done => return done,
        }
    }
}

/// How long a command is tried.
struct Tries {
    urgent: bool,
    started: Instant,
}

impl Tries {
    fn of(method: &str) -> Self {
        Self { urgent: URGENT.contains(&method), started: Instant::now() }
    }

    /// Whether an urgent command that met somebody faster, too much to do or a server that is away is tried again.
    fn again(&self, status: &Status) -> bool {
        use tonic::Code::{Aborted, ResourceExhausted, Unavailable};
        self.urgent
            && self.started.elapsed() < URGENT_PATIENCE
            && matches!(status.code(), Aborted | ResourceExhausted | Unavailable)
    }
}

/// Decides and appends, a bounded number of times.
async fn try_run<Q, B, R, P, F>(
    platform: &Platform,
    caller: &Context,
    request: &Q,
    load: &impl Fn() -> F,
    decide: &impl Fn(&B, &mut Given<'_>) -> Result<Decision<R>, Refusal>,
    reply: &impl Fn(R) -> P,
) -> Result<P, Status>
where
    Q: Request,
    B: Basis,
    P: Response,
    F: Future<Output = Result<B, Status>> + Send,
{
    let now = Timestamp::now();
    let occurred_at = claimed_time(request, now)?;
    let actor_post = caller.actor.post.0;
    let pieces: [&[u8]; 3] = [Q::METHOD.as_bytes(), actor_post.as_bytes(), &request.encode_to_vec()];
    let digest = platform.sealer().keyring().request_digest(&pieces);
    for _ in 0..TRIES_MAX {
        let basis = load().await?;
        let (outcome, relied_on) = {
            let directory = platform.directory();
            let look = Look::new(&directory);
            if !actor_post.is_nil() {
                // A holder that has changed since the token was checked makes the append conflict.
                look.noting(StreamRef { kind: Kind::Post, id: actor_post });
            }
            let ids = Ids::seeded(Uuid::now_v7());
            let mut given = Given { actor: caller.actor, now, occurred_at, directory: look, ids };
            // Only who would be heard otherwise learns that the case takes nothing.
            let outcome =
                decide(&basis, &mut given).and_then(|decision| match basis.bars(&decision.events) {
                    Some(refusal) => Err(refusal),
                    None => Ok(decision),
                });
            (outcome, given.directory.relied_on())
        };
        match outcome {
            Ok(decision) => {
                let clues = identity::clues_of(&decision.events, caller.actor.agency);
                let mut append = assemble(caller, &digest, occurred_at, &basis, relied_on, decision, reply);
                append.urgent = URGENT.contains(&Q::METHOD);
                let blind = tokens(platform, &append, clues);
                match platform.writer().append_indexed(append, blind).await {
                    Ok(appended) => return answer(&appended),
                    Err(AppendError::Conflict) => {
                        platform.refresh_directory().await.map_err(|e| errors::fault(&e))?;
                    }
                    Err(error) => return Err(errors::append_failed(&error)),
                }
            }
            Err(refusal) => {
                let agency = caller.actor.agency.0;
                let earlier = platform.writer().replay(agency, &caller.request_id, &digest).await;
                if let Some(appended) = earlier.map_err(|e| errors::append_failed(&e))? {
                    return answer(&appended);
                }
                if current(platform, &relied_on).await? {
                    return Err(errors::refused(&refusal));
                }
                platform.refresh_directory().await.map_err(|e| errors::fault(&e))?;
            }
        }
    }
    Err(errors::append_failed(&AppendError::Conflict))
}

/// The rows of the blind index for what the events say.
fn tokens(platform: &Platform, append: &Append, clues: Vec<(usize, CaseId, Clue)>) -> Vec<BlindEntry> {
    let entry = |(at, case, clue): (usize, CaseId, Clue)| BlindEntry {
        case: case.0,
        kind: clue.kind.number(),
        token: platform.keyring().blind_token(clue.kind.number(), &clue.text),
        event: Uuid::try_parse(&append.events[at].header.event_id).unwrap_or_default(),
    };
    clues.into_iter().map(entry).collect()
}

fn claimed_time<Q: Request>(request: &Q, now: Timestamp) -> Result<Timestamp, Status> {
    let Some(claimed) = request.context().and_then(|c| c.occurred_at.as_ref()) else { return Ok(now) };
    let bad = || errors::invalid_field("context.occurred_at", Violation::BAD_DATE);
    let at = days::instant(claimed.seconds, claimed.nanos).ok_or_else(bad)?;
    if at.as_second() > now.as_second() + 86_400 {
        return Err(errors::invalid_field("context.occurred_at", Violation::OUT_OF_RANGE));
    }
    Ok(at)
}

fn answer<P: Response>(appended: &Appended) -> Result<P, Status> {
    let mut response = P::decode(appended.reply.as_slice())
        .map_err(|_| errors::fault(&tasuki_log::LogError::Database("stored reply".into())))?;
    if let Some(receipt) = response.receipt_mut() {
        receipt.recorded_at = Some(tasuki_log::read::timestamp(appended.recorded_at_us));
    }
    Ok(response)
}

/// Whether the streams still have the versions that a refusal relied on.
///
/// A stream of another kind under the same id is none of them: a post that is none is unknown, whatever else its id is.
async fn current(platform: &Platform, relied_on: &[(StreamRef, u64)]) -> Result<bool, Status> {
    let streams: Vec<(i32, Uuid)> = relied_on.iter().map(|(s, _)| (s.kind.to_proto().into(), s.id)).collect();
    let now = platform.reader().versions_of_kinds(&streams).await.map_err(|e| errors::fault(&e))?;
    Ok(relied_on.iter().all(|(stream, seen)| {
        now.iter().find(|(id, _)| *id == stream.id).map_or(0, |(_, version)| *version) == *seen
    }))
}

fn assemble<B: Basis, R, P: Response>(
    caller: &Context,
    digest: &[u8],
    occurred_at: Timestamp,
    basis: &B,
    relied_on: Vec<(StreamRef, u64)>,
    decision: Decision<R>,
    reply: impl Fn(R) -> P,
) -> Append {
    let mut seen: std::collections::HashMap<Uuid, u64> =
        relied_on.iter().copied().chain(basis.versions()).map(|(s, v)| (s.id, v)).collect();
    let untouched = seen.clone();
    let mut written = std::collections::HashSet::new();
    let mut disclosures = Vec::new();
    let mut events = Vec::with_capacity(decision.events.len());
    let mut last_event = Uuid::nil();
    for decided in decision.events {
        let version = seen.entry(decided.stream.id).or_insert(0);
        *version += 1;
        written.insert(decided.stream.id);
        disclosures.extend(disclosed_cases(&decided));
        last_event = Uuid::now_v7();
        events.push(NewEvent {
            header: header(caller, occurred_at, last_event, *version, &decided),
            event: decided.event,
        });
    }
    let mut response = reply(decision.reply);
    *response.receipt_mut() = Some(Receipt {
        event_id: last_event.to_string(),
        etag: decision.item.map(|(thing, revision)| etag(thing, revision)).unwrap_or_default(),
        recorded_at: None,
    });
    Append {
        agency: caller.actor.agency.0,
        request_id: caller.request_id.clone(),
        digest: digest.to_vec(),
        events,
        relied_on: untouched
            .into_iter()
            .filter(|(id, _)| !written.contains(id))
            .map(|(id, version)| Stream { id, version })
            .collect(),
        disclosures,
        reply: response.encode_to_vec(),
        urgent: false,
    }
}

/// The cases of which somebody may read more or less from here on.
///
/// A referral that moves is among them: who declined it has what was sent before it no more, even where something
/// else keeps the post in the circle. A municipality's row stands for all its cases: reads hold it beside theirs, and
/// its epoch is the version of its stream.
fn disclosed_cases(decided: &Decided) -> impl Iterator<Item = Uuid> + '_ {
    let effects = &decided.effects;
    let circle = effects.circle.iter().map(|c| &c.case_id);
    let grants = effects.grants.iter().map(|g| &g.case_id);
    let leads = effects.leads.iter().map(|l| &l.case_id);
    let referrals = effects.items.iter().filter(|i| i.kind() == ItemKind::ItemReferral).map(|i| &i.case_id);
    let municipality = (decided.stream.kind == Kind::Municipality).then_some(decided.stream.id);
    // What is about to be erased is served to nobody any more, and doubt closes a case to all but a few.
    let closes = matches!(
        decided.event,
        Event::ErasureConfirmed(_) | Event::IdentityDoubted(_) | Event::IdentityConfirmed(_)
    );
    let closed = closes.then_some(decided.stream.id);
    let cases = circle.chain(grants).chain(leads).chain(referrals);
    cases.filter_map(|id| Uuid::try_parse(id).ok()).chain(municipality).chain(closed)
}

fn header(
    caller: &Context,
    occurred_at: Timestamp,
    event_id: Uuid,
    version: u64,
    decided: &Decided,
) -> Header {
    let rule = decided.event.rule();
    let mut classes = Classes::default();
    decided.event.visit(&mut classes);
    let (seconds, nanos) = days::seconds_and_nanos(occurred_at);
    Header {
        event_id: event_id.to_string(),
        r#type: rule.type_name.to_owned(),
        schema: rule.schema,
        stream_kind: decided.stream.kind.to_proto() as i32,
        stream_id: decided.stream.id.to_string(),
        version,
        agency_id: caller.actor.agency.to_string(),
        post_id: caller.actor.post.to_string(),
        purpose: caller.purpose.clone(),
        occurred_at: Some(prost_types::Timestamp { seconds, nanos }),
        case_ids: decided.cases.iter().map(Uuid::to_string).collect(),
        data_class: decided.event.class() as i32,
        classes: classes.0.into_iter().map(|c| c as i32).collect(),
        effects: Some(decided.effects.clone()),
        open_payload: Vec::new(),
        parts: Vec::new(),
        traceparent: caller.traceparent.clone().unwrap_or_default(),
        // As the parts, by the append.
        salt: Vec::new(),
        on_behalf_of: decided.on_behalf_of.map(String::from).unwrap_or_default(),
    }
}

/// A command on the case in which a referral or hand-off lives.
///
/// Errors: an id that is no UUID is left to `decide`, which names the field; an unknown one is NOT_FOUND.
pub async fn on_item<Q, R, P>(
    platform: &Platform,
    metadata: &tonic::metadata::MetadataMap,
    request: &Q,
    item: &str,
    decide: impl Fn(&CaseState, &Q, &mut Given<'_>) -> Result<Decision<R>, Refusal>,
    reply: impl Fn(R) -> P,
) -> Result<tonic::Response<P>, Status>
where
    Q: Request,
    P: Response,
{
    let caller = platform.context(metadata).await?;
    let load = || async {
        let item = Uuid::try_parse(item).unwrap_or_default();
        let case = platform.case_of(item).await.map_err(|e| errors::fault(&e))?;
        // The nil case does not exist: its empty state lets `decide` refuse, in the order it always does.
        platform.case(case.unwrap_or(CaseId(Uuid::nil()))).await.map_err(|e| errors::fault(&e))
    };
    let decide = |basis: &Loaded<CaseState>, given: &mut Given<'_>| decide(&basis.state, request, given);
    run(platform, &caller, request, load, decide, reply).await.map(tonic::Response::new)
}

/// A command on a case that the request names, or on none.
pub async fn on_case<Q, R, P>(
    platform: &Platform,
    metadata: &tonic::metadata::MetadataMap,
    request: &Q,
    case: &str,
    decide: impl Fn(&CaseState, &Q, &mut Given<'_>) -> Result<Decision<R>, Refusal>,
    reply: impl Fn(R) -> P,
) -> Result<tonic::Response<P>, Status>
where
    Q: Request,
    P: Response,
{
    let caller = platform.context(metadata).await?;
    let load = || async {
        let case = Uuid::try_parse(case).unwrap_or_default();
        platform.case(CaseId(case)).await.map_err(|e| errors::fault(&e))
    };
    let decide = |basis: &Loaded<CaseState>, given: &mut Given<'_>| decide(&basis.state, request, given);
    run(platform, &caller, request, load, decide, reply).await.map(tonic::Response::new)
}

/// Collects the classes that an event's content holds.
#[derive(Default)]
struct Classes(std::collections::BTreeSet<DataClass>);

impl Sink for Classes {
    fn field(&mut self, rule: FieldRule) {
        self.0.insert(rule.class);
    }
    fn fact(&mut self, fact: &Fact) {
        if let Some(class) =
            dictionary::field(&fact.key).and_then(|f| DataClass::from_str_name(f.class.name()))
        {
            self.0.insert(class);
        }
    }
}

#[cfg(test)]
mod tests {
    use tasuki_contract::intake::v1::{AcknowledgeReferralRequest, ReferralDeclined};
    use tasuki_domain::effects::Doing;

    use super::*;

    #[test]
    fn a_claimed_time_is_one_that_any_client_can_read() {
        let now = Timestamp::from_second(1_720_000_000).unwrap_or_default();
        let claimed = |seconds, nanos| {
            let occurred_at = Some(prost_types::Timestamp { seconds, nanos });
            let context = Some(CommandContext { occurred_at, ..Default::default() });
            claimed_time(&AcknowledgeReferralRequest { context, ..Default::default() }, now)
        };
        for (seconds, nanos) in [(-62_135_596_801, 0), (-2_208_988_801, 0), (0, -1), (-2, 1_000_000_000)] {
            let refused = claimed(seconds, nanos).map_err(|status| status.message().to_owned());
            assert_eq!(refused, Err("invalid: context.occurred_at".to_owned()), "{seconds} {nanos}");
        }
        let before_1970 = claimed(-2, 500_000_000).map(days::seconds_and_nanos).map_err(|s| s.to_string());
        assert_eq!(before_1970, Ok((-2, 500_000_000)), "as it is put into the header");
    }

    #[test]
    fn a_referral_that_moves_makes_what_was_evaluated_before_it_stale() {
        let (case, referral) = (CaseId(Uuid::from_u128(1)), Uuid::from_u128(2));
        let declined = |doing: Doing| doing.by(CaseState::stream(case), ReferralDeclined::default());
        let moved = declined(Doing::of(case).item(ItemKind::ItemReferral, referral, "needs_routing", []));
        assert_eq!(disclosed_cases(&moved).collect::<Vec<_>>(), [case.0]);
        assert_eq!(disclosed_cases(&declined(Doing::of(case))).count(), 0);
    }
}
