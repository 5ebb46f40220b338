//! Erasures and legal holds: the operator's commands. The keys are destroyed by `tasuki erase`.

use tasuki_contract::erasure::v1 as pb;
use tasuki_contract::erasure::v1::erasure_service_server::ErasureService;
use tasuki_domain::erasure;
use tasuki_domain::ids::{HoldId, ProposalId};
use tasuki_kit::command::on_case;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

use crate::Directory;

impl Directory {
    /// An opaque id of the person who calls: it follows from the token's subject and the digest key, so that two people
    /// can be told apart and nobody can be told.
    async fn person(&self, metadata: &MetadataMap) -> Result<String, Status> {
        let caller = self.0.context(metadata).await?;
        let digest = self.0.keyring().digest(&[b"person", caller.subject.as_bytes()]);
        let bytes = digest.first_chunk::<16>().copied().unwrap_or_default();
        Ok(uuid::Builder::from_custom_bytes(bytes).into_uuid().to_string())
    }
}

#[tonic::async_trait]
impl ErasureService for Directory {
    async fn propose_erasure(
        &self,
        request: Request<pb::ProposeErasureRequest>,
    ) -> Result<Response<pb::ProposeErasureResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        let by = self.person(&metadata).await?;
        let reply =
            |id: ProposalId| pb::ProposeErasureResponse { proposal_id: id.to_string(), receipt: None };
        on_case(
            &self.0,
            &metadata,
            &message,
            &message.case_id,
            |case, request, given| erasure::propose(case, request, &by, given),
            reply,
        )
        .await
    }

    async fn confirm_erasure(
        &self,
        request: Request<pb::ConfirmErasureRequest>,
    ) -> Result<Response<pb::ConfirmErasureResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        let by = self.person(&metadata).await?;
        on_case(
            &self.0,
            &metadata,
            &message,
            &message.case_id,
            |case, request, given| erasure::confirm(case, request, &by, given),
            |()| pb::ConfirmErasureResponse::default(),
        )
        .await
    }

    async fn place_legal_hold(
        &self,
        request: Request<pb::PlaceLegalHoldRequest>,
    ) -> Result<Response<pb::PlaceLegalHoldResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        let reply = |id: HoldId| pb::PlaceLegalHoldResponse { hold_id: id.to_string(), receipt: None };
        on_case(&self.0, &metadata, &message, &message.case_id, erasure::place_hold, reply).await
    }

    async fn lift_legal_hold(
        &self,
        request: Request<pb::LiftLegalHoldRequest>,
    ) -> Result<Response<pb::LiftLegalHoldResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        let reply = |()| pb::LiftLegalHoldResponse::default();
        on_case(&self.0, &metadata, &message, &message.case_id, erasure::lift_hold, reply).await
    }
}
