//! Referrals: one post asks another to take something up.

use tasuki_contract::intake::v1 as pb;
use tasuki_contract::intake::v1::referral_service_server::ReferralService;
use tasuki_domain::case::CaseState;
use tasuki_domain::decision::Given;
use tasuki_domain::ids::CaseId;
use tasuki_domain::referral;
use tasuki_kit::command::{on_item, run};
use tasuki_kit::reading::Asking;
use tasuki_kit::states::Loaded;
use tasuki_kit::{Platform, errors};
use tasuki_views::Views;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::matching::{Alike, alike};
use crate::queries;

/// The service. It reads lists from the views, and single referrals from the log.
#[derive(Clone)]
pub struct Referrals {
    /// The log, the directory, the caller.
    pub platform: Platform,
    /// Lists by post.
    pub views: Views,
}

impl Referrals {
    async fn asking(&self, metadata: &MetadataMap, method: &'static str) -> Result<Asking, Status> {
        let context = self.platform.context(metadata).await?;
        Asking::new(context, &self.platform.directory(), method)
    }
}

#[tonic::async_trait]
impl ReferralService for Referrals {
    async fn submit_referral(
        &self,
        request: Request<pb::SubmitReferralRequest>,
    ) -> Result<Response<pb::SubmitReferralResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        let reply = |submitted: referral::Submitted| pb::SubmitReferralResponse {
            referral_id: submitted.referral.to_string(),
            case_id: submitted.case.to_string(),
            receipt: None,
        };
        let platform = &self.platform;
        let caller = platform.context(&metadata).await?;
        let facts = referral::told(&message);
        let load = || async {
            let case = Uuid::try_parse(&message.case_id).unwrap_or_default();
            let case = platform.case(CaseId(case)).await.map_err(|e| errors::fault(&e))?;
            // Only what opens a case can open a second one for a child.
            let alike = match message.case_id.is_empty() {
                true => alike(platform, &facts, caller.actor.agency, &message.municipality_code).await?,
                false => Alike(false),
            };
            Ok((case, alike))
        };
        let decide = |(case, alike): &(Loaded<CaseState>, Alike), given: &mut Given<'_>| {
            referral::submit_beside(&case.state, &message, alike.0, given)
        };
        run(platform, &caller, &message, load, decide, reply).await.map(Response::new)
    }

    async fn acknowledge_referral(
        &self,
        request: Request<pb::AcknowledgeReferralRequest>,
    ) -> Result<Response<pb::AcknowledgeReferralResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        let reply = |()| pb::AcknowledgeReferralResponse::default();
        on_item(&self.platform, &metadata, &message, &message.referral_id, referral::acknowledge, reply).await
    }

    async fn accept_referral(
        &self,
        request: Request<pb::AcceptReferralRequest>,
    ) -> Result<Response<pb::AcceptReferralResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        let reply = |()| pb::AcceptReferralResponse::default();
        on_item(&self.platform, &metadata, &message, &message.referral_id, referral::accept, reply).await
    }

    async fn decline_referral(
        &self,
        request: Request<pb::DeclineReferralRequest>,
    ) -> Result<Response<pb::DeclineReferralResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        let reply = |()| pb::DeclineReferralResponse::default();
        on_item(&self.platform, &metadata, &message, &message.referral_id, referral::decline, reply).await
    }

    async fn reroute_referral(
        &self,
        request: Request<pb::RerouteReferralRequest>,
    ) -> Result<Response<pb::RerouteReferralResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        let reply = |()| pb::RerouteReferralResponse::default();
        on_item(&self.platform, &metadata, &message, &message.referral_id, referral::reroute, reply).await
    }

    async fn withdraw_referral(
        &self,
        request: Request<pb::WithdrawReferralRequest>,
    ) -> Result<Response<pb::WithdrawReferralResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        let reply = |()| pb::WithdrawReferralResponse::default();
        on_item(&self.platform, &metadata, &message, &message.referral_id, referral::withdraw, reply).await
    }

    async fn get_referral(
        &self,
        request: Request<pb::GetReferralRequest>,
    ) -> Result<Response<pb::GetReferralResponse>, Status> {
        let asking = self.asking(request.metadata(), "ReferralService/GetReferral").await?;
        queries::get(&self.platform, &asking, request.get_ref()).await.map(Response::new)
    }

    async fn list_referrals(
        &self,
        request: Request<pb::ListReferralsRequest>,
    ) -> Result<Response<pb::ListReferralsResponse>, Status> {
        let asking = self.asking(request.metadata(), "ReferralService/ListReferrals").await?;
        queries::list(&self.platform, &self.views, &asking, request.get_ref()).await.map(Response::new)
    }
}
