//! What the demonstration asks at the end: each shown post's card of the child, who is responsible, what is owed.

use std::collections::BTreeMap;

use tasuki_contract::event::v1::DutyKind;
use tasuki_contract::timeline::v1 as pb;
use tonic::Code;

use super::SHOWN;
use super::play::Player;
use super::watch::{Watcher, Watchers};
use crate::Error;
use crate::call::explain;

/// The case of the story, and the one that a telephone call became.
const STORY: &str = "A01.case_id";
const CALL: &str = "B1c.case_id";
const PAGE: i32 = 200;

/// Answers at the end of the story.
pub struct Cases {
    /// The case of the story.
    pub story: String,
    /// The card of the story's case for each of [`SHOWN`], in that order; `None` where there is none for the post.
    pub cards: Vec<Option<pb::GetCaseCardResponse>>,
    /// The card of the case that a telephone call became, for the coordinator's desk.
    pub other: Option<pb::GetCaseCardResponse>,
    /// Open duties of each subscriber, by kind.
    pub duties: Vec<(String, BTreeMap<DutyKind, Vec<pb::Duty>>)>,
}

impl Cases {
    /// Asks for all of it.
    pub async fn read(watchers: &Watchers<'_>, player: &Player<'_>) -> Result<Self, Error> {
        let kept = |name: &str| player.kept(name).map(ToOwned::to_owned).ok_or_else(|| format!("no {name}"));
        let (story, call) = (kept(STORY)?, kept(CALL)?);
        let mut cards = Vec::new();
        for slug in SHOWN {
            cards.push(card(watchers, watchers.of(slug)?, &story).await?);
        }
        let other = card(watchers, watchers.of("coordinator.desk")?, &call).await?;
        let mut duties = Vec::new();
        for watcher in watchers.iter() {
            let owed = owed(watchers, watcher).await?;
            duties.push((watcher.desk.post_id.clone(), owed));
        }
        Ok(Self { story, cards, other, duties })
    }
}

async fn card(
    watchers: &Watchers<'_>,
    watcher: &Watcher<'_>,
    case: &str,
) -> Result<Option<pb::GetCaseCardResponse>, Error> {
    let request = pb::GetCaseCardRequest { case_id: case.to_owned(), ..Default::default() };
    match watchers.client().get_case_card(watcher.request(request)?).await {
        Ok(answer) => Ok(Some(answer.into_inner())),
        Err(status) if status.code() == Code::NotFound => Ok(None),
        Err(status) => Err(format!("{}: {}", watcher.desk.slug, explain(&status)).into()),
    }
}

async fn owed(
    watchers: &Watchers<'_>,
    watcher: &Watcher<'_>,
) -> Result<BTreeMap<DutyKind, Vec<pb::Duty>>, Error> {
    let mut owed: BTreeMap<DutyKind, Vec<pb::Duty>> = BTreeMap::new();
    let mut page_token = String::new();
    loop {
        let request = pb::ListDutiesRequest { page_size: PAGE, page_token, ..Default::default() };
        let answer =
            watchers.client().list_duties(watcher.request(request)?).await.map_err(|s| explain(&s))?;
        let page = answer.into_inner();
        for duty in page.duties {
            owed.entry(duty.kind()).or_default().push(duty);
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(owed);
        }
    }
}
