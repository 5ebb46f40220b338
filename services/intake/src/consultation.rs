//! Consultations: a mother's call, another office's question.

use tasuki_contract::intake::v1 as pb;
use tasuki_contract::intake::v1::consultation_service_server::ConsultationService;
use tasuki_domain::consultation::{self, ConsultationState};
use tasuki_domain::decision::{Decision, Given};
use tasuki_domain::refusal::Refusal;
use tasuki_kit::command::{self, run};
use tasuki_kit::states::Loaded;
use tasuki_kit::{Platform, errors};
use tonic::{Request, Response, Status};
use uuid::Uuid;

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
        self.on(request, |q| &q.consultation_id, consultation::open_case, reply).await
    }

    async fn close_consultation(
        &self,
        request: Request<pb::CloseConsultationRequest>,
    ) -> Result<Response<pb::CloseConsultationResponse>, Status> {
        let reply = |()| pb::CloseConsultationResponse::default();
        self.on(request, |q| &q.consultation_id, consultation::close, reply).await
    }
}
