//! What adding a document promises, given / when / then.

use tasuki_contract::common::v1::Fact;
use tasuki_contract::{FieldRule, Sink};

use super::*;
use crate::referral::tests::{accept, asked, soon};
use crate::testing::*;

/// A case with a nurse who has taken it up.
pub(crate) fn taken_up() -> (World, CaseId) {
    let (mut world, sent) = asked(NURSE);
    accept(&mut world, NURSE, sent, soon).unwrap();
    (world, sent.case)
}

pub(crate) fn paper(case: CaseId) -> pb::BeginAttachmentRequest {
    pb::BeginAttachmentRequest {
        case_id: case.into(),
        data_class: DataClass::Instruction.into(),
        media_type: pb::MediaType::Pdf.into(),
        size_bytes: 700_000,
        sha256: vec![7; DIGEST_BYTES],
        title: "例示の指示書".to_owned(),
        file_name: "example.pdf".to_owned(),
    }
}

pub(crate) fn announced(
    world: &World,
    case: CaseId,
    post: PostId,
    number: u128,
) -> Result<Announced, Refusal> {
    let about = paper(case);
    begin(&world.case(case), &about, post)?;
    Ok(Announced { attachment: AttachmentId(Uuid::from_u128(number)), post, about, found: Ok(vec![9; 32]) })
}

pub(crate) fn add(
    world: &mut World,
    case: CaseId,
    post: PostId,
    announced: Option<&Announced>,
) -> Result<Decision<()>, Refusal> {
    let attachment_id = announced.map_or(Uuid::nil(), |one| one.attachment.0).to_string();
    let request = pb::CompleteAttachmentRequest { context: None, attachment_id };
    let state = world.case(case);
    world.run(post, |given| complete(&state, announced, &request, given))
}

#[test]
fn a_member_adds_a_document_and_the_case_knows_of_it() {
    let (mut world, case) = taken_up();
    let paper = announced(&world, case, NURSE, 5).unwrap();
    let decision = add(&mut world, case, NURSE, Some(&paper)).unwrap();
    let state = world.case(case);
    let known = &state.attachments[&paper.attachment];
    assert_eq!((known.post, known.size_bytes), (NURSE, 700_000));
    let Event::AttachmentAdded(added) = &decision.events[0].event else { panic!("another event") };
    assert_eq!(decision.events[0].event.class(), DataClass::Instruction);
    assert_eq!(added.sealed_digest, vec![9; 32]);
    // Once only.
    assert_eq!(reason(add(&mut world, case, NURSE, Some(&paper))), Reason::NotFound);
}

#[test]
fn what_a_document_says_is_of_the_class_that_it_names_and_its_digest_is_not_in_the_open() {
    let (mut world, case) = taken_up();
    let paper = announced(&world, case, NURSE, 5).unwrap();
    let event = add(&mut world, case, NURSE, Some(&paper)).unwrap().events.remove(0).event;
    #[derive(Default)]
    struct Seen(Vec<DataClass>);
    impl Sink for Seen {
        fn field(&mut self, rule: FieldRule) {
            self.0.push(rule.class);
        }
        fn fact(&mut self, _: &Fact) {}
    }
    use tasuki_contract::Classified as _;
    let mut seen = Seen::default();
    event.visit(&mut seen);
    assert_eq!(seen.0, [DataClass::Instruction; 3]);
    let open = event.open_payload();
    let has = |part: &[u8]| open.windows(part.len()).any(|window| window == part);
    assert!(!has(&[7; 32]) && !has("例示".as_bytes()) && !has(b"example.pdf"));
    assert!(has(&[9; 32]));
}

#[test]
fn who_is_no_member_gets_the_same_answer_as_for_a_case_that_does_not_exist() {
    let (mut world, case) = taken_up();
    let nowhere = CaseId(Uuid::from_u128(99));
    for post in [NURSERY, PLANNER] {
        assert_eq!(reason(announced(&world, case, post, 5)), Reason::NotFound);
    }
    assert_eq!(reason(announced(&world, nowhere, NURSE, 5)), Reason::NotFound);
    let (world_asked, sent) = asked(PLANNER);
    assert_eq!(reason(announced(&world_asked, sent.case, PLANNER, 5)), Reason::NotFound, "only asked");
    // Nobody completes what another post has announced.
    let paper = announced(&world, case, NURSE, 5).unwrap();
    assert_eq!(reason(add(&mut world, case, HOSPITAL, Some(&paper))), Reason::NotFound);
    assert_eq!(reason(add(&mut world, case, NURSE, None)), Reason::NotFound);
}

#[test]
fn what_was_found_in_the_chunks_decides_whether_it_is_added() {
    let (mut world, case) = taken_up();
    for wrong in [Reason::ChunksMissing, Reason::DigestDiffers, Reason::TypeDiffers] {
        let paper = Announced { found: Err(wrong), ..announced(&world, case, NURSE, 5).unwrap() };
        assert_eq!(reason(add(&mut world, case, NURSE, Some(&paper))), wrong);
    }
    assert!(world.case(case).attachments.is_empty());
}

#[test]
fn each_post_adds_so_many_documents_to_a_case_whatever_others_have_added() {
    let (mut world, case) = taken_up();
    for number in 0..OF_A_POST_MAX as u128 {
        let paper = announced(&world, case, NURSE, 100 + number).unwrap();
        add(&mut world, case, NURSE, Some(&paper)).unwrap();
    }
    assert_eq!(reason(announced(&world, case, NURSE, 99)), Reason::TooManyAttachments);
    let other = announced(&world, case, HOSPITAL, 99).unwrap();
    add(&mut world, case, HOSPITAL, Some(&other)).unwrap();
}

#[test]
fn every_malformed_field_of_an_announcement_is_named() {
    let (world, case) = taken_up();
    let state = world.case(case);
    let found = |change: &dyn Fn(&mut pb::BeginAttachmentRequest)| {
        let mut request = paper(case);
        change(&mut request);
        fields(begin(&state, &request, NURSE))
    };
    let one = |field: &str, why: &'static str| vec![(field.to_owned(), why)];
    assert_eq!(found(&|r| r.size_bytes = SIZE_BYTES_MAX + 1), one("size_bytes", "TOO_LARGE"));
    assert_eq!(found(&|r| r.size_bytes = 0), one("size_bytes", "MISSING"));
    assert_eq!(found(&|r| r.data_class = DataClass::Sealed.into()), one("data_class", "NOT_ALLOWED"));
    assert_eq!(found(&|r| r.data_class = DataClass::NotPersonal.into()), one("data_class", "NOT_ALLOWED"));
    assert_eq!(found(&|r| r.media_type = 99), one("media_type", "UNKNOWN_CODE"));
    assert_eq!(found(&|r| r.sha256 = vec![1; 20]), one("sha256", "OUT_OF_RANGE"));
    let link = "https://files.example.invalid/1";
    assert_eq!(found(&|r| r.title = link.to_owned()), one("title", "LINK_NOT_ALLOWED"));
    assert_eq!(found(&|r| r.file_name = "../x.pdf".to_owned()), one("file_name", "NOT_ALLOWED"));
    assert_eq!(found(&|r| r.file_name = "a\nb".to_owned()), one("file_name", "CONTROL_CHARACTER"));
}

#[test]
fn chunks_cover_every_byte_once() {
    let chunk = CHUNK_BYTES as i32;
    for (size, lengths) in [(1, vec![1]), (chunk, vec![CHUNK_BYTES]), (chunk + 1, vec![CHUNK_BYTES, 1])] {
        let found: Vec<usize> = (0..).map_while(|index| chunk_bytes(size, index)).collect();
        assert_eq!((&found, chunks(size)), (&lengths, lengths.len() as i32), "{size}");
    }
    assert_eq!((chunks(SIZE_BYTES_MAX), chunk_bytes(5, -1), chunk_bytes(5, i32::MAX)), (20, None, None));
}
