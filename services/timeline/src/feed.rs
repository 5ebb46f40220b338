//! Items of a feed, prepared by the page and disclosed one by one.
//!
//! Preparing costs a few round trips for a whole page; what a viewer may know is found at the very moment of
//! disclosure, on the circle as it is then.

use std::collections::{BTreeSet, HashMap};

use prost::Message as _;
use tasuki_contract::event::v1::StreamKind;
use tasuki_domain::circle::Circle;
use tasuki_domain::ids::CaseId;
use tasuki_domain::policy::InForce;
use tasuki_kit::{Platform, page};
use tasuki_log::reads::ReadOutcome;
use tasuki_log::{LogError, ReadEntry, Record};
use tasuki_privacy::Access;
use tasuki_views::FeedRow;
use tonic::Status;
use uuid::Uuid;

use crate::asking::Asking;
use crate::desk::STALE_TRIES_MAX;
use crate::errors;
use crate::redact::{self, Content, Disclosure};
use crate::sight::{self, Sight};

/// Rows of a feed with their records, and the cases that they belong to.
pub(crate) struct Page {
    pub rows: Vec<(FeedRow, Record)>,
    pub sights: HashMap<CaseId, Sight>,
    /// The cases that consultations of the rows became: an erasure of the case is one of the call that began it.
    became: HashMap<Uuid, CaseId>,
}

impl Page {
    /// Loads records, keys and cases of the rows. Opens nothing yet.
    pub(crate) async fn prepare(platform: &Platform, rows: Vec<FeedRow>) -> Result<Self, Status> {
        let cases = rows.iter().filter_map(|row| row.case);
        let (rows, sights) =
            futures::try_join!(with_records(platform, &rows), sight::load_all(platform, cases))?;
        let mut page = Self { rows, sights, became: HashMap::new() };
        page.follow_consultations(platform).await?;
        Ok(page)
    }

    async fn follow_consultations(&mut self, platform: &Platform) -> Result<(), Status> {
        let apart = self.rows.iter().filter(|(row, _)| row.case.is_none());
        let of_calls = apart.filter(|(_, r)| r.header.stream_kind() == StreamKind::Consultation);
        let streams: BTreeSet<Uuid> = of_calls.filter_map(|(_, r)| stream_of(r)).collect();
        for stream in streams {
            let consultation = platform.consultation(stream).await.map_err(errors::log)?;
            if let Some(case) = consultation.state.case {
                self.became.insert(stream, case);
            }
        }
        let more: Vec<CaseId> = self.became.values().copied().collect();
        if !more.is_empty() {
            self.sights.extend(sight::load_all(platform, more).await?);
        }
        Ok(())
    }

    /// The same for rows of one case, under a look at it that was taken before.
    pub(crate) async fn of_case(
        platform: &Platform,
        rows: &[FeedRow],
        sight: &Sight,
    ) -> Result<Self, Status> {
        let sights = HashMap::from([(sight.case, sight.clone())]);
        Ok(Self { rows: with_records(platform, rows).await?, sights, became: HashMap::new() })
    }

    /// Looks at a case again, after a disclosure of it has changed: perhaps by another policy.
    pub(crate) async fn look_again(&mut self, platform: &Platform, case: CaseId) -> Result<(), Status> {
        platform.refresh_directory().await.map_err(errors::log)?;
        self.sights.insert(case, Sight::load(platform, case).await?);
        Ok(())
    }

    /// What the viewer learns from a row now, and the record of it; `None` where it learns nothing.
    pub(crate) async fn disclose(
        &self,
        platform: &Platform,
        asking: &Asking,
        index: usize,
    ) -> Result<(Disclosure, Option<ReadEntry>), Status> {
        let (row, record) = &self.rows[index];
        let (nobody, day) = (Circle::default(), platform.today());
        let sight = row.case.and_then(|case| self.sights.get(&case));
        // What belongs to no case is its parties' own part, which no policy narrows.
        let outside = || Access::new(&asking.viewer, &nobody, InForce::standard(), day);
        let access = sight.map_or_else(outside, |sight| sight.access(&asking.viewer, day));
        let became = stream_of(record).and_then(|stream| self.sights.get(self.became.get(&stream)?));
        let erased = |sight: &Sight| sight.state.erasure.is_confirmed();
        let content = match sight.is_some_and(erased) || became.is_some_and(erased) {
            true => Content::Erased,
            false => open_for(platform, &access, record).await?,
        };
        let disclosure = redact::item(row, record, content, &access);
        let entry = disclosure.tells().then(|| {
            let cases = sight.or(became).map(|s| (s.case, s.epoch)).into_iter().collect();
            let keys = disclosure.fact_keys.clone();
            asking.entry(Some(access.rules()), cases, vec![row.event_id], keys, access.grants())
        });
        Ok((disclosure, entry))
    }

    /// The same for one row, on record: made anew for as long as disclosures of its case change, or the day does.
    ///
    /// Unlike a call, a stream has no client that could try again, so there is no number of tries; whatever ends the
    /// stream ends this too.
    pub(crate) async fn disclose_on_record(
        &mut self,
        platform: &Platform,
        asking: &Asking,
        index: usize,
    ) -> Result<Disclosure, Status> {
        loop {
            let today = platform.today();
            let (disclosure, entry) = self.disclose(platform, asking, index).await?;
            let Some(entry) = entry else { return Ok(disclosure) };
            match platform.reads().record(entry).await.map_err(errors::log)? {
                ReadOutcome::Recorded if platform.today() == today => return Ok(disclosure),
                ReadOutcome::Recorded => {}
                ReadOutcome::Stale => {
                    let (row, record) = &self.rows[index];
                    let became = || self.became.get(&stream_of(record)?).copied();
                    if let Some(case) = row.case.or_else(became) {
                        self.look_again(platform, case).await?;
                    }
                }
            }
        }
    }

    /// The page from its first row on, as far as [`page::BYTES_MAX`] goes, on record: one record for each case, so that
    /// each guardian finds its own child's. What is left for the next page is neither given nor on record.
    ///
    /// Errors: `CONFLICT` when disclosures change more often than [`STALE_TRIES_MAX`].
    pub(crate) async fn disclose_page_on_record(
        &mut self,
        platform: &Platform,
        asking: &Asking,
    ) -> Result<Vec<Disclosure>, Status> {
        for _ in 0..STALE_TRIES_MAX {
            let today = platform.today();
            let mut disclosures: Vec<Disclosure> = Vec::with_capacity(self.rows.len());
            let mut bytes = 0;
            let mut entries: HashMap<Option<CaseId>, ReadEntry> = HashMap::new();
            for index in 0..self.rows.len() {
                let (disclosure, entry) = self.disclose(platform, asking, index).await?;
                bytes += disclosure.item.encoded_len();
                if bytes > page::BYTES_MAX && !disclosures.is_empty() {
                    break;
                }
                if let Some(entry) = entry {
                    let case = entry.cases.first().map(|(case, _)| CaseId(*case));
                    merge(&mut entries, case, entry);
                }
                disclosures.push(disclosure);
            }
            let stale = record_all(platform, entries).await?;
            if stale.is_empty() && platform.today() == today {
                return Ok(disclosures);
            }
            for case in stale.into_iter().flatten() {
                self.look_again(platform, case).await?;
            }
        }
        Err(errors::changing())
    }
}

fn stream_of(record: &Record) -> Option<Uuid> {
    Uuid::try_parse(&record.header.stream_id).ok()
}

/// The event with everything that can be opened, where the viewer gets any of its content.
///
/// An erased event keeps its place, and its content is nobody's any more.
pub(crate) async fn open_for(
    platform: &Platform,
    access: &Access<'_>,
    record: &Record,
) -> Result<Content, Status> {
    let access = access.of_what_was_recorded_on(redact::recorded_on(record));
    if !redact::needs_content(&access.event_of(&record.header)) {
        return Ok(Content::Unopened);
    }
    match platform.reader().open(platform.sealer(), record).await {
        Ok(event) => Ok(Content::Opened(Box::new(event))),
        Err(LogError::Erased { .. }) => Ok(Content::Erased),
        Err(LogError::Unopenable { event_id }) => {
            tracing::warn!(event_id, "content of an event does not open");
            Ok(Content::Unopened)
        }
        Err(error) => Err(errors::log(error)),
    }
}

/// The rows with the records of their events, whose keys are then at hand.
async fn with_records(platform: &Platform, rows: &[FeedRow]) -> Result<Vec<(FeedRow, Record)>, Status> {
    let mut ids: Vec<Uuid> = rows.iter().map(|row| row.event_id).collect();
    ids.sort_unstable();
    ids.dedup();
    let records = platform.reader().events(&ids).await.map_err(errors::log)?;
    let keys: Vec<Uuid> = records.iter().flat_map(Record::key_ids).collect();
    platform.sealer().warm(&keys).await.map_err(errors::log)?;
    let by_id = |record: Record| Some((Uuid::try_parse(&record.header.event_id).ok()?, record));
    let records: HashMap<Uuid, Record> = records.into_iter().filter_map(by_id).collect();
    let row = |row: &FeedRow| {
        // Views never run ahead of the log that they were folded from.
        let gone = || errors::log(LogError::UnreadableHeader { position: row.position });
        let record = records.get(&row.event_id).cloned().ok_or_else(gone)?;
        Ok((row.clone(), record))
    };
    rows.iter().map(row).collect()
}

fn merge(entries: &mut HashMap<Option<CaseId>, ReadEntry>, case: Option<CaseId>, entry: ReadEntry) {
    match entries.get_mut(&case) {
        None => {
            entries.insert(case, entry);
        }
        Some(all) => {
            all.events.extend(entry.events);
            for key in entry.fact_keys {
                if !all.fact_keys.contains(&key) {
                    all.fact_keys.push(key);
                }
            }
        }
    }
}

/// Commits the records together; returns what was found to have changed meanwhile.
async fn record_all(
    platform: &Platform,
    entries: HashMap<Option<CaseId>, ReadEntry>,
) -> Result<Vec<Option<CaseId>>, Status> {
    let record = |(case, entry)| async move {
        let outcome = platform.reads().record(entry).await.map_err(errors::log)?;
        Ok::<_, Status>((outcome == ReadOutcome::Stale).then_some(case))
    };
    let stale = futures::future::try_join_all(entries.into_iter().map(record)).await?;
    Ok(stale.into_iter().flatten().collect())
}
