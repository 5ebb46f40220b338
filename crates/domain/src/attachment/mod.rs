//! Documents of a case: who may add one, of which class and size, and what a case knows of those that it has.
//!
//! The bytes never come here whole: `content` looks at them chunk by chunk. Nothing here decides who reads them; the
//! event has the class that the document names, and the policy reads that.

pub mod content;

use tasuki_contract::attachments::v1 as pb;
use tasuki_contract::event::v1::ItemKind;
use tasuki_contract::{DataClass, Event};
use uuid::Uuid;

use crate::case::CaseState;
use crate::check::is_link;
use crate::decision::{Decision, Given, Recorded};
use crate::effects::Doing;
use crate::fields;
use crate::ids::{AttachmentId, CaseId, PostId};
use crate::refusal::{Checks, Reason, Refusal, Violation};

/// Bytes of each chunk but the last one.
pub const CHUNK_BYTES: usize = 512 * 1024;
/// Bytes of one document.
pub const SIZE_BYTES_MAX: i32 = 10 * 1024 * 1024;
/// Documents that one post may add to one case. Not of the whole case: what others have added, and the caller may not
/// know of, would show.
pub const OF_A_POST_MAX: usize = 50;
/// Bytes of a SHA-256.
pub const DIGEST_BYTES: usize = 32;
const NAME_CHARS_MAX: usize = 200;

/// The classes that a document may have. What is sealed has a circle of its own and comes with no document.
pub const CLASSES: [DataClass; 8] = [
    DataClass::Identity,
    DataClass::CareProcedure,
    DataClass::Diagnosis,
    DataClass::Instruction,
    DataClass::FamilyCircumstances,
    DataClass::Support,
    DataClass::Consent,
    DataClass::Restricted,
];

/// A document of a case, from header and open fields alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachmentState {
    /// The event that added it.
    pub event: Uuid,
    /// The post that added it.
    pub post: PostId,
    /// How many bytes.
    pub size_bytes: i32,
}

/// A document that was announced and not yet added, with what was found when its chunks were looked at.
#[derive(Clone, Debug)]
pub struct Announced {
    /// The attachment.
    pub attachment: AttachmentId,
    /// The post that announced it.
    pub post: PostId,
    /// What it said.
    pub about: pb::BeginAttachmentRequest,
    /// Digest of the sealed chunks; or `CHUNKS_MISSING`, `DIGEST_DIFFERS`, `TYPE_DIFFERS`.
    pub found: Result<Vec<u8>, Reason>,
}

/// How many chunks so many bytes come in.
pub fn chunks(size_bytes: i32) -> i32 {
    usize::try_from(size_bytes).map_or(0, |size| size.div_ceil(CHUNK_BYTES) as i32)
}

/// Bytes of the chunk with this index; `None` where there is none.
pub fn chunk_bytes(size_bytes: i32, index: i32) -> Option<usize> {
    let (size, index) = (usize::try_from(size_bytes).ok()?, usize::try_from(index).ok()?);
    let before = index.checked_mul(CHUNK_BYTES).filter(|before| *before < size)?;
    Some((size - before).min(CHUNK_BYTES))
}

/// Folds an event of the case's stream.
pub(crate) fn evolve(state: &mut CaseState, recorded: &Recorded) {
    if let Event::AttachmentAdded(added) = &recorded.event {
        let one = AttachmentState {
            event: Uuid::try_parse(&recorded.header.event_id).unwrap_or_default(),
            post: PostId::trusted(&recorded.header.post_id),
            size_bytes: added.size_bytes,
        };
        state.attachments.insert(AttachmentId::trusted(&added.attachment_id), one);
    }
}

/// Whether the post may announce such a document. Caller: a member of the circle.
///
/// Errors: malformed fields, `NOT_FOUND`, `TOO_MANY_ATTACHMENTS`.
pub fn begin(
    state: &CaseState,
    request: &pb::BeginAttachmentRequest,
    post: PostId,
) -> Result<CaseId, Refusal> {
    let mut checks = Checks::default();
    let case = fields::id(&mut checks, "case_id", &request.case_id).map(CaseId);
    if let Some(class) = fields::chosen::<DataClass>(&mut checks, "data_class", request.data_class) {
        checks.require(CLASSES.contains(&class), "data_class", Violation::NOT_ALLOWED);
    }
    fields::chosen::<pb::MediaType>(&mut checks, "media_type", request.media_type);
    let size = request.size_bytes;
    checks.require(size != 0, "size_bytes", Violation::MISSING);
    checks.require(size >= 0, "size_bytes", Violation::OUT_OF_RANGE);
    checks.require(size <= SIZE_BYTES_MAX, "size_bytes", Violation::TOO_LARGE);
    let digest = request.sha256.len();
    checks.require(digest != 0, "sha256", Violation::MISSING);
    checks.require(digest == 0 || digest == DIGEST_BYTES, "sha256", Violation::OUT_OF_RANGE);
    fields::text(&mut checks, "title", &request.title, NAME_CHARS_MAX);
    fields::at_most(&mut checks, "file_name", &request.file_name, NAME_CHARS_MAX);
    for (field, text) in [("title", &request.title), ("file_name", &request.file_name)] {
        checks.require(!text.contains(['\n', '\t']), field, Violation::CONTROL_CHARACTER);
        checks.require(!is_link(text), field, Violation::LINK_NOT_ALLOWED);
    }
    checks.require(!request.file_name.contains(['/', '\\']), "file_name", Violation::NOT_ALLOWED);
    checks.done()?;
    may_add(state, post)?;
    Ok(case.unwrap_or(CaseId(Uuid::nil())))
}

/// Adds a document that was announced. Caller: the post that announced it, as long as it is a member of the circle.
///
/// Errors: malformed fields, `NOT_FOUND`, `TOO_MANY_ATTACHMENTS`, and what was found when the chunks were looked at.
pub fn complete(
    state: &CaseState,
    announced: Option<&Announced>,
    request: &pb::CompleteAttachmentRequest,
    given: &mut Given<'_>,
) -> Result<Decision<()>, Refusal> {
    let mut checks = Checks::default();
    fields::id(&mut checks, "attachment_id", &request.attachment_id);
    checks.done()?;
    let me = given.actor.post;
    let announced = announced.filter(|announced| announced.post == me).ok_or(Reason::NotFound)?;
    let id = announced.attachment;
    // It was added by an earlier call, which is told by its own request id.
    if state.attachments.contains_key(&id) {
        return Err(Reason::NotFound.into());
    }
    may_add(state, me)?;
    let sealed_digest = announced.found.clone()?;
    let about = &announced.about;
    let case = CaseId::trusted(&about.case_id);
    let event = pb::AttachmentAdded {
        attachment_id: id.into(),
        case_id: case.into(),
        data_class: about.data_class,
        media_type: about.media_type,
        size_bytes: about.size_bytes,
        sealed_digest,
        sha256: about.sha256.clone(),
        title: about.title.clone(),
        file_name: about.file_name.clone(),
    };
    let doing = Doing::of(case).parties([me]).item(ItemKind::ItemAttachment, id.0, "added", []);
    Ok(Decision { events: vec![doing.by(CaseState::stream(case), event)], reply: (), item: Some((id.0, 1)) })
}

fn may_add(state: &CaseState, post: PostId) -> Result<(), Refusal> {
    if !state.exists() || !state.circle.is_member(post) {
        return Err(Reason::NotFound.into());
    }
    let own = state.attachments.values().filter(|one| one.post == post).count();
    if own >= OF_A_POST_MAX {
        return Err(Reason::TooManyAttachments.into());
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests;
