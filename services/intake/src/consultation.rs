//! Consultations: a mother's call, another office's question.

use jiff::Timestamp;
use tasuki_contract::Event;
use tasuki_contract::event::v1::StreamKind;
use tasuki_contract::intake::v1 as pb;
use tasuki_contract::intake::v1::consultation_service_server::ConsultationService;
use tasuki_domain::consultation::{self, ConsultationState};
use tasuki_domain::decision::{Decision, Given};
use tasuki_domain::ids::PostId;
use tasuki_domain::refusal::Refusal;
use tasuki_kit::command::{self, run};
use tasuki_kit::states::Loaded;
use tasuki_kit::{Platform, errors};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::matching::{Alike, alike};

/// The service.
#[derive(Clone, Debug)]
pub struct Consultations(pub Platform);

impl Consultations {
    async fn on<Q, R, P>(
        &self,
        request: Request<Q>,
        id: impl Fn(&Q) -> &str + Sync,
        decide: impl Fn(&ConsultationState, &Q, &mut Given<'_>) -> Result<Decision<R>, Refusal>,
        reply: impl Fn(R) -> P,
    ) -> Result<Response<P>, Status>
    where
        Q: command::Request,
        P: command::Response,
    {
        let caller = self.0.context(request.metadata()).await?;
        let message = request.get_ref();
        let load = || async {
            let id = Uuid::try_parse(id(message)).unwrap_or_default();
            self.0.consultation(id).await.map_err(|e| errors::fault(&e))
        };
        let decide =
            |basis: &Loaded<ConsultationState>, given: &mut Given<'_>| decide(&basis.state, message, given);
        run(&self.0, &caller, message, load, decide, reply).await.map(Response::new)
    }
}

impl Consultations {
    /// The request with what the consultation told about the child. Only the desk that took the consultation gets
    /// anything added.
    async fn with_what_was_told(
        &self,
        post: PostId,
        request: pb::OpenCaseRequest,
    ) -> Result<pb::OpenCaseRequest, Status> {
        let id = Uuid::try_parse(&request.consultation_id).unwrap_or_default();
        let records = self.0.reader().stream(id, 0).await.map_err(|e| errors::fault(&e))?;
        let received = records.first().filter(|r| {
            r.header.stream_kind() == StreamKind::Consultation && r.header.post_id == post.to_string()
        });
        let Some(record) = received else { return Ok(request) };
        let opened = self.0.reader().open(self.0.sealer(), record).await.map_err(|e| errors::fault(&e))?;
        let Event::ConsultationReceived(told) = opened else { return Ok(request) };
        let occurred = record.header.occurred_at.unwrap_or_default();
        let on = Timestamp::new(occurred.seconds, occurred.nanos).unwrap_or_default();
        Ok(consultation::carry_on(request, told.facts, on))
    }
}

#[tonic::async_trait]
impl ConsultationService for Consultations {
    async fn record_consultation(
        &self,
        request: Request<pb::RecordConsultationRequest>,
    ) -> Result<Response<pb::RecordConsultationResponse>, Status> {
        let caller = self.0.context(request.metadata()).await?;
        let message = request.get_ref();
        let decide = |(): &(), given: &mut Given<'_>| consultation::record(message, given);
        let reply = |id: tasuki_domain::ids::ConsultationId| pb::RecordConsultationResponse {
            consultation_id: id.to_string(),
            receipt: None,
        };
        run(&self.0, &caller, message, || async { Ok(()) }, decide, reply).await.map(Response::new)
    }

    async fn answer_consultation(
        &self,
        request: Request<pb::AnswerConsultationRequest>,
    ) -> Result<Response<pb::AnswerConsultationResponse>, Status> {
        let reply = |()| pb::AnswerConsultationResponse::default();
        self.on(request, |q| &q.consultation_id, consultation::answer, reply).await
    }

    async fn guide_consultation(
        &self,
        request: Request<pb::GuideConsultationRequest>,
    ) -> Result<Response<pb::GuideConsultationResponse>, Status> {
        let reply = |()| pb::GuideConsultationResponse::default();
        self.on(request, |q| &q.consultation_id, consultation::guide, reply).await
    }

    async fn open_case(
        &self,
        request: Request<pb::OpenCaseRequest>,
    ) -> Result<Response<pb::OpenCaseResponse>, Status> {
        let reply = |opened: consultation::Opened| pb::OpenCaseResponse {
            case_id: opened.case.to_string(),
            lead_post_id: opened.lead.to_string(),
            receipt: None,
        };
        let caller = self.0.context(request.metadata()).await?;
        let message = request.into_inner();
        let message = self.with_what_was_told(caller.actor.post, message).await?;
        let load = || async {
            let id = Uuid::try_parse(&message.consultation_id).unwrap_or_default();
            let taken = self.0.consultation(id).await.map_err(|e| errors::fault(&e))?;
            let (agency, code) = (caller.actor.agency, &message.municipality_code);
            Ok((taken, alike(&self.0, &message.facts, agency, code).await?))
        };
        let decide = |(taken, alike): &(Loaded<ConsultationState>, Alike), given: &mut Given<'_>| {
            consultation::open_case_beside(&taken.state, &message, alike.0, given)
        };
        run(&self.0, &caller, &message, load, decide, reply).await.map(Response::new)
    }

    async fn close_consultation(
        &self,
        request: Request<pb::CloseConsultationRequest>,
    ) -> Result<Response<pb::CloseConsultationResponse>, Status> {
        let reply = |()| pb::CloseConsultationResponse::default();
        self.on(request, |q| &q.consultation_id, consultation::close, reply).await
    }
}
