//! Consultations: a mother's call, another office's question, at the desk that took it.
//!
//! A consultation has a stream of its own, which only its desk sees; it becomes a case with a consent held at the
//! desk, and then the case's stream begins. What abuse or nationality is about never stands in an open field.
//!
//! ```text
//! received ─answer─▶ answered ─┬─close─▶ closed
//!     └─────guide──▶ guided ───┘         every state before: open case ─▶ case_open
//! ```

use jiff::Timestamp;
use tasuki_contract::Event;
use tasuki_contract::cases::v1::CaseOpened;
use tasuki_contract::common::v1::{CommandContext, Fact};
use tasuki_contract::event::v1::{ItemKind, Relation};
use tasuki_contract::intake::v1 as pb;
use uuid::Uuid;

use crate::case::CaseState;
use crate::codes::{self, Table};
use crate::consent::{self, SOURCE_CLASSES};
use crate::days::to_proto;
use crate::decision::{Decision, Given, Kind, Recorded, StreamRef, check_etag, day_in_tokyo};
use crate::effects::Doing;
use crate::facts::{self, Carrier};
use crate::fields;
use crate::ids::{CaseId, ConsultationId, GrantId, PostId, derived};
use crate::refusal::{Checks, Reason, Refusal, Violation};

const CONTENTS_MAX: usize = 18;

/// How far a consultation has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// On record.
    #[default]
    Received,
    /// Answered by the desk itself.
    Answered,
    /// Guided to another office.
    Guided,
    /// It became a case.
    CaseOpen,
    /// Nothing more is to do.
    Closed,
}

impl Stage {
    /// The code that lists carry.
    pub fn code(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Answered => "answered",
            Self::Guided => "guided",
            Self::CaseOpen => "case_open",
            Self::Closed => "closed",
        }
    }
}

/// The state of one consultation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConsultationState {
    /// Version of the stream, and the number of events about it; 0: it does not exist.
    pub version: u64,
    /// The desk that took it.
    pub desk: Option<PostId>,
    /// How far it has come.
    pub stage: Stage,
    /// The case that it became.
    pub case: Option<CaseId>,
}

impl ConsultationState {
    /// The stream of a consultation.
    pub fn stream(id: ConsultationId) -> StreamRef {
        StreamRef { kind: Kind::Consultation, id: id.0 }
    }

    /// Folds one event of the consultation's stream. Never fails.
    pub fn evolve(&mut self, recorded: &Recorded) {
        self.version = recorded.header.version;
        match &recorded.event {
            Event::ConsultationReceived(e) => self.desk = Some(PostId::trusted(&e.desk_post_id)),
            Event::ConsultationAnswered(_) => self.stage = Stage::Answered,
            Event::ConsultationGuided(_) => self.stage = Stage::Guided,
            Event::ConsultationBecameCase(e) => {
                self.stage = Stage::CaseOpen;
                self.case = Some(CaseId::trusted(&e.case_id));
            }
            Event::ConsultationClosed(_) => self.stage = Stage::Closed,
            _ => {}
        }
    }

    /// The consultation that a command names, for its desk alone, in one of the stages.
    ///
    /// Errors: `NOT_FOUND`, unknown and foreign alike; `STALE_ETAG`; `WRONG_STATE`.
    fn of_desk(
        &self,
        id: Option<Uuid>,
        context: Option<&CommandContext>,
        given: &Given<'_>,
        stages: &[Stage],
    ) -> Result<(ConsultationId, PostId), Refusal> {
        let desk = self.desk.filter(|desk| *desk == given.actor.post).ok_or(Reason::NotFound)?;
        let id = ConsultationId(id.unwrap_or_default());
        check_etag(context, id.0, self.version)?;
        if stages.contains(&self.stage) { Ok((id, desk)) } else { Err(Refusal::State(self.stage.code())) }
    }

    /// One more event about it, which its desk alone sees.
    fn next(
        &self,
        id: ConsultationId,
        desk: PostId,
        stage: Stage,
        event: impl Into<Event>,
    ) -> Result<Decision<()>, Refusal> {
        let doing = listed(Doing::outside_cases(), id, desk, stage);
        let events = vec![doing.by(Self::stream(id), event)];
        Ok(Decision { events, reply: (), item: Some((id.0, self.version + 1)) })
    }
}

fn listed(doing: Doing, id: ConsultationId, desk: PostId, stage: Stage) -> Doing {
    doing.parties([desk]).item(ItemKind::ItemConsultation, id.0, stage.code(), [desk])
}

/// Writes down what somebody asked. Caller: any desk.
///
/// Errors: malformed fields, `UNKNOWN_POST`, `POST_RETIRED` of the caller's post.
pub fn record(
    request: &pb::RecordConsultationRequest,
    given: &mut Given<'_>,
) -> Result<Decision<ConsultationId>, Refusal> {
    let mut checks = Checks::default();
    let coded = [
        ("consulter_attribute", Table::ConsulterAttribute, &request.consulter_attribute),
        ("access_route", Table::AccessRoute, &request.access_route),
        ("contact_method", Table::ContactMethod, &request.contact_method),
    ];
    for (field, table, code) in coded {
        fields::code(&mut checks, field, &[table], code);
    }
    checks.require(!request.contents.is_empty(), "contents", Violation::MISSING);
    fields::no_repeats(&mut checks, "contents", &request.contents, CONTENTS_MAX);
    for (i, code) in request.contents.iter().enumerate().take(CONTENTS_MAX) {
        fields::code(&mut checks, &format!("contents[{i}]"), &[Table::ConsultationContent], code);
    }
    check_caller(&mut checks, request);
    fields::at_most(&mut checks, "child_label", &request.child_label, fields::LABEL_CHARS_MAX);
    fields::at_most(&mut checks, "story", &request.story, fields::TEXT_CHARS_MAX);
    facts::check_all(&mut checks, "facts", &request.facts, Carrier::OwnRecord, given);
    checks.done()?;

    let desk = given.actor.post;
    given.directory.active_post(desk)?;
    let id = ConsultationId(given.ids.fresh());
    let restricted =
        |code: &String| codes::lookup(Table::ConsultationContent, code).is_some_and(|row| row.restricted);
    let (restricted_contents, contents) = request.contents.iter().cloned().partition(restricted);
    let event = pb::ConsultationReceived {
        consultation_id: id.into(),
        desk_post_id: desk.into(),
        consulter_attribute: request.consulter_attribute.clone(),
        access_route: request.access_route.clone(),
        contact_method: request.contact_method.clone(),
        contents,
        caller_identity: request.caller_identity,
        caller_label: request.caller_label.clone(),
        caller_telephone: request.caller_telephone.clone(),
        child_label: request.child_label.clone(),
        story: request.story.clone(),
        facts: request.facts.clone(),
        restricted_contents,
    };
    let Decision { events, item, .. } =
        ConsultationState::default().next(id, desk, Stage::Received, event)?;
    Ok(Decision { events, reply: id, item })
}

/// Of a caller of whom nothing is known, nothing is written.
fn check_caller(checks: &mut Checks, request: &pb::RecordConsultationRequest) {
    let label = request.caller_label.trim();
    match fields::chosen(checks, "caller_identity", request.caller_identity) {
        Some(pb::CallerIdentity::Anonymous) => {
            checks.require(request.caller_label.is_empty(), "caller_label", Violation::NOT_ALLOWED);
            let silent = request.caller_telephone.is_empty();
            checks.require(silent, "caller_telephone", Violation::NOT_ALLOWED);
        }
        Some(_) => checks.require(!label.is_empty(), "caller_label", Violation::MISSING),
        None => {}
    }
    fields::at_most(checks, "caller_label", &request.caller_label, fields::LABEL_CHARS_MAX);
    fields::telephone(checks, "caller_telephone", &request.caller_telephone);
}

/// Says what the desk answered by itself. Caller: the desk.
///
/// Errors: malformed fields, `NOT_FOUND`, `STALE_ETAG`, `WRONG_STATE`.
pub fn answer(
    state: &ConsultationState,
    request: &pb::AnswerConsultationRequest,
    given: &mut Given<'_>,
) -> Result<Decision<()>, Refusal> {
    let mut checks = Checks::default();
    let id = fields::id(&mut checks, "consultation_id", &request.consultation_id);
    fields::text(&mut checks, "answer", &request.answer, fields::TEXT_CHARS_MAX);
    checks.done()?;
    let (id, desk) = state.of_desk(id, request.context.as_ref(), given, &[Stage::Received])?;
    let event = pb::ConsultationAnswered { consultation_id: id.into(), answer: request.answer.clone() };
    state.next(id, desk, Stage::Answered, event)
}

/// Says to which kind of office the caller was guided. Caller: the desk.
///
/// Errors: malformed fields, `NOT_FOUND`, `STALE_ETAG`, `WRONG_STATE`.
pub fn guide(
    state: &ConsultationState,
    request: &pb::GuideConsultationRequest,
    given: &mut Given<'_>,
) -> Result<Decision<()>, Refusal> {
    let mut checks = Checks::default();
    let id = fields::id(&mut checks, "consultation_id", &request.consultation_id);
    fields::code(&mut checks, "guided_to_kind", &[Table::AgencyKind], &request.guided_to_kind);
    fields::at_most(&mut checks, "advice", &request.advice, fields::TEXT_CHARS_MAX);
    checks.done()?;
    let (id, desk) = state.of_desk(id, request.context.as_ref(), given, &[Stage::Received])?;
    let event = pb::ConsultationGuided {
        consultation_id: id.into(),
        guided_to_kind: request.guided_to_kind.clone(),
        arrived: request.arrived,
        advice: request.advice.clone(),
    };
    state.next(id, desk, Stage::Guided, event)
}

/// Closes what was answered or guided. Caller: the desk.
///
/// Errors: malformed fields, `NOT_FOUND`, `STALE_ETAG`, `WRONG_STATE`.
pub fn close(
    state: &ConsultationState,
    request: &pb::CloseConsultationRequest,
    given: &mut Given<'_>,
) -> Result<Decision<()>, Refusal> {
    let mut checks = Checks::default();
    let id = fields::id(&mut checks, "consultation_id", &request.consultation_id);
    checks.done()?;
    let stages = [Stage::Answered, Stage::Guided];
    let (id, desk) = state.of_desk(id, request.context.as_ref(), given, &stages)?;
    state.next(id, desk, Stage::Closed, pb::ConsultationClosed { consultation_id: id.into() })
}

/// What opening a case answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The case.
    pub case: CaseId,
    /// The post that is responsible for it.
    pub lead: PostId,
}

/// Makes a case of a consultation, with a consent held at the desk. Caller: the desk.
///
/// The desk becomes responsible where its kind may in the municipality, else the municipality's intake post.
/// Errors: malformed fields, `CONSENT_REQUIRED`, `NOT_FOUND`, `STALE_ETAG`, `WRONG_STATE`, `UNKNOWN_MUNICIPALITY`,
/// `POST_RETIRED`, and `MAY_NOT_LEAD` when the intake post may not either.
pub fn open_case(
    state: &ConsultationState,
    request: &pb::OpenCaseRequest,
    given: &mut Given<'_>,
) -> Result<Decision<Opened>, Refusal> {
    open_case_beside(state, request, false, given)
}

/// The same, where `alike` says that an open case of the municipality's intake post looks like the one to be opened: it
/// is then opened in doubt, and nobody joins desk and intake post until the latter has decided.
///
/// Errors: those of [`open_case`].
pub fn open_case_beside(
    state: &ConsultationState,
    request: &pb::OpenCaseRequest,
    alike: bool,
    given: &mut Given<'_>,
) -> Result<Decision<Opened>, Refusal> {
    let id = check_open(request, given)?;
    let stages = [Stage::Received, Stage::Answered, Stage::Guided];
    let (id, desk) = state.of_desk(Some(id), request.context.as_ref(), given, &stages)?;
    if request.consent.as_ref().is_none_or(|consent| consent.anonymous) {
        return Err(Reason::ConsentRequired.into());
    }
    given.directory.active_post(desk)?;
    let code = &request.municipality_code;
    let intake = given.directory.municipality(code)?.intake_post;
    // The intake post is every case's fallback: without one that may lead, nobody would catch it.
    given.directory.may_lead(intake, code)?;
    let lead = if given.directory.may_lead(desk, code).is_ok() { desk } else { intake };

    let case = CaseId(given.ids.fresh());
    let grant = GrantId(derived(&["source", &id.to_string()]));
    let became = pb::ConsultationBecameCase { consultation_id: id.into(), case_id: case.into() };
    let opened = CaseOpened {
        case_id: case.into(),
        municipality_code: code.clone(),
        lead_post_id: lead.into(),
        label: request.label.clone(),
        facts: request.facts.clone(),
    };
    let opening = Doing::of(case)
        .parties([desk, intake])
        .joins(desk, Relation::Receiver)
        .joins(intake, Relation::Ward)
        .leads(lead)
        .grants(grant, &[desk, intake], SOURCE_CLASSES, []);
    let mut events = vec![
        listed(Doing::of(case), id, desk, Stage::CaseOpen).by(ConsultationState::stream(id), became),
        opening.by(CaseState::stream(case), opened),
    ];
    if alike {
        events.push(crate::identity::doubt(case, [desk], intake, given)?);
    }
    let reply = Opened { case, lead };
    Ok(Decision { events, reply, item: Some((id.0, state.version + 1)) })
}

/// The request to open a case with what its consultation told about the child, so that nobody asks the family again.
///
/// What the request says itself comes first. What is added bears the day of the consultation, unless it bore one
/// already. The same consultation always adds the same, so a retry stays the same request.
pub fn carry_on(
    mut request: pb::OpenCaseRequest,
    told: Vec<Fact>,
    told_at: Timestamp,
) -> pb::OpenCaseRequest {
    for mut fact in told {
        if request.facts.iter().all(|own| own.key != fact.key) {
            fact.asserted_on.get_or_insert(to_proto(day_in_tokyo(told_at)));
            request.facts.push(fact);
        }
    }
    request
}

fn check_open(request: &pb::OpenCaseRequest, given: &Given<'_>) -> Result<Uuid, Refusal> {
    let mut checks = Checks::default();
    let id = fields::id(&mut checks, "consultation_id", &request.consultation_id);
    let code = &request.municipality_code;
    fields::municipality(&mut checks, "municipality_code", code);
    fields::text(&mut checks, "label", &request.label, fields::LABEL_CHARS_MAX);
    if let Some(consent) = &request.consent {
        consent::check_at_source(&mut checks, "consent", consent, given);
    }
    facts::check_all(&mut checks, "facts", &request.facts, Carrier::OwnRecord, given);
    checks.done()?;
    Ok(id.unwrap_or_default())
}

#[cfg(test)]
#[path = "consultation_tests.rs"]
mod tests;
