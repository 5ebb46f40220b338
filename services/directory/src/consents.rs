//! The consent service: each command is a decision of `tasuki_domain::consent` on the case that it names.

use tasuki_contract::consent::v1 as pb;
use tasuki_contract::consent::v1::consent_service_server::ConsentService;
use tasuki_domain::consent;
use tasuki_domain::ids::GrantId;
use tasuki_kit::command::on_case;
use tonic::{Request, Response, Status};

use crate::{Directory, list};

#[tonic::async_trait]
impl ConsentService for Directory {
    async fn prepare_consent(
        &self,
        request: Request<pb::PrepareConsentRequest>,
    ) -> Result<Response<pb::PrepareConsentResponse>, Status> {
        let reply = |id: GrantId| pb::PrepareConsentResponse { grant_id: id.into(), receipt: None };
        let (metadata, _, message) = request.into_parts();
        on_case(&self.0, &metadata, &message, &message.case_id, consent::prepare, reply).await
    }

    async fn explain_consent(
        &self,
        request: Request<pb::ExplainConsentRequest>,
    ) -> Result<Response<pb::ExplainConsentResponse>, Status> {
        let reply = |()| pb::ExplainConsentResponse::default();
        let (metadata, _, message) = request.into_parts();
        on_case(&self.0, &metadata, &message, &message.case_id, consent::explain, reply).await
    }

    async fn sign_consent(
        &self,
        request: Request<pb::SignConsentRequest>,
    ) -> Result<Response<pb::SignConsentResponse>, Status> {
        let reply = |()| pb::SignConsentResponse::default();
        let (metadata, _, message) = request.into_parts();
        on_case(&self.0, &metadata, &message, &message.case_id, consent::sign, reply).await
    }

    async fn refuse_consent(
        &self,
        request: Request<pb::RefuseConsentRequest>,
    ) -> Result<Response<pb::RefuseConsentResponse>, Status> {
        let reply = |()| pb::RefuseConsentResponse::default();
        let (metadata, _, message) = request.into_parts();
        on_case(&self.0, &metadata, &message, &message.case_id, consent::refuse, reply).await
    }

    async fn record_signed_consent(
        &self,
        request: Request<pb::RecordSignedConsentRequest>,
    ) -> Result<Response<pb::RecordSignedConsentResponse>, Status> {
        let reply = |id: GrantId| pb::RecordSignedConsentResponse { grant_id: id.into(), receipt: None };
        let (metadata, _, message) = request.into_parts();
        on_case(&self.0, &metadata, &message, &message.case_id, consent::record_signed, reply).await
    }

    async fn narrow_consent(
        &self,
        request: Request<pb::NarrowConsentRequest>,
    ) -> Result<Response<pb::NarrowConsentResponse>, Status> {
        let reply = |()| pb::NarrowConsentResponse::default();
        let (metadata, _, message) = request.into_parts();
        on_case(&self.0, &metadata, &message, &message.case_id, consent::narrow, reply).await
    }

    async fn renew_consent(
        &self,
        request: Request<pb::RenewConsentRequest>,
    ) -> Result<Response<pb::RenewConsentResponse>, Status> {
        let reply = |()| pb::RenewConsentResponse::default();
        let (metadata, _, message) = request.into_parts();
        on_case(&self.0, &metadata, &message, &message.case_id, consent::renew, reply).await
    }

    async fn withdraw_consent(
        &self,
        request: Request<pb::WithdrawConsentRequest>,
    ) -> Result<Response<pb::WithdrawConsentResponse>, Status> {
        let reply = |ids: Vec<GrantId>| pb::WithdrawConsentResponse {
            grant_ids: ids.into_iter().map(String::from).collect(),
            receipt: None,
        };
        let (metadata, _, message) = request.into_parts();
        on_case(&self.0, &metadata, &message, &message.case_id, consent::withdraw, reply).await
    }

    async fn change_signer(
        &self,
        request: Request<pb::ChangeSignerRequest>,
    ) -> Result<Response<pb::ChangeSignerResponse>, Status> {
        let reply = |()| pb::ChangeSignerResponse::default();
        let (metadata, _, message) = request.into_parts();
        on_case(&self.0, &metadata, &message, &message.case_id, consent::change_signer, reply).await
    }

    async fn acknowledge_stop_notice(
        &self,
        request: Request<pb::AcknowledgeStopNoticeRequest>,
    ) -> Result<Response<pb::AcknowledgeStopNoticeResponse>, Status> {
        let reply = |()| pb::AcknowledgeStopNoticeResponse::default();
        let (metadata, _, message) = request.into_parts();
        on_case(&self.0, &metadata, &message, &message.case_id, consent::acknowledge_stop_notice, reply).await
    }

    async fn resolve_hold(
        &self,
        request: Request<pb::ResolveHoldRequest>,
    ) -> Result<Response<pb::ResolveHoldResponse>, Status> {
        let reply = |()| pb::ResolveHoldResponse::default();
        let (metadata, _, message) = request.into_parts();
        on_case(&self.0, &metadata, &message, &message.case_id, consent::resolve_hold, reply).await
    }

    async fn record_legal_basis(
        &self,
        request: Request<pb::RecordLegalBasisRequest>,
    ) -> Result<Response<pb::RecordLegalBasisResponse>, Status> {
        let reply = |id: GrantId| pb::RecordLegalBasisResponse { basis_id: id.into(), receipt: None };
        let (metadata, _, message) = request.into_parts();
        on_case(&self.0, &metadata, &message, &message.case_id, consent::record_legal_basis, reply).await
    }

    async fn end_legal_basis(
        &self,
        request: Request<pb::EndLegalBasisRequest>,
    ) -> Result<Response<pb::EndLegalBasisResponse>, Status> {
        let reply = |()| pb::EndLegalBasisResponse::default();
        let (metadata, _, message) = request.into_parts();
        on_case(&self.0, &metadata, &message, &message.case_id, consent::end_legal_basis, reply).await
    }

    async fn list_consents(
        &self,
        request: Request<pb::ListConsentsRequest>,
    ) -> Result<Response<pb::ListConsentsResponse>, Status> {
        let context = self.0.context(request.metadata()).await?;
        list::consents(&self.0, context, request.get_ref()).await.map(Response::new)
    }
}
