//! Everything that a post can get, as the bytes in which it arrives.

use prost::Message;
use tasuki_contract::attachments::v1 as attachments;
use tasuki_contract::consent::v1 as consent;
use tasuki_contract::intake::v1 as intake;
use tasuki_contract::timeline::v1 as timeline;
use tasuki_tests::Caller;
use tonic::{Response, Status};

use crate::story::Told;

/// Asks every query about everything that there is, page by page.
pub async fn everything(caller: &Caller, told: &Told) -> Vec<Vec<u8>> {
    let mut all = feed(caller).await;
    let mut views = caller.timeline();
    for case_id in &told.cases {
        let card = timeline::GetCaseCardRequest { case_id: case_id.clone(), ..Default::default() };
        all.push(bytes(views.get_case_card(caller.request(card)).await));
        let consents = consent::ListConsentsRequest { case_id: case_id.clone(), ..Default::default() };
        all.push(bytes(caller.consents().list_consents(caller.request(consents)).await));
        let mut page_token = String::new();
        loop {
            let page = timeline::GetTimelineRequest {
                case_id: case_id.clone(),
                page_size: 5,
                page_token,
                ..Default::default()
            };
            let answer = views.get_timeline(caller.request(page)).await;
            page_token = answer.as_ref().map(|a| a.get_ref().next_page_token.clone()).unwrap_or_default();
            all.push(bytes(answer));
            if page_token.is_empty() {
                break;
            }
        }
    }
    for referral_id in &told.referrals {
        let get = intake::GetReferralRequest { referral_id: referral_id.clone(), ..Default::default() };
        all.push(bytes(caller.referrals().get_referral(caller.request(get)).await));
    }
    let mut documents = caller.attachments();
    for case_id in &told.cases {
        let list = attachments::ListAttachmentsRequest { case_id: case_id.clone(), ..Default::default() };
        all.push(bytes(documents.list_attachments(caller.request(list)).await));
    }
    for attachment_id in &told.attachments {
        let get = attachments::GetAttachmentRequest { attachment_id: attachment_id.clone() };
        all.push(bytes(documents.get_attachment(caller.request(get)).await));
        let read = attachments::ReadChunkRequest { attachment_id: attachment_id.clone(), index: 0 };
        all.push(bytes(documents.read_chunk(caller.request(read)).await));
    }
    let list = intake::ListReferralsRequest::default();
    all.push(bytes(caller.referrals().list_referrals(caller.request(list)).await));
    let caseload = timeline::ListCaseloadRequest { page_size: 200, ..Default::default() };
    all.push(bytes(views.list_caseload(caller.request(caseload)).await));
    let duties = timeline::ListDutiesRequest { page_size: 200, ..Default::default() };
    all.push(bytes(views.list_duties(caller.request(duties)).await));
    all
}

/// The whole feed by polling, each page as bytes.
pub async fn feed(caller: &Caller) -> Vec<Vec<u8>> {
    pages(caller).await.iter().map(Message::encode_to_vec).collect()
}

/// The items of the whole feed by polling.
pub async fn items(caller: &Caller) -> Vec<timeline::TimelineItem> {
    let pages = pages(caller).await;
    pages.into_iter().flat_map(|page| page.items).filter_map(|item| item.item).collect()
}

async fn pages(caller: &Caller) -> Vec<timeline::ReadFeedResponse> {
    let mut all: Vec<timeline::ReadFeedResponse> = Vec::new();
    let mut cursor = String::new();
    let mut last = 0;
    loop {
        let page = timeline::ReadFeedRequest { cursor, wait_s: 0, page_size: 7 };
        let page = caller.timeline().read_feed(caller.request(page)).await.unwrap().into_inner();
        cursor = page.cursor.clone();
        for item in page.items.iter().filter_map(|item| item.item.as_ref()) {
            assert_eq!(item.number, last + 1, "a feed skips or repeats past its cursor");
            last = item.number;
        }
        let ends = page.items.is_empty();
        all.push(page);
        if ends {
            return all;
        }
    }
}

/// An answer as bytes; of an error all that it says.
pub fn bytes<M: Message>(answer: Result<Response<M>, Status>) -> Vec<u8> {
    match answer {
        Ok(answer) => answer.into_inner().encode_to_vec(),
        Err(status) => said(&status),
    }
}

/// All that a status says: code, message, details.
pub fn said(status: &Status) -> Vec<u8> {
    let mut all = format!("{:?} {} ", status.code(), status.message()).into_bytes();
    all.extend_from_slice(status.details());
    all
}

/// Whether the bytes hold the text.
pub fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}
