//! Documents of cases over gRPC: announced, put chunk by chunk, added by an event; read chunk by chunk under policy.
//!
//! Thin: `tasuki_domain::attachment` decides who may add what, `tasuki_privacy` who reads it, `tasuki_log::attachments`
//! keeps the sealed bytes. A document takes little memory here: one chunk at a time.

mod put;
mod read;

use std::sync::Arc;
use std::time::Duration;

use tasuki_contract::attachments::v1 as pb;
use tasuki_contract::attachments::v1::attachment_service_server::AttachmentService;
use tasuki_kit::reading::Asking;
use tasuki_kit::{Platform, errors};
use tasuki_log::AppendError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

/// Calls that hold bytes of documents at once in one process; more are refused at once. Each holds about a megabyte and
/// a connection, and documents must not take all connections from those who read the log.
const BYTES_CALLS_MAX: usize = 8;
/// How often it is looked for what has expired; an announcement looks too.
const SWEEP_EVERY: Duration = Duration::from_secs(600);

/// The service.
#[derive(Clone, Debug)]
pub struct AttachmentsService {
    platform: Platform,
    room: Arc<Semaphore>,
}

impl AttachmentsService {
    /// Serves the documents of the platform's log.
    pub fn new(platform: Platform) -> Self {
        Self { platform, room: Arc::new(Semaphore::new(BYTES_CALLS_MAX)) }
    }

    /// Errors: `OVERLOADED`.
    fn room(&self) -> Result<OwnedSemaphorePermit, Status> {
        let full = |_| errors::append_failed(&AppendError::Overloaded);
        self.room.clone().try_acquire_owned().map_err(full)
    }

    async fn asking<Q>(&self, request: &Request<Q>, method: &'static str) -> Result<Asking, Status> {
        let caller = self.platform.context(request.metadata()).await?;
        Asking::new(caller, &self.platform.directory(), method)
    }
}

/// Throws away what was announced and never completed, until cancelled.
pub async fn sweep(platform: Platform, cancel: CancellationToken) {
    let mut ticks = tokio::time::interval(SWEEP_EVERY);
    while cancel.run_until_cancelled(ticks.tick()).await.is_some() {
        match platform.attachments().sweep().await {
            Ok(0) => {}
            Ok(documents) => tracing::info!(documents, "unfinished documents have expired"),
            Err(error) => tracing::debug!(%error, "unfinished documents could not be looked for"),
        }
    }
}

#[tonic::async_trait]
impl AttachmentService for AttachmentsService {
    async fn begin_attachment(
        &self,
        request: Request<pb::BeginAttachmentRequest>,
    ) -> Result<Response<pb::BeginAttachmentResponse>, Status> {
        let caller = self.platform.context(request.metadata()).await?;
        put::begin(&self.platform, &caller, request.get_ref()).await.map(Response::new)
    }

    async fn put_chunk(
        &self,
        request: Request<pb::PutChunkRequest>,
    ) -> Result<Response<pb::PutChunkResponse>, Status> {
        let caller = self.platform.context(request.metadata()).await?;
        let _room = self.room()?;
        put::chunk(&self.platform, &caller, request.get_ref()).await.map(Response::new)
    }

    async fn complete_attachment(
        &self,
        request: Request<pb::CompleteAttachmentRequest>,
    ) -> Result<Response<pb::CompleteAttachmentResponse>, Status> {
        let caller = self.platform.context(request.metadata()).await?;
        let _room = self.room()?;
        put::complete(&self.platform, &caller, request.get_ref()).await.map(Response::new)
    }

    async fn get_attachment(
        &self,
        request: Request<pb::GetAttachmentRequest>,
    ) -> Result<Response<pb::GetAttachmentResponse>, Status> {
        let asking = self.asking(&request, "AttachmentService/GetAttachment").await?;
        read::get(&self.platform, &asking, request.get_ref()).await.map(Response::new)
    }

    async fn list_attachments(
        &self,
        request: Request<pb::ListAttachmentsRequest>,
    ) -> Result<Response<pb::ListAttachmentsResponse>, Status> {
        let asking = self.asking(&request, "AttachmentService/ListAttachments").await?;
        read::list(&self.platform, &asking, request.get_ref()).await.map(Response::new)
    }

    async fn read_chunk(
        &self,
        request: Request<pb::ReadChunkRequest>,
    ) -> Result<Response<pb::ReadChunkResponse>, Status> {
        let asking = self.asking(&request, "AttachmentService/ReadChunk").await?;
        let _room = self.room()?;
        read::chunk(&self.platform, &asking, request.get_ref()).await.map(Response::new)
    }
}
