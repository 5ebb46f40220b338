//! Meetings and minutes over gRPC. Thin: `tasuki_domain::meeting` decides.
//!
//! A meeting is a stream of its own and touches those of its cases, so its commands load several states and append
//! to several streams at once.

use std::collections::{BTreeMap, BTreeSet};

use tasuki_contract::minutes::v1 as pb;
use tasuki_contract::minutes::v1::minutes_service_server::MinutesService;
use tasuki_domain::case::CaseState;
use tasuki_domain::decision::{Decision, Given};
use tasuki_domain::ids::{ActionId, CaseId, MeetingId};
use tasuki_domain::meeting::{self, MeetingState};
use tasuki_domain::refusal::Refusal;
use tasuki_kit::command::{self, run};
use tasuki_kit::states::Loaded;
use tasuki_kit::{Platform, errors};
use tonic::{Request, Response, Status};
use uuid::Uuid;

/// The service.
#[derive(Clone, Debug)]
pub struct Minutes(pub Platform);

/// A meeting with the cases on its agenda.
type Basis = (Loaded<MeetingState>, Vec<Loaded<CaseState>>);

impl Minutes {
    async fn cases(&self, ids: &BTreeSet<CaseId>) -> Result<Vec<Loaded<CaseState>>, Status> {
        let mut cases = Vec::with_capacity(ids.len());
        for id in ids {
            cases.push(self.0.case(*id).await.map_err(|e| errors::fault(&e))?);
        }
        Ok(cases)
    }

    async fn meeting(&self, id: &str) -> Result<Basis, Status> {
        let id = Uuid::try_parse(id).unwrap_or_default();
        let meeting = self.0.meeting(id).await.map_err(|e| errors::fault(&e))?;
        let cases = self.cases(&meeting.state.cases()).await?;
        Ok((meeting, cases))
    }

    /// A command on a meeting that exists.
    async fn on_meeting<Q, R, P>(
        &self,
        request: Request<Q>,
        id: impl Fn(&Q) -> &str + Sync,
        decide: impl Fn(
            &MeetingState,
            &BTreeMap<CaseId, CaseState>,
            &Q,
            &mut Given<'_>,
        ) -> Result<Decision<R>, Refusal>,
        reply: impl Fn(R) -> P,
    ) -> Result<Response<P>, Status>
    where
        Q: command::Request,
        P: command::Response,
    {
        let caller = self.0.context(request.metadata()).await?;
        let message = request.get_ref();
        let load = || self.meeting(id(message));
        let decide =
            |basis: &Basis, given: &mut Given<'_>| decide(&basis.0.state, &states(&basis.1), message, given);
        run(&self.0, &caller, message, load, decide, reply).await.map(Response::new)
    }
}

fn states(cases: &[Loaded<CaseState>]) -> BTreeMap<CaseId, CaseState> {
    cases.iter().map(|c| (CaseId(c.stream.id), CaseState::clone(&c.state))).collect()
}

#[tonic::async_trait]
impl MinutesService for Minutes {
    async fn schedule_meeting(
        &self,
        request: Request<pb::ScheduleMeetingRequest>,
    ) -> Result<Response<pb::ScheduleMeetingResponse>, Status> {
        let caller = self.0.context(request.metadata()).await?;
        let message = request.get_ref();
        let named = meeting::cases_named(message);
        let load = || self.cases(&named);
        let decide = |cases: &Vec<Loaded<CaseState>>, given: &mut Given<'_>| {
            meeting::schedule(&states(cases), message, given)
        };
        let reply = |id: MeetingId| pb::ScheduleMeetingResponse { meeting_id: id.to_string(), receipt: None };
        run(&self.0, &caller, message, load, decide, reply).await.map(Response::new)
    }

    async fn hold_meeting(
        &self,
        request: Request<pb::HoldMeetingRequest>,
    ) -> Result<Response<pb::HoldMeetingResponse>, Status> {
        let decide = |state: &MeetingState, _: &BTreeMap<_, _>, q: &_, given: &mut Given<'_>| {
            meeting::hold(state, q, given)
        };
        self.on_meeting(request, |q| &q.meeting_id, decide, |()| pb::HoldMeetingResponse::default()).await
    }

    async fn draft_minutes(
        &self,
        request: Request<pb::DraftMinutesRequest>,
    ) -> Result<Response<pb::DraftMinutesResponse>, Status> {
        let reply = |actions: Vec<ActionId>| pb::DraftMinutesResponse {
            action_ids: actions.iter().map(ToString::to_string).collect(),
            receipt: None,
        };
        self.on_meeting(request, |q| &q.meeting_id, meeting::draft, reply).await
    }

    async fn circulate_minutes(
        &self,
        request: Request<pb::CirculateMinutesRequest>,
    ) -> Result<Response<pb::CirculateMinutesResponse>, Status> {
        let decide = |state: &MeetingState, _: &BTreeMap<_, _>, q: &_, given: &mut Given<'_>| {
            meeting::circulate(state, q, given)
        };
        self.on_meeting(request, |q| &q.meeting_id, decide, |()| pb::CirculateMinutesResponse::default())
            .await
    }

    async fn confirm_minutes(
        &self,
        request: Request<pb::ConfirmMinutesRequest>,
    ) -> Result<Response<pb::ConfirmMinutesResponse>, Status> {
        let decide = |state: &MeetingState, _: &BTreeMap<_, _>, q: &_, given: &mut Given<'_>| {
            meeting::confirm(state, q, given)
        };
        let reply = |confirmed| pb::ConfirmMinutesResponse { confirmed, receipt: None };
        self.on_meeting(request, |q| &q.meeting_id, decide, reply).await
    }
}
