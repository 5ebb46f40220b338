//! What a process offers to its services: the log, the directory, folded states, and who may call.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tasuki_auth::{AuthError, Caller, Verifier, bearer};
use tasuki_domain::case::CaseState;
use tasuki_domain::consultation::ConsultationState;
use tasuki_domain::directory::Directory;
use tasuki_domain::ids::CaseId;
use tasuki_domain::meeting::MeetingState;
use tasuki_log::{
    Attachments, BlindIndex, Database, Gained, Keyring, LogError, ReadRecords, Reader, Sealer, Writer,
    WriterOptions,
};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::metadata::MetadataMap;
use uuid::Uuid;

use crate::clock::Clock;
use crate::context::Context;
use crate::directory::Follower;
use crate::errors;
use crate::states::{Loaded, States};

/// What a platform is made of.
pub struct PlatformOptions {
    /// Where the log lives.
    pub database: Database,
    /// Where the wrapped data keys live, apart from the log.
    pub keys: Database,
    /// Master, signing and digest keys.
    pub keyring: Keyring,
    /// Who issues tokens.
    pub verifier: Arc<Verifier>,
    /// Bounds of the writer.
    pub writer: WriterOptions,
    /// The clock by which is read.
    pub clock: Clock,
}

/// Shared by the services of one process. Cheap to clone.
#[derive(Clone)]
pub struct Platform(Arc<Inner>);

struct Inner {
    database: Database,
    reader: Reader,
    writer: Writer,
    sealer: Sealer,
    reads: ReadRecords,
    attachments: Attachments,
    keyring: Keyring,
    verifier: Arc<Verifier>,
    clock: Clock,
    directory: Follower,
    cases: States<CaseState>,
    consultations: States<ConsultationState>,
    meetings: States<MeetingState>,
    streams: moka::sync::Cache<Uuid, Uuid>,
}

impl std::fmt::Debug for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Platform").finish_non_exhaustive()
    }
}

impl Platform {
    /// Starts the writing and recording tasks and reads the directory.
    pub async fn start(options: PlatformOptions) -> Result<Self, LogError> {
        let PlatformOptions { database, keys, keyring, verifier, writer, clock } = options;
        let reader = Reader::new(database.clone());
        let sealer = Sealer::new(keyring.clone(), database.clone(), keys);
        let directory = Follower::new(reader.clone());
        directory.refresh().await?;
        Ok(Self(Arc::new(Inner {
            writer: Writer::start(database.clone(), keyring.clone(), sealer.clone(), writer),
            reads: ReadRecords::start(database.clone(), keyring.clone()),
            attachments: Attachments::new(database.clone(), sealer.clone()),
            cases: States::new(reader.clone()),
            consultations: States::new(reader.clone()),
            meetings: States::new(reader.clone()),
            streams: moka::sync::Cache::new(50_000),
            database,
            reader,
            sealer,
            keyring,
            verifier,
            clock,
            directory,
        })))
    }

    /// Completes with the name of a task without which nothing can be answered, once that has ended: by a panic, since
    /// it otherwise lives as long as this does.
    pub async fn failed(&self) -> &'static str {
        tokio::select! {
            () = self.0.writer.ended() => "the task that appends has ended",
            () = self.0.reads.ended() => "the task that puts reads on record has ended",
        }
    }

    /// Keeps the directory fresh until cancelled: after own appends at once, after others' within `every`.
    pub async fn follow_directory(self, every: Duration, cancel: CancellationToken) {
        let mut head = self.0.writer.head();
        let mut alone = false;
        loop {
            let tick = tokio::time::sleep(every);
            tokio::select! {
                () = cancel.cancelled() => return,
                () = tick => {}
                changed = head.changed(), if !alone => alone = changed.is_err(),
            }
            if let Err(error) = self.0.directory.refresh().await {
                tracing::debug!(%error, "directory not refreshed");
            }
        }
    }

    /// Whom the token stands for that the value of an `authorization` header carries.
    ///
    /// `more` says whether there was more than one: what stands in front might have looked at the other.
    /// Errors: UNAUTHENTICATED with the token's reason.
    pub fn authenticate(&self, authorization: Option<&str>, more: bool) -> Result<Arc<Caller>, Status> {
        let single = if more { Err(AuthError::Malformed("more than one token")) } else { Ok(()) };
        let verified = single
            .and_then(|()| bearer(authorization))
            .and_then(|token| self.0.verifier.verify(token, Timestamp::now().as_second()))
            .and_then(|caller| if self.revoked(&caller) { Err(AuthError::Revoked) } else { Ok(caller) });
        verified.map_err(|e| errors::unauthenticated(&e))
    }

    /// Whether the caller's token was revoked, as of the directory of a moment ago.
    fn revoked(&self, caller: &Caller) -> bool {
        self.directory().revoked.covers(caller.token_id.as_deref(), &caller.subject, caller.issued_at_s)
    }

    /// What a stream asks again and again: whether its token still lets its caller in, and the caller holds the post.
    ///
    /// Errors: UNAUTHENTICATED with the reason; PERMISSION_DENIED `POST_NOT_HELD`.
    pub fn still_in(&self, context: &Context) -> Result<(), Status> {
        let now = Timestamp::now();
        let out = if now.as_second() >= context.expires_at_s {
            AuthError::Expired
        } else if self.revoked(&context.token) {
            AuthError::Revoked
        } else if !self.0.verifier.still_trusts(&context.token) {
            AuthError::UnknownKey
        } else if context.still_holds(&self.directory(), now) {
            return Ok(());
        } else {
            return Err(crate::context::not_held());
        };
        Err(errors::unauthenticated(&out))
    }

    /// The caller of a request.
    ///
    /// Errors: UNAUTHENTICATED with the token's reason; PERMISSION_DENIED `POST_NOT_HELD`; malformed metadata.
    pub async fn context(&self, metadata: &MetadataMap) -> Result<Context, Status> {
        let mut given = metadata.get_all("authorization").iter();
        let first = given.next().and_then(|v| v.to_str().ok());
        let caller = self.authenticate(first, given.next().is_some())?;
        match Context::read(&caller, metadata, &self.directory()) {
            Err(status) if status.code() == tonic::Code::PermissionDenied => {
                // The post may have been created or given a moment ago by another process.
                self.0.directory.refresh().await.map_err(|e| errors::fault(&e))?;
                Context::read(&caller, metadata, &self.directory())
            }
            result => result,
        }
    }

    /// The directory as of a moment ago.
    pub fn directory(&self) -> Arc<Directory> {
        self.0.directory.snapshot()
    }

    /// Folds what the directory has gained.
    pub async fn refresh_directory(&self) -> Result<(), LogError> {
        self.0.directory.refresh().await
    }

    /// A case as of now.
    pub async fn case(&self, case: CaseId) -> Result<Loaded<CaseState>, LogError> {
        self.0.cases.load(case.0).await
    }

    /// Cases as of now, in the order given, each with its disclosure epoch at the same instant.
    pub async fn cases_with_epochs(
        &self,
        cases: &[CaseId],
    ) -> Result<Vec<(CaseId, u64, Arc<CaseState>)>, LogError> {
        let states = &self.0.cases;
        // Before the statement: what it finds has then been gained since.
        let cached: Vec<Option<Arc<CaseState>>> = cases.iter().map(|case| states.cached(case.0)).collect();
        let known = |state: &Option<Arc<CaseState>>| state.as_ref().map_or(0, |state| state.version);
        let since: Vec<(Uuid, u64)> = cases.iter().zip(&cached).map(|(c, s)| (c.0, known(s))).collect();
        let gained = tasuki_log::gained(&self.0.database, &since).await?;
        let advance = |(case, cached): (Gained, _)| {
            let state = states.advance(case.case, cached, &case.records)?;
            Ok((CaseId(case.case), case.epoch, state))
        };
        gained.into_iter().zip(cached).map(advance).collect()
    }

    /// A consultation as of now.
    pub async fn consultation(&self, id: Uuid) -> Result<Loaded<ConsultationState>, LogError> {
        self.0.consultations.load(id).await
    }

    /// A meeting as of now.
    pub async fn meeting(&self, id: Uuid) -> Result<Loaded<MeetingState>, LogError> {
        self.0.meetings.load(id).await
    }

    /// The case of a referral, hand-off or document; `None` for an unknown one.
    pub async fn case_of(&self, item: Uuid) -> Result<Option<CaseId>, LogError> {
        if let Some(stream) = self.0.streams.get(&item) {
            return Ok(Some(CaseId(stream)));
        }
        let found = self.0.reader.stream_of(item).await?;
        if let Some(stream) = found {
            self.0.streams.insert(item, stream);
        }
        Ok(found.map(CaseId))
    }

    /// Today in Asia/Tokyo, as days since 1970-01-01: the day on which grants are looked at.
    pub fn today(&self) -> i32 {
        crate::reading::day_of(self.0.clock.now())
    }

    /// Reads of the log.
    pub fn reader(&self) -> &Reader {
        &self.0.reader
    }

    /// Appends to the log.
    pub fn writer(&self) -> &Writer {
        &self.0.writer
    }

    /// Opens sealed parts.
    pub fn sealer(&self) -> &Sealer {
        &self.0.sealer
    }

    /// Puts reads on record.
    pub fn reads(&self) -> &ReadRecords {
        &self.0.reads
    }

    /// The sealed bytes of documents.
    pub fn attachments(&self) -> &Attachments {
        &self.0.attachments
    }

    /// Finds cases by tokens of what tells one child from another.
    pub fn blind_index(&self) -> BlindIndex {
        BlindIndex::new(self.0.database.clone())
    }

    /// Keyed digests of what a caller holds; they outlive rotations.
    pub fn keyring(&self) -> &Keyring {
        &self.0.keyring
    }
}
