//! Case hand-off over gRPC. Thin: `tasuki_domain::handoff` decides, everything about a child against one stream.

use tasuki_contract::handoff::v1 as pb;
use tasuki_contract::handoff::v1::handoff_service_server::HandoffService;
use tasuki_domain::handoff;
use tasuki_kit::Platform;
use tasuki_kit::command::{on_case, on_item};
use tonic::{Request, Response, Status};

/// The service.
#[derive(Clone, Debug)]
pub struct Handoff(pub Platform);

/// The methods that act on a hand-off by its id and answer with a receipt alone.
macro_rules! steps {
    ($($(#[$doc:meta])* $method:ident($request:ident) -> $response:ident = $decide:path, $reply:expr;)*) => {
        #[tonic::async_trait]
        impl HandoffService for Handoff {
            async fn propose_handoff(
                &self,
                request: Request<pb::ProposeHandoffRequest>,
            ) -> Result<Response<pb::ProposeHandoffResponse>, Status> {
                let (metadata, _, message) = request.into_parts();
                let reply = |id: tasuki_domain::ids::HandoffId| pb::ProposeHandoffResponse {
                    handoff_id: id.to_string(),
                    receipt: None,
                };
                on_case(&self.0, &metadata, &message, &message.case_id, handoff::propose, reply).await
            }

            $($(#[$doc])* async fn $method(
                &self,
                request: Request<pb::$request>,
            ) -> Result<Response<pb::$response>, Status> {
                let (metadata, _, message) = request.into_parts();
                on_item(&self.0, &metadata, &message, &message.handoff_id, $decide, $reply).await
            })*
        }
    };
}

steps! {
    offer_handoff(OfferHandoffRequest) -> OfferHandoffResponse = handoff::offer,
        |actions: Vec<tasuki_domain::ids::ActionId>| pb::OfferHandoffResponse {
            open_action_ids: actions.iter().map(ToString::to_string).collect(),
            receipt: None,
        };
    accept_handoff(AcceptHandoffRequest) -> AcceptHandoffResponse = handoff::accept,
        |()| pb::AcceptHandoffResponse::default();
    decline_handoff(DeclineHandoffRequest) -> DeclineHandoffResponse = handoff::decline,
        |()| pb::DeclineHandoffResponse::default();
    begin_accompaniment(BeginAccompanimentRequest) -> BeginAccompanimentResponse = handoff::begin_accompaniment,
        |()| pb::BeginAccompanimentResponse::default();
    record_joint_contact(RecordJointContactRequest) -> RecordJointContactResponse = handoff::record_joint_contact,
        |()| pb::RecordJointContactResponse::default();
    complete_handoff(CompleteHandoffRequest) -> CompleteHandoffResponse = handoff::complete,
        |transferred| pb::CompleteHandoffResponse { transferred, receipt: None };
    cancel_handoff(CancelHandoffRequest) -> CancelHandoffResponse = handoff::cancel,
        |()| pb::CancelHandoffResponse::default();
}
