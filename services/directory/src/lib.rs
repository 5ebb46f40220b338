//! The directory, consents and erasures: agencies, posts, holders, calendars, municipalities; each step of a consent;
//! who may have a case erased, and what stands against it.
//!
//! Thin: it parses nothing and decides nothing; `tasuki_domain::{registry, consent}` do. Reads of the directory show
//! offices, never families; those of consents go on record.

use tasuki_contract::directory::v1 as pb;
use tasuki_contract::directory::v1::directory_service_server::DirectoryService;
use tasuki_domain::decision::{Decision, Given, StreamRef};
use tasuki_domain::refusal::Refusal;
use tasuki_domain::registry;
use tasuki_kit::command;
use tasuki_kit::{Platform, errors};
use tonic::{Request, Response, Status};

mod consents;
mod erasure;
mod list;
mod posts;

/// The services of the directory.
#[derive(Clone, Debug)]
pub struct Directory(pub Platform);

impl Directory {
    async fn command<Q, R, P>(
        &self,
        request: Request<Q>,
        decide: impl Fn(&Q, &mut Given<'_>) -> Result<Decision<R>, Refusal>,
        reply: impl Fn(R) -> P,
    ) -> Result<Response<P>, Status>
    where
        Q: command::Request,
        P: command::Response,
    {
        let decide = |request: &Q, _: bool, given: &mut Given<'_>| decide(request, given);
        self.create(request, |_| "", decide, reply).await
    }

    /// As [`command`](Self::command), of one that registers something under an id that its caller may choose.
    async fn create<Q, R, P>(
        &self,
        request: Request<Q>,
        chosen: impl Fn(&Q) -> &str,
        decide: impl Fn(&Q, bool, &mut Given<'_>) -> Result<Decision<R>, Refusal>,
        reply: impl Fn(R) -> P,
    ) -> Result<Response<P>, Status>
    where
        Q: command::Request,
        P: command::Response,
    {
        let caller = self.0.context(request.metadata()).await?;
        let request = request.get_ref();
        let id = uuid::Uuid::try_parse(chosen(request)).ok();
        let load = || async move {
            let Some(id) = id else { return Ok(Taken(false)) };
            let found = self.0.reader().versions(&[id]).await.map_err(|e| errors::fault(&e))?;
            Ok(Taken(!found.is_empty()))
        };
        let decide = |taken: &Taken, given: &mut Given<'_>| decide(request, taken.0, given);
        let answer = command::run(&self.0, &caller, request, load, decide, reply).await?;
        // The caller may use at once what it has just registered.
        let _ = self.0.refresh_directory().await;
        Ok(Response::new(answer))
    }
}

/// Whether anything stands under an id, of whatever kind. The append itself refuses what came up since.
struct Taken(bool);

impl command::Basis for Taken {
    fn versions(&self) -> Vec<(StreamRef, u64)> {
        Vec::new()
    }
}

/// How many cases a post is responsible for. The append itself refuses a retirement that this count missed.
struct Led(u64);

impl command::Basis for Led {
    fn versions(&self) -> Vec<(StreamRef, u64)> {
        Vec::new()
    }
}

#[tonic::async_trait]
impl DirectoryService for Directory {
    async fn register_agency(
        &self,
        request: Request<pb::RegisterAgencyRequest>,
    ) -> Result<Response<pb::RegisterAgencyResponse>, Status> {
        self.create(
            request,
            |r| &r.agency_id,
            registry::register_agency,
            |agency| pb::RegisterAgencyResponse { agency_id: agency.to_string(), receipt: None },
        )
        .await
    }

    async fn set_calendar(
        &self,
        request: Request<pb::SetCalendarRequest>,
    ) -> Result<Response<pb::SetCalendarResponse>, Status> {
        self.command(request, registry::set_calendar, |()| pb::SetCalendarResponse::default()).await
    }

    async fn create_post(
        &self,
        request: Request<pb::CreatePostRequest>,
    ) -> Result<Response<pb::CreatePostResponse>, Status> {
        self.create(
            request,
            |r| &r.post_id,
            registry::create_post,
            |post| pb::CreatePostResponse { post_id: post.to_string(), receipt: None },
        )
        .await
    }

    async fn change_holders(
        &self,
        request: Request<pb::ChangeHoldersRequest>,
    ) -> Result<Response<pb::ChangeHoldersResponse>, Status> {
        self.command(request, registry::change_holders, |()| pb::ChangeHoldersResponse::default()).await
    }

    async fn retire_post(
        &self,
        request: Request<pb::RetirePostRequest>,
    ) -> Result<Response<pb::RetirePostResponse>, Status> {
        let caller = self.0.context(request.metadata()).await?;
        let request = request.get_ref();
        let post = uuid::Uuid::try_parse(&request.post_id).unwrap_or_default();
        let load = || async { self.0.reader().cases_led(post).await.map(Led).map_err(|e| errors::fault(&e)) };
        let decide = |led: &Led, given: &mut Given<'_>| registry::retire_post(request, led.0, given);
        let reply = |()| pb::RetirePostResponse::default();
        command::run(&self.0, &caller, request, load, decide, reply).await.map(Response::new)
    }

    async fn revoke_credential(
        &self,
        request: Request<pb::RevokeCredentialRequest>,
    ) -> Result<Response<pb::RevokeCredentialResponse>, Status> {
        let reply = |()| pb::RevokeCredentialResponse::default();
        self.command(request, registry::revoke_credential, reply).await
    }

    async fn configure_municipality(
        &self,
        request: Request<pb::ConfigureMunicipalityRequest>,
    ) -> Result<Response<pb::ConfigureMunicipalityResponse>, Status> {
        let reply = |()| pb::ConfigureMunicipalityResponse::default();
        self.command(request, registry::configure_municipality, reply).await
    }

    async fn adopt_policy(
        &self,
        request: Request<pb::AdoptPolicyRequest>,
    ) -> Result<Response<pb::AdoptPolicyResponse>, Status> {
        let sha256 = tasuki_log::sha256_hex(request.get_ref().text.as_bytes());
        let decide = |request: &pb::AdoptPolicyRequest, given: &mut Given<'_>| {
            registry::adopt_policy(request, &sha256, given)
        };
        let reply = |sha256| pb::AdoptPolicyResponse { sha256, receipt: None };
        self.command(request, decide, reply).await
    }

    async fn get_post(
        &self,
        request: Request<pb::GetPostRequest>,
    ) -> Result<Response<pb::GetPostResponse>, Status> {
        self.0.context(request.metadata()).await?;
        posts::get(&self.0.directory(), request.get_ref()).map(Response::new)
    }

    async fn list_posts(
        &self,
        request: Request<pb::ListPostsRequest>,
    ) -> Result<Response<pb::ListPostsResponse>, Status> {
        let caller = self.0.context(request.metadata()).await?;
        posts::list(&self.0, &caller, request.get_ref()).map(Response::new)
    }
}
