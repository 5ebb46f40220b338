//! A document comes: announced, put, completed.
//!
//! What was announced is nobody's but the announcing post's until its event is in the log. A refusal of the bytes
//! leaves nothing of them.

use prost::Message as _;
use tasuki_contract::attachments::v1 as pb;
use tasuki_domain::attachment::content::Inspection;
use tasuki_domain::attachment::{self, Announced};
use tasuki_domain::case::CaseState;
use tasuki_domain::decision::Given;
use tasuki_domain::ids::{AttachmentId, CaseId, PostId};
use tasuki_domain::refusal::{Reason, Violation};
use tasuki_kit::states::Loaded;
use tasuki_kit::{Context, Platform, command, errors};
use tasuki_log::attachments::{Begun, NewAttachment, Put, Unfinished};
use tasuki_log::{AppendError, LogError};
use tonic::{Code, Status};
use uuid::Uuid;

/// Documents that a post may have announced and not completed.
const UNFINISHED_MAX: i64 = 8;

pub(crate) async fn begin(
    platform: &Platform,
    caller: &Context,
    request: &pb::BeginAttachmentRequest,
) -> Result<pb::BeginAttachmentResponse, Status> {
    if caller.request_id.is_empty() {
        return Err(errors::invalid_field("x-request-id", Violation::MISSING));
    }
    let post = caller.actor.post;
    let case = CaseId(Uuid::try_parse(&request.case_id).unwrap_or_default());
    let state = platform.case(case).await.map_err(|e| errors::fault(&e))?;
    let case = attachment::begin(&state.state, request, post).map_err(|e| errors::refused(&e))?;
    let new = NewAttachment {
        attachment: Uuid::now_v7(),
        case: case.0,
        agency: caller.actor.agency.0,
        post: post.0,
        request_id: caller.request_id.clone(),
        request_digest: platform.keyring().digest(&[
            b"AttachmentService/BeginAttachment",
            post.0.as_bytes(),
            &request.encode_to_vec(),
        ]),
        about: request.encode_to_vec(),
    };
    match platform.attachments().begin(&new, UNFINISHED_MAX).await {
        Ok(Begun::As(id)) => Ok(pb::BeginAttachmentResponse {
            attachment_id: id.to_string(),
            chunk_bytes: attachment::CHUNK_BYTES as i32,
            chunks: attachment::chunks(request.size_bytes),
        }),
        Ok(Begun::RequestReused) => Err(errors::append_failed(&AppendError::RequestReused)),
        Ok(Begun::TooMany) => Err(errors::status(
            Code::FailedPrecondition,
            "TOO_MANY_UNFINISHED",
            "your post has announced as many documents as it may; complete some first, the others end after 24 hours",
            "未完了の書類の数が上限に達しています。先に完了してください。完了しないものは24時間後に破棄されます",
        )),
        Err(LogError::Unopenable { .. } | LogError::Erased { .. }) => Err(crate::read::gone()),
        Err(error) => Err(errors::fault(&error)),
    }
}

pub(crate) async fn chunk(
    platform: &Platform,
    caller: &Context,
    request: &pb::PutChunkRequest,
) -> Result<pb::PutChunkResponse, Status> {
    let id = Uuid::try_parse(&request.attachment_id)
        .map_err(|_| errors::invalid_field("attachment_id", Violation::NOT_A_UUID))?;
    well_formed(request)?;
    let (unfinished, about) =
        announced(platform, caller.actor.post, id).await?.ok_or_else(errors::not_found)?;
    let bytes = attachment::chunk_bytes(about.size_bytes, request.index)
        .ok_or_else(|| errors::invalid_field("index", Violation::OUT_OF_RANGE))?;
    if request.data.len() != bytes {
        return Err(errors::invalid_field("data", Violation::OUT_OF_RANGE));
    }
    let put =
        platform.attachments().put(id, unfinished.case, &about.sha256, request.index, &request.data).await;
    match put.map_err(|e| errors::fault(&e))? {
        Put::Kept => Ok(pb::PutChunkResponse {}),
        Put::Gone => Err(errors::not_found()),
        Put::Differs => Err(errors::status(
            Code::FailedPrecondition,
            "CHUNK_DIFFERS",
            "another chunk was put under that index; begin again with a document that does not change meanwhile",
            "同じ番号で別の内容がすでに送られています。変更されない書類で、最初からやり直してください",
        )),
    }
}

/// Before anything is looked up: what no document can have.
fn well_formed(request: &pb::PutChunkRequest) -> Result<(), Status> {
    let last = attachment::chunks(attachment::SIZE_BYTES_MAX) - 1;
    let mut wrong = Vec::new();
    if !(0..=last).contains(&request.index) {
        wrong.push(Violation::new("index", Violation::OUT_OF_RANGE));
    }
    match request.data.len() {
        0 => wrong.push(Violation::new("data", Violation::MISSING)),
        n if n > attachment::CHUNK_BYTES => wrong.push(Violation::new("data", Violation::TOO_LARGE)),
        _ => {}
    }
    if wrong.is_empty() { Ok(()) } else { Err(errors::invalid(&wrong)) }
}

pub(crate) async fn complete(
    platform: &Platform,
    caller: &Context,
    request: &pb::CompleteAttachmentRequest,
) -> Result<pb::CompleteAttachmentResponse, Status> {
    let id = Uuid::try_parse(&request.attachment_id).unwrap_or_default();
    // Chunks never change, so they are looked at once, whatever happens to the case meanwhile.
    let announced = match announced(platform, caller.actor.post, id).await? {
        Some((unfinished, about)) => {
            let found = inspect(platform, id, &about).await?;
            Some(Announced { attachment: AttachmentId(id), post: PostId(unfinished.post), about, found })
        }
        None => None,
    };
    let announced = announced.as_ref();
    let case = announced.map(|one| CaseId::trusted(&one.about.case_id)).unwrap_or(CaseId(Uuid::nil()));
    let load = || async { platform.case(case).await.map_err(|e| errors::fault(&e)) };
    let decide = |basis: &Loaded<CaseState>, given: &mut Given<'_>| {
        attachment::complete(&basis.state, announced, request, given)
    };
    let reply = |()| pb::CompleteAttachmentResponse::default();
    let answer = command::run(platform, caller, request, load, decide, reply).await;
    let differs = |one: &Announced| matches!(one.found, Err(Reason::DigestDiffers | Reason::TypeDiffers));
    let after = match &answer {
        Ok(_) => platform.attachments().settle(id).await,
        Err(_) if announced.is_some_and(differs) => platform.attachments().discard(id).await,
        Err(_) => Ok(()),
    };
    if let Err(error) = after {
        // The sweep does it later.
        tracing::debug!(%error, "a document was not settled");
    }
    answer
}

/// What the post announced under this id; `None` for what it did not, or what is no longer coming.
async fn announced(
    platform: &Platform,
    post: PostId,
    id: Uuid,
) -> Result<Option<(Unfinished, pb::BeginAttachmentRequest)>, Status> {
    let found = match platform.attachments().unfinished(id).await {
        // Its case was erased.
        Err(LogError::Unopenable { .. } | LogError::Erased { .. }) => None,
        found => found.map_err(|e| errors::fault(&e))?,
    };
    let own = found.filter(|unfinished| unfinished.post == post.0 && !post.0.is_nil());
    let read = |unfinished: Unfinished| {
        let about = pb::BeginAttachmentRequest::decode(unfinished.about.as_slice());
        let about = about.map_err(|_| errors::fault(&LogError::Database("stored announcement".into())))?;
        Ok((unfinished, about))
    };
    own.map(read).transpose()
}

/// Looks at every chunk: the digest of what is sealed, or why the document is not what was announced.
async fn inspect(
    platform: &Platform,
    id: Uuid,
    about: &pb::BeginAttachmentRequest,
) -> Result<Result<Vec<u8>, Reason>, Status> {
    let mut inspection = Inspection::new(about.media_type());
    let chunks = attachment::chunks(about.size_bytes);
    let passed =
        platform.attachments().pass_over(id, &about.sha256, chunks, |bytes| inspection.feed(bytes)).await;
    Ok(match passed.map_err(|e| errors::fault(&e))? {
        None => Err(Reason::ChunksMissing),
        Some((sha256, _)) if sha256 != about.sha256 => Err(Reason::DigestDiffers),
        Some(_) if !inspection.is_of_its_type() => Err(Reason::TypeDiffers),
        Some((_, sealed_digest)) => Ok(sealed_digest),
    })
}
