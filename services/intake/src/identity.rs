//! Looking for a child, and deciding whether two cases are one child's.

use tasuki_contract::identity::v1 as pb;
use tasuki_contract::identity::v1::identity_service_server::IdentityService;
use tasuki_domain::case::CaseState;
use tasuki_domain::decision::{Decision, Given};
use tasuki_domain::identity;
use tasuki_domain::ids::{CaseId, PostId};
use tasuki_domain::refusal::{Reason, Refusal, Violation};
use tasuki_kit::command::{self, on_case, run};
use tasuki_kit::reading::{Asking, Disclosed, on_record};
use tasuki_kit::states::Loaded;
use tasuki_kit::{Platform, errors};
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::{matching, search};

/// The service.
#[derive(Clone, Debug)]
pub struct Identity(pub Platform);

/// A case, and the one that it is, or was, merged into.
type Pair = (Loaded<CaseState>, Loaded<CaseState>);

impl Identity {
    async fn asking(&self, metadata: &MetadataMap, method: &'static str) -> Result<Asking, Status> {
        let context = self.0.context(metadata).await?;
        Asking::new(context, &self.0.directory(), method)
    }

    async fn case(&self, id: &str) -> Result<Loaded<CaseState>, Status> {
        let id = CaseId(Uuid::try_parse(id).unwrap_or_default());
        self.0.case(id).await.map_err(|e| errors::fault(&e))
    }

    /// A command on two cases.
    async fn on_pair<Q, R, P, F>(
        &self,
        request: Request<Q>,
        load: impl Fn() -> F,
        decide: impl Fn((&CaseState, &CaseState), &Q, &mut Given<'_>) -> Result<Decision<R>, Refusal>,
        reply: impl Fn(R) -> P,
    ) -> Result<Response<P>, Status>
    where
        Q: command::Request,
        P: command::Response,
        F: Future<Output = Result<Pair, Status>> + Send,
    {
        let caller = self.0.context(request.metadata()).await?;
        let message = request.get_ref();
        let decide =
            |pair: &Pair, given: &mut Given<'_>| decide((&pair.0.state, &pair.1.state), message, given);
        run(&self.0, &caller, message, load, decide, reply).await.map(Response::new)
    }

    /// What the case looks like, to its intake post.
    async fn doubt(
        &self,
        asking: &Asking,
        case: CaseId,
    ) -> Result<(pb::GetIdentityDoubtResponse, Disclosed), Status> {
        let me = asking.post();
        let loaded = self.0.cases_with_epochs(&[case]).await.map_err(|e| errors::fault(&e))?;
        let (_, epoch, state) = loaded.into_iter().next().ok_or_else(errors::not_found)?;
        if !(state.exists() && state.circle.is_member(me)) {
            return Err(errors::not_found());
        }
        if !identity::wards(&state).any(|ward| ward == me) {
            return Err(errors::refused(&Reason::NotYourPart.into()));
        }
        let mut disclosed = Disclosed::default();
        disclosed.add(Some((case, epoch)), [], [], []);
        let mut response =
            pb::GetIdentityDoubtResponse { in_doubt: state.doubt.is_some(), ..Default::default() };
        if response.in_doubt {
            let entries = self.0.blind_index().of(case.0).await.map_err(|e| errors::fault(&e))?;
            let own = matching::values(&entries, |_| true);
            let likely = matching::likely(&self.0, &own, me, Some(case)).await?;
            let ids: Vec<CaseId> = likely.iter().map(|(case, _)| *case).collect();
            let loaded = self.0.cases_with_epochs(&ids).await.map_err(|e| errors::fault(&e))?;
            for (case, epoch, _) in loaded {
                disclosed.add(Some((case, epoch)), [], [], []);
            }
            let likeness = |(case, verdict): (CaseId, identity::Verdict)| pb::Likeness {
                case_id: case.to_string(),
                verdict: verdict.name().to_owned(),
            };
            response.likenesses = likely.into_iter().map(likeness).collect();
        }
        Ok((response, disclosed))
    }
}

#[tonic::async_trait]
impl IdentityService for Identity {
    async fn search_child(
        &self,
        request: Request<pb::SearchChildRequest>,
    ) -> Result<Response<pb::SearchChildResponse>, Status> {
        let asking = self.asking(request.metadata(), "IdentityService/SearchChild").await?;
        search::search(&self.0, &asking, request.get_ref()).await.map(Response::new)
    }

    async fn get_identity_doubt(
        &self,
        request: Request<pb::GetIdentityDoubtRequest>,
    ) -> Result<Response<pb::GetIdentityDoubtResponse>, Status> {
        let asking = self.asking(request.metadata(), "IdentityService/GetIdentityDoubt").await?;
        let case = Uuid::try_parse(&request.get_ref().case_id)
            .map_err(|_| errors::invalid_field("case_id", Violation::NOT_A_UUID))?;
        on_record(&self.0, &asking, || self.doubt(&asking, CaseId(case))).await.map(Response::new)
    }

    async fn confirm_distinct(
        &self,
        request: Request<pb::ConfirmDistinctRequest>,
    ) -> Result<Response<pb::ConfirmDistinctResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        let reply = |()| pb::ConfirmDistinctResponse::default();
        on_case(&self.0, &metadata, &message, &message.case_id, identity::confirm_distinct, reply).await
    }

    async fn merge_cases(
        &self,
        request: Request<pb::MergeCasesRequest>,
    ) -> Result<Response<pb::MergeCasesResponse>, Status> {
        let (merged, survivor) =
            (request.get_ref().case_id.clone(), request.get_ref().survivor_case_id.clone());
        let load = || async { Ok((self.case(&merged).await?, self.case(&survivor).await?)) };
        self.on_pair(request, load, identity::merge, |()| pb::MergeCasesResponse::default()).await
    }

    async fn unmerge_cases(
        &self,
        request: Request<pb::UnmergeCasesRequest>,
    ) -> Result<Response<pb::UnmergeCasesResponse>, Status> {
        let id = request.get_ref().case_id.clone();
        let load = || async {
            let merged = self.case(&id).await?;
            let into = merged.state.merged.as_ref().map(|merged| merged.into.to_string());
            let survivor = self.case(&into.unwrap_or_default()).await?;
            Ok((merged, survivor))
        };
        let reply = |lead: PostId| pb::UnmergeCasesResponse { lead_post_id: lead.to_string(), receipt: None };
        self.on_pair(request, load, identity::unmerge, reply).await
    }
}
