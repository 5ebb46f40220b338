//! `tasuki erase`: destroys what opens a case that two people have decided to erase.
//!
//! The keys are deleted, then a new master key wraps the living ones and the old one is destroyed, so that the copies
//! of the deleted keys in the write-ahead log, in backups and on standbys are useless. Every step may be done again:
//! who is cut off runs it once more.

use std::io::Write as _;

use clap::Args;
use prost::Message as _;
use tasuki_contract::Event;
use tasuki_contract::erasure::v1::CaseErased;
use tasuki_contract::event::v1::Header;
use tasuki_domain::case::CaseState;
use tasuki_domain::ids::CaseId;
use tasuki_log::{
    Append, BlindIndex, Database, Keyring, NewEvent, Reader, Sealer, Writer, WriterOptions, erasing,
    key_store,
};
use uuid::Uuid;

use crate::Error;
use crate::keys::{self, Until};
use crate::maintain::DatabaseArgs;
use crate::secrets;

/// Which case.
#[derive(Args, Clone, Debug)]
pub struct EraseArgs {
    /// The case; an operator has proposed to erase it, another one has confirmed.
    #[arg(long)]
    case: Uuid,
    #[command(flatten)]
    database: DatabaseArgs,
}

/// Erases the case, or finishes what an earlier run has begun.
pub async fn run(args: EraseArgs) -> Result<(), Error> {
    let ((log, store), directory) = (args.database.databases()?, args.database.directory()?);
    let reader = Reader::new(log.clone());
    let state = state(&reader, args.case).await?;
    if !state.erasure.is_confirmed() {
        let text = "two operators have to say so first: ErasureService/ProposeErasure, then another person \
                    ErasureService/ConfirmErasure / 二人の運用者による提案と承認が必要です";
        return Err(text.into());
    }
    // Before any key is gone: the rotation that follows must not fail on another installation's keyring.
    keys::opens_all(&store, &Keyring::read(&secrets::keyring_path(&directory))?).await?;
    let streams = erasing::streams_of(&log, args.case).await?;
    let key_ids = key_store::keys_of(&log, &streams).await?;
    // A rotation that was begun before may have wrapped a key by its new master too, before that key was deleted.
    if key_store::erase(&store, &key_ids).await? {
        keys::rotate(&store, &directory, Until::DoneAnew).await?;
    } else {
        // Cut off after the store has retired the old master, and before its file was destroyed.
        keys::settle(&store, &directory).await?;
    }
    let requests = erasing::forget_requests(&log, &streams).await?;
    BlindIndex::forget(&log.connect().await?, args.case).await?;
    if !state.erasure.is_erased() {
        let keyring = Keyring::read(&secrets::keyring_path(&directory))?;
        let counts = (key_ids.len(), requests);
        record(&log, &store, keyring, args.case, &state, counts).await?;
    }
    let mut out = std::io::stdout();
    writeln!(out, "erase ok: case={} keys={} requests={requests}", args.case, key_ids.len())?;
    Ok(())
}

/// The case as it stands; one that does not exist is not confirmed either.
async fn state(reader: &Reader, case: Uuid) -> Result<CaseState, Error> {
    let mut state = CaseState::default();
    for record in reader.stream(case, 0).await? {
        state.evolve(CaseId(case), &tasuki_kit::states::recorded(&record)?);
    }
    Ok(state)
}

/// Appends that it is done, in nobody's timeline.
async fn record(
    log: &Database,
    store: &Database,
    keyring: Keyring,
    case: Uuid,
    state: &CaseState,
    (keys, requests): (usize, u64),
) -> Result<(), Error> {
    let proposal = state.erasure.proposal.as_ref().map(|proposal| proposal.id.to_string());
    let event = Event::from(CaseErased {
        case_id: case.to_string(),
        proposal_id: proposal.unwrap_or_default(),
        keys: i32::try_from(keys)?,
        requests: i32::try_from(requests)?,
    });
    let (rule, nobody, now) = (event.rule(), Uuid::nil().to_string(), jiff::Timestamp::now());
    let header = Header {
        event_id: Uuid::now_v7().to_string(),
        r#type: rule.type_name.to_owned(),
        schema: rule.schema,
        stream_kind: tasuki_contract::event::v1::StreamKind::Case as i32,
        stream_id: case.to_string(),
        version: state.version + 1,
        agency_id: nobody.clone(),
        post_id: nobody,
        purpose: "administration".to_owned(),
        occurred_at: Some(prost_types::Timestamp {
            seconds: now.as_second(),
            nanos: now.subsec_nanosecond(),
        }),
        data_class: rule.class as i32,
        ..Header::default()
    };
    let request_id = format!("erase {case}");
    let digest = keyring.request_digest(&[request_id.as_bytes(), &header.encode_to_vec()]);
    let sealer = Sealer::new(keyring.clone(), log.clone(), store.clone());
    let writer = Writer::start(log.clone(), keyring, sealer, WriterOptions::default());
    let append = Append {
        agency: Uuid::nil(),
        request_id,
        digest,
        events: vec![NewEvent { header, event }],
        relied_on: Vec::new(),
        disclosures: vec![case],
        reply: Vec::new(),
        urgent: true,
    };
    writer.append(append).await?;
    Ok(())
}
