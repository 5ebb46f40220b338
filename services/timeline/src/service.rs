//! The gRPC edge of the views: takes the caller, hands plain arguments on, gives the answer back.

use std::pin::Pin;

use futures::Stream;
use tasuki_contract::timeline::v1 as pb;
use tasuki_contract::timeline::v1::timeline_service_server::{TimelineService, TimelineServiceServer};
use tasuki_kit::Platform;
use tasuki_views::Views;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};
use tracing::Instrument as _;

use crate::asking::Asking;
use crate::desk::{Desk, TimelineOptions};
use crate::seats::Seats;
use crate::stream::{self, Subscription};
use crate::{explain, ledger, links, lists, queries};

/// Items that a stream may hold unsent.
const UNSENT_MAX: usize = 1;

/// Views and streams for one post.
#[derive(Clone, Debug)]
pub struct Timeline {
    desk: Desk,
}

impl Timeline {
    /// Reads `views` and the log of `platform`.
    pub fn new(platform: Platform, views: Views, options: TimelineOptions) -> Self {
        Self { desk: Desk { platform, views, options, seats: Seats::default() } }
    }

    /// The service, to be added to a server.
    pub fn into_server(self) -> TimelineServiceServer<Self> {
        TimelineServiceServer::new(self)
    }

    async fn asking(&self, metadata: &MetadataMap, method: &'static str) -> Result<Asking, Status> {
        let context = self.desk.platform.context(metadata).await?;
        Asking::new(context, &self.desk.platform.directory(), method)
    }
}

#[tonic::async_trait]
impl TimelineService for Timeline {
    async fn get_case_card(
        &self,
        request: Request<pb::GetCaseCardRequest>,
    ) -> Result<Response<pb::GetCaseCardResponse>, Status> {
        let asking = self.asking(request.metadata(), "TimelineService/GetCaseCard").await?;
        queries::card(&self.desk, &asking, request.get_ref()).await.map(Response::new)
    }

    async fn get_timeline(
        &self,
        request: Request<pb::GetTimelineRequest>,
    ) -> Result<Response<pb::GetTimelineResponse>, Status> {
        let asking = self.asking(request.metadata(), "TimelineService/GetTimeline").await?;
        queries::timeline(&self.desk, &asking, request.get_ref()).await.map(Response::new)
    }

    async fn explain_access(
        &self,
        request: Request<pb::ExplainAccessRequest>,
    ) -> Result<Response<pb::ExplainAccessResponse>, Status> {
        let asking = self.asking(request.metadata(), "TimelineService/ExplainAccess").await?;
        explain::explain(&self.desk, &asking, request.get_ref()).await.map(Response::new)
    }

    async fn list_caseload(
        &self,
        request: Request<pb::ListCaseloadRequest>,
    ) -> Result<Response<pb::ListCaseloadResponse>, Status> {
        let asking = self.asking(request.metadata(), "TimelineService/ListCaseload").await?;
        lists::caseload(&self.desk, &asking, request.get_ref()).await.map(Response::new)
    }

    async fn list_duties(
        &self,
        request: Request<pb::ListDutiesRequest>,
    ) -> Result<Response<pb::ListDutiesResponse>, Status> {
        let asking = self.asking(request.metadata(), "TimelineService/ListDuties").await?;
        lists::duties(&self.desk, &asking, request.get_ref()).await.map(Response::new)
    }

    type SubscribeStream = Pin<Box<dyn Stream<Item = Result<pb::SubscribeResponse, Status>> + Send>>;

    async fn subscribe(
        &self,
        request: Request<pb::SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let asking = self.asking(request.metadata(), "TimelineService/Subscribe").await?;
        let seat = self.desk.seats.take(asking.post())?;
        let cursor = stream::start(&self.desk, &asking, &request.get_ref().cursor).await?;
        let (out, items) = mpsc::channel(UNSENT_MAX);
        let subscription = Subscription { desk: self.desk.clone(), asking, cursor, out, _seat: seat };
        // A root of its own: the stream outlives the call's span, and each delivery belongs to the trace of its event.
        tokio::spawn(subscription.run().instrument(tracing::Span::none()));
        Ok(Response::new(Box::pin(ReceiverStream::new(items))))
    }

    async fn read_feed(
        &self,
        request: Request<pb::ReadFeedRequest>,
    ) -> Result<Response<pb::ReadFeedResponse>, Status> {
        let asking = self.asking(request.metadata(), "TimelineService/ReadFeed").await?;
        stream::read_feed(&self.desk, &asking, request.get_ref()).await.map(Response::new)
    }

    async fn get_feed_head(
        &self,
        request: Request<pb::GetFeedHeadRequest>,
    ) -> Result<Response<pb::GetFeedHeadResponse>, Status> {
        let asking = self.asking(request.metadata(), "TimelineService/GetFeedHead").await?;
        links::head(&self.desk, &asking).await.map(Response::new)
    }

    async fn list_feed_links(
        &self,
        request: Request<pb::ListFeedLinksRequest>,
    ) -> Result<Response<pb::ListFeedLinksResponse>, Status> {
        let asking = self.asking(request.metadata(), "TimelineService/ListFeedLinks").await?;
        links::links(&self.desk, &asking, request.get_ref()).await.map(Response::new)
    }

    async fn list_reads(
        &self,
        request: Request<pb::ListReadsRequest>,
    ) -> Result<Response<pb::ListReadsResponse>, Status> {
        let asking = self.asking(request.metadata(), "TimelineService/ListReads").await?;
        ledger::reads(&self.desk, &asking, request.get_ref()).await.map(Response::new)
    }
}
