//! Documents of a case, from the first chunk to the last reader: what comes, what is refused, who reads, what lies
//! where.

use std::path::PathBuf;

use prost::Message as _;
use tasuki_contract::attachments::v1::{self as pb, MediaType};
use tasuki_contract::common::v1::{Date, DocumentRef, fact::Value};
use tasuki_contract::consent::v1::RecordSignedConsentRequest;
use tasuki_contract::event::v1::{Recipient, recipient::Who};
use tasuki_contract::intake::v1 as intake;
use tasuki_contract::timeline::v1 as timeline;
use tasuki_contract::{DataClass, Event};
use tasuki_tests::{Caller, Paper, Program, World, fact, referral};
use tonic::Code;
use uuid::Uuid;

use crate::PROGRAM;
use crate::answer::Seen;

const MARK: &str = "MARK-OF-A-DOCUMENT";
/// Three chunks.
const BYTES: usize = 1_200_000;

/// A case that a hospital has sent and a coordinator leads, with a nurse, a vendor and the family in its circle.
struct Case {
    world: World,
    program: Program,
    hospital: Caller,
    coordinator: Caller,
    id: String,
}

impl Case {
    async fn open() -> Self {
        let world = World::start(PROGRAM).await.unwrap();
        let program = world.ready().await.unwrap();
        let hospital = world.caller(&program, "hospital.discharge").await.unwrap();
        let coordinator = world.caller(&program, "coordinator.desk").await.unwrap();
        let request = hospital.request(referral(coordinator.post, "kita_A"));
        let sent = hospital.referrals().submit_referral(request).await.unwrap().into_inner();
        let tomorrow = jiff::Timestamp::now().in_tz("Asia/Tokyo").unwrap().date().tomorrow().unwrap();
        let date = |day: jiff::civil::Date| {
            Some(Date { year: day.year().into(), month: day.month().into(), day: day.day().into() })
        };
        let accept = intake::AcceptReferralRequest {
            referral_id: sent.referral_id,
            as_lead: true,
            first_contact_on: date(tomorrow),
            ..Default::default()
        };
        coordinator.referrals().accept_referral(coordinator.request(accept)).await.unwrap();
        let post = |slug| Recipient { who: Some(Who::PostId(world.post(slug).1.to_string())) };
        let consent = RecordSignedConsentRequest {
            case_id: sent.case_id.clone(),
            recipients: ["nursing.station", "vendor.service", "family-a.guardian"].map(post).into(),
            classes: [DataClass::Diagnosis, DataClass::Support].map(|class| class as i32).into(),
            signer_relation: "mother".to_owned(),
            consent_method: "paper".to_owned(),
            signed_on: date(tomorrow.yesterday().unwrap()),
            ..Default::default()
        };
        coordinator.consents().record_signed_consent(coordinator.request(consent)).await.unwrap();
        Self { world, program, hospital, coordinator, id: sent.case_id }
    }

    async fn caller(&self, slug: &str) -> Caller {
        self.world.caller(&self.program, slug).await.unwrap()
    }

    fn diagnosis(&self) -> Paper {
        Paper::pdf(&self.id, DataClass::Diagnosis, MARK, BYTES)
    }

    async fn sql(&self, statement: &str) -> String {
        self.world.stack.postgres.sql("tasuki", statement).await.unwrap().trim().to_owned()
    }

    /// Documents and chunks that lie there, added or not.
    async fn kept(&self) -> (String, String) {
        let documents = self.sql("SELECT count(*) FROM log.attachments").await;
        (documents, self.sql("SELECT count(*) FROM log.attachment_chunks").await)
    }
}

async fn get(caller: &Caller, id: &str) -> Result<pb::Attachment, tonic::Status> {
    let request = pb::GetAttachmentRequest { attachment_id: id.to_owned() };
    let answer = caller.attachments().get_attachment(caller.request(request)).await?;
    Ok(answer.into_inner().attachment.unwrap())
}

async fn list(caller: &Caller, case: &str) -> Result<pb::ListAttachmentsResponse, tonic::Status> {
    let request = pb::ListAttachmentsRequest { case_id: case.to_owned(), ..Default::default() };
    Ok(caller.attachments().list_attachments(caller.request(request)).await?.into_inner())
}

async fn complete(caller: &Caller, id: &str) -> Result<pb::CompleteAttachmentResponse, tonic::Status> {
    let request = pb::CompleteAttachmentRequest { attachment_id: id.to_owned(), context: None };
    Ok(caller.attachments().complete_attachment(caller.request(request)).await?.into_inner())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_comes_in_any_order_and_again_and_goes_to_those_who_read_its_class_in_full() {
    let case = Case::open().await;
    let (hospital, paper) = (&case.hospital, case.diagnosis());
    let mut service = hospital.attachments();
    let announce = async |request_id: &str| {
        let request = hospital.request_as(paper.announcement(), request_id);
        hospital.attachments().begin_attachment(request).await.unwrap().into_inner()
    };
    let begun = announce("once").await;
    assert_eq!((begun.chunk_bytes, begun.chunks), (524_288, 3));
    assert_eq!(announce("once").await, begun, "a retry gets the same");
    let id = begun.attachment_id;
    let chunks = paper.chunks(&id);
    for index in [2, 0, 0, 1, 2] {
        service.put_chunk(hospital.request(chunks[index].clone())).await.unwrap();
        assert_eq!(Seen::refused(get(hospital, &id).await).code, Code::NotFound, "before it is complete");
    }
    let request = pb::CompleteAttachmentRequest { attachment_id: id.clone(), context: None };
    let done = service.complete_attachment(hospital.request_as(request.clone(), "done")).await.unwrap();
    let again = service.complete_attachment(hospital.request_as(request, "done")).await.unwrap();
    assert_eq!(done.get_ref(), again.get_ref(), "a retry gets the same");
    assert_eq!(Seen::refused(complete(hospital, &id).await).code, Code::NotFound, "it is not added twice");
    assert_eq!(case.kept().await, ("1".to_owned(), "3".to_owned()));
    case.world.views_reach_the_log().await.unwrap();

    // In full: bytes and title.
    for slug in ["hospital.discharge", "nursing.station", "family-a.guardian"] {
        let me = case.caller(slug).await;
        let found = get(&me, &id).await.unwrap();
        let content = found.content.unwrap();
        assert!(found.readable && content.title == paper.title, "{slug}");
        assert_eq!(content.sha256, paper.announcement().sha256, "{slug}");
        assert!(Paper::read(&me, &id, 3).await.unwrap() == paper.bytes, "{slug}");
        assert_eq!(list(&me, &case.id).await.unwrap().attachments.len(), 1, "{slug}");
    }
    // In summary: that there is one, of which type and size; never what it is called.
    let found = get(&case.coordinator, &id).await.unwrap();
    let content = found.content.clone().unwrap();
    assert!(!found.readable && found.withheld_classes.contains(&DataClass::Diagnosis.into()));
    assert_eq!((content.media_type(), content.size_bytes), (MediaType::Pdf, paper.bytes.len() as i32));
    assert!(content.title.is_empty() && content.file_name.is_empty() && content.sha256.is_empty());
    let seen = Seen::refused(Paper::read(&case.coordinator, &id, 3).await.map(|bytes| bytes.len()));
    assert_eq!((seen.code, seen.reason.as_str()), (Code::PermissionDenied, "CONTENT_WITHHELD"));
    // Not at all: neither in the circle nor outside it, and nothing tells it from a document that does not exist.
    let unknown = Uuid::now_v7().to_string();
    for slug in ["vendor.service", "homedoctor.clinic"] {
        let me = case.caller(slug).await;
        assert_eq!(Seen::refused(get(&me, &id).await).whole, Seen::refused(get(&me, &unknown).await).whole);
        let read =
            async |id: &str| Seen::refused(Paper::read(&me, id, 3).await.map(|bytes| bytes.len())).whole;
        assert_eq!(read(&id).await, read(&unknown).await, "{slug}");
    }
    let vendor = list(&case.caller("vendor.service").await, &case.id).await.unwrap();
    assert!(vendor.attachments.is_empty() && vendor.withheld_classes.contains(&DataClass::Diagnosis.into()));
    let outsider = case.caller("homedoctor.clinic").await;
    assert_eq!(Seen::refused(list(&outsider, &case.id).await).code, Code::NotFound);

    it_stands_in_the_timeline(&case, &id, &paper).await;
}

/// With its title for who reads it, without for who reads a summary, not at all for others.
async fn it_stands_in_the_timeline(case: &Case, id: &str, paper: &Paper) {
    for (slug, title) in [
        ("nursing.station", Some(paper.title.as_str())),
        ("coordinator.desk", Some("")),
        ("vendor.service", None),
    ] {
        let me = case.caller(slug).await;
        let request = timeline::GetTimelineRequest { case_id: case.id.clone(), ..Default::default() };
        let page = me.timeline().get_timeline(me.request(request)).await.unwrap().into_inner();
        let events = page.items.iter().filter_map(|item| item.event.as_ref());
        let added = events.filter_map(|any| {
            match Event::decode(any.type_url.rsplit('/').next()?, &[&any.value]).ok()? {
                Event::AttachmentAdded(added) => Some(added),
                _ => None,
            }
        });
        let added: Vec<pb::AttachmentAdded> = added.collect();
        assert_eq!(added.first().map(|added| added.title.as_str()), title, "{slug}");
        assert!(added.iter().all(|added| added.attachment_id == *id), "{slug}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_chunk_that_is_read_is_on_record() {
    let case = Case::open().await;
    let id = case.diagnosis().add(&case.hospital).await.unwrap();
    let nurse = case.caller("nursing.station").await;
    Paper::read(&nurse, &id, 3).await.unwrap();
    let event = get(&nurse, &id).await.unwrap().event_id;
    let rows = case
        .sql(&format!(
            "SELECT method, count(*) FROM log.reads WHERE post_id = '{}' AND '{}' = ANY(case_ids) \
             AND event_ids = ARRAY['{event}'::uuid] AND cardinality(grant_ids) = 1 GROUP BY 1 ORDER BY 1",
            nurse.post, case.id
        ))
        .await;
    assert_eq!(rows, "AttachmentService/GetAttachment|1\nAttachmentService/ReadChunk|3");
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_not_what_was_announced_are_refused_and_nothing_of_them_is_left() {
    let case = Case::open().await;
    let hospital = &case.hospital;
    let good = Paper { bytes: b"%PDF-1.7 example".to_vec(), ..case.diagnosis() };
    let refused = async |paper: &Paper, announced: pb::BeginAttachmentRequest| {
        let begun = hospital.attachments().begin_attachment(hospital.request(announced)).await.unwrap();
        let id = begun.into_inner().attachment_id;
        for chunk in paper.chunks(&id) {
            hospital.attachments().put_chunk(hospital.request(chunk)).await.unwrap();
        }
        Seen::refused(complete(hospital, &id).await).reason
    };
    let other = Paper { bytes: b"%PDF-1.7 exomple".to_vec(), ..good.clone() };
    assert_eq!(refused(&other, good.announcement()).await, "DIGEST_DIFFERS");
    for (media_type, bytes) in [
        (MediaType::Pdf, "<html><script>"),
        (MediaType::Png, "%PDF-1.7 example"),
        (MediaType::Jpeg, "%PDF-1.7 example"),
        (MediaType::PlainText, "例示\u{1b}[2J"),
        (MediaType::PlainText, "例示\0"),
    ] {
        let paper = Paper { media_type, bytes: bytes.into(), ..good.clone() };
        assert_eq!(refused(&paper, paper.announcement()).await, "TYPE_DIFFERS", "{media_type:?}");
    }
    assert_eq!(case.kept().await, ("0".to_owned(), "0".to_owned()), "something is left");
    assert!(list(hospital, &case.id).await.unwrap().attachments.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_too_many_or_put_wrongly_is_refused() {
    let case = Case::open().await;
    let (hospital, paper) = (&case.hospital, case.diagnosis());
    let begin = async |request: pb::BeginAttachmentRequest| {
        hospital.attachments().begin_attachment(hospital.request(request)).await
    };
    let large = pb::BeginAttachmentRequest { size_bytes: 10 * 1024 * 1024 + 1, ..paper.announcement() };
    assert_eq!(Seen::refused(begin(large).await).fields, [("size_bytes".to_owned(), "TOO_LARGE".to_owned())]);

    let id = begin(paper.announcement()).await.unwrap().into_inner().attachment_id;
    let put = async |caller: &Caller, index: i32, data: &[u8]| {
        let request = pb::PutChunkRequest { attachment_id: id.clone(), index, data: data.to_vec() };
        caller.attachments().put_chunk(caller.request(request)).await
    };
    let chunks = paper.chunks(&id);
    for (index, data, field) in
        [(3, &chunks[2].data, "index"), (0, &chunks[2].data, "data"), (2, &chunks[0].data, "data")]
    {
        assert_eq!(Seen::refused(put(hospital, index, data).await).fields[0].0, field);
    }
    let seen = Seen::refused(put(hospital, 0, &vec![0; 2 << 20]).await);
    assert_eq!(seen.reason, "MESSAGE_TOO_LARGE");
    put(hospital, 0, &chunks[0].data).await.unwrap();
    assert_eq!(Seen::refused(put(hospital, 0, &chunks[1].data).await).reason, "CHUNK_DIFFERS");
    // Nobody else's to put or complete.
    assert_eq!(Seen::refused(put(&case.coordinator, 1, &chunks[1].data).await).code, Code::NotFound);
    assert_eq!(Seen::refused(complete(&case.coordinator, &id).await).code, Code::NotFound);
    assert_eq!(Seen::refused(complete(hospital, &id).await).reason, "CHUNKS_MISSING");
    put(hospital, 1, &chunks[1].data).await.unwrap();
    put(hospital, 2, &chunks[2].data).await.unwrap();
    complete(hospital, &id).await.unwrap();

    for _ in 0..8 {
        begin(paper.announcement()).await.unwrap();
    }
    assert_eq!(Seen::refused(begin(paper.announcement()).await).reason, "TOO_MANY_UNFINISHED");
    // One post's unfinished documents are nobody else's limit; the largest document is one that may come.
    let mut largest = Paper::pdf(&case.id, DataClass::Support, MARK, 10 << 20);
    largest.bytes.truncate(10 << 20);
    let id = largest.add(&case.coordinator).await.unwrap();
    assert!(Paper::read(&case.coordinator, &id, 20).await.unwrap() == largest.bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_bytes_at_once_than_there_is_room_for_are_refused_at_once_and_nothing_else_is() {
    let case = Case::open().await;
    let (hospital, paper) = (&case.hospital, case.diagnosis());
    let id = paper.put(hospital).await.unwrap();
    let (blocker, connection) =
        tokio_postgres::connect(&case.world.database_url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    blocker.batch_execute("BEGIN; LOCK TABLE log.attachment_chunks").await.unwrap();
    let chunk = paper.chunks(&id).remove(0);
    let put = || {
        let (caller, request) = (hospital.clone(), hospital.request(chunk.clone()));
        tokio::spawn(async move { caller.attachments().put_chunk(request).await })
    };
    let mut puts = Vec::new();
    // However many have room: the first one beyond it is told at once, while all others wait.
    let refused = loop {
        assert!(puts.len() < 100, "nothing bounds them");
        let mut put = put();
        match tokio::time::timeout(std::time::Duration::from_millis(500), &mut put).await {
            Ok(answer) => break Seen::refused(answer.unwrap()),
            Err(_) => puts.push(put),
        }
    };
    assert_eq!((refused.code, refused.reason.as_str()), (Code::ResourceExhausted, "OVERLOADED"));
    assert!(refused.retry.is_some() && !puts.is_empty());
    list(hospital, &case.id).await.unwrap();
    blocker.batch_execute("COMMIT").await.unwrap();
    for put in puts {
        put.await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_key_of_the_case_a_document_is_there_and_nothing_of_it_can_be_read() {
    let case = Case::open().await;
    let id = case.diagnosis().add(&case.hospital).await.unwrap();
    let head = case.sql("SELECT max(position) FROM log.events").await;
    let keys = format!("SELECT key_id FROM log.stream_keys WHERE stream_id = '{}'", case.id);
    for key in case.sql(&keys).await.lines() {
        let erase = format!(
            "DELETE FROM key_store.data_keys WHERE key_id = '{key}'; \
             INSERT INTO key_store.erased (key_id, master_version) VALUES ('{key}', 1)"
        );
        case.world.stack.postgres.sql("tasuki_keys", &erase).await.unwrap();
    }
    // Another process: this one has the key in memory.
    let program = case.world.serve("all").await.unwrap();
    let hospital = case.world.caller(&program, "hospital.discharge").await.unwrap();
    let found = get(&hospital, &id).await.unwrap();
    assert!(found.content.is_none() && !found.readable);
    let seen = Seen::refused(Paper::read(&hospital, &id, 3).await.map(|bytes| bytes.len()));
    assert_eq!((seen.code, seen.reason.as_str()), (Code::FailedPrecondition, "CONTENT_GONE"));
    assert_eq!(list(&hospital, &case.id).await.unwrap().attachments, [found]);
    let announcement = hospital.request(case.diagnosis().announcement());
    let another = hospital.attachments().begin_attachment(announcement).await;
    assert_eq!(Seen::refused(another).reason, "CONTENT_GONE");
    assert_eq!(case.sql("SELECT max(position) FROM log.events").await, head);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_completed_expires_with_its_chunks_and_what_is_added_never_does() {
    let case = Case::open().await;
    let added = case.diagnosis().add(&case.hospital).await.unwrap();
    let coming = case.diagnosis().put(&case.hospital).await.unwrap();
    assert_eq!(case.kept().await, ("2".to_owned(), "6".to_owned()));
    // As if a process had died before it could note that the document is in the log.
    case.sql("UPDATE log.attachments SET expires_at = now() - interval '1 second'").await;
    assert_eq!(Seen::refused(complete(&case.hospital, &coming).await).code, Code::NotFound);
    case.diagnosis().put(&case.coordinator).await.unwrap();
    let left = case.sql("SELECT attachment_id FROM log.attachments WHERE expires_at IS NULL").await;
    assert_eq!((left, case.kept().await), (added.clone(), ("2".to_owned(), "6".to_owned())));
    assert_eq!(
        case.sql(&format!("SELECT 1 FROM log.attachments WHERE attachment_id = '{coming}'")).await,
        ""
    );
    assert!(Paper::read(&case.hospital, &added, 3).await.unwrap() == case.diagnosis().bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_byte_of_a_document_lies_in_the_open_or_reaches_the_broker() {
    let case = Case::open().await;
    let id = case.diagnosis().add(&case.hospital).await.unwrap();
    case.diagnosis().put(&case.hospital).await.unwrap();
    assert!(Paper::read(&case.hospital, &id, 3).await.unwrap() == case.diagnosis().bytes);
    case.world.views_reach_the_log().await.unwrap();
    let event = case.world.reader().unwrap().after(0, 10_000).await.unwrap();
    let event = event.into_iter().rfind(|record| record.header.r#type.ends_with("AttachmentAdded")).unwrap();
    let digest = case.diagnosis().announcement().sha256;
    assert!(
        !event.header.encode_to_vec().windows(32).any(|bytes| bytes == digest),
        "the digest is in the open"
    );
    let postgres = &case.world.stack.postgres;
    postgres.sql("tasuki", "CHECKPOINT").await.unwrap();
    let folders = vec![postgres.data_dir(), case.world.stack.nats.store_dir(), case.world.directory.clone()];
    let (mut files, mut sealed) = (0, 0);
    for path in files_below(folders) {
        let Ok(bytes) = std::fs::read(&path) else { continue };
        files += 1;
        sealed += bytes.len();
        let holds = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
        assert!(!holds(MARK.as_bytes()), "{} holds the text of a document", path.display());
    }
    assert!(files > 100 && sealed > BYTES, "{files} files, {sealed} bytes");
}

fn files_below(mut folders: Vec<PathBuf>) -> Vec<PathBuf> {
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_finds_a_chunk_that_was_altered_moved_or_taken_away() {
    let case = Case::open().await;
    let id = case.diagnosis().add(&case.hospital).await.unwrap();
    let position = case.sql("SELECT max(position) FROM log.events").await;
    let verify = async || {
        let output = case.world.command(&["verify"]).await.unwrap();
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
        (output.status.success(), said)
    };
    assert!(verify().await.0, "{}", verify().await.1);
    let flip = "UPDATE log.attachment_chunks SET sealed = set_byte(sealed, 99, get_byte(sealed, 99) # 1) \
                WHERE chunk_index = 1";
    let swap = "UPDATE log.attachment_chunks SET chunk_index = 10 WHERE chunk_index = 0; \
                UPDATE log.attachment_chunks SET chunk_index = 0 WHERE chunk_index = 1; \
                UPDATE log.attachment_chunks SET chunk_index = 1 WHERE chunk_index = 10";
    let found = format!("position {position}: log.attachment_chunks");
    for edit in [flip, swap] {
        case.sql(edit).await;
        let (ok, said) = verify().await;
        assert!(!ok && said.contains(&found), "{said}");
        let seen = Seen::refused(Paper::read(&case.hospital, &id, 3).await.map(|bytes| bytes.len()));
        assert_eq!(seen.reason, "CONTENT_GONE", "bytes that were altered are served to nobody");
        case.sql(edit).await;
        assert!(verify().await.0, "it is as it was");
    }
    let key = case.sql("SELECT DISTINCT key_id FROM log.attachment_chunks").await;
    case.sql("UPDATE log.attachment_chunks SET key_id = gen_random_uuid() WHERE chunk_index = 2").await;
    assert!(verify().await.1.contains(&found), "another key");
    case.sql(&format!("UPDATE log.attachment_chunks SET key_id = '{key}'")).await;
    assert!(verify().await.0, "it is as it was");
    case.sql("DELETE FROM log.attachment_chunks WHERE chunk_index = 2").await;
    let (ok, said) = verify().await;
    assert!(!ok && said.contains(&found), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_is_no_document_and_an_attachment_is() {
    let case = Case::open().await;
    let paper = Paper { class: DataClass::Instruction, ..case.diagnosis() };
    let id = paper.add(&case.hospital).await.unwrap();
    let send = async |document_id: &str, title: &str| {
        let document =
            DocumentRef { document_id: document_id.to_owned(), title: title.to_owned(), valid_until: None };
        let mut request = referral(case.coordinator.post, "kita_B");
        request.message = "https://example.invalid/ は言葉として書ける".to_owned();
        request.facts.push(fact("doctor_instruction", Value::Document(document)));
        case.hospital.referrals().submit_referral(case.hospital.request(request)).await
    };
    for link in ["https://example.invalid/1", "HTTP://EXAMPLE", "www.example.invalid", r"\\share\1", "file:1"]
    {
        for answer in [send(link, "指示書").await, send("例-1", link).await] {
            let fields = Seen::refused(answer).fields;
            assert_eq!(fields, [("facts[3].value".to_owned(), "LINK_NOT_ALLOWED".to_owned())], "{link}");
        }
    }
    send(&id, "指示書").await.unwrap();
    send("第12号", "指示書").await.unwrap();
}
