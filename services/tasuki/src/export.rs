//! `tasuki subject-export`: everything that is kept about a child, for a request for disclosure (開示請求).
//!
//! It gives the officer who answers the request the whole, and decides nothing: what another person is named in, what
//! the family may not know yet, and what lies in restricted records is marked for the officer to look at. The read is
//! on record before anything is written.

use std::io::Write as _;
use std::path::PathBuf;

use clap::Args;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use serde_json::{Value, json};
use tasuki_contract::{DataClass, Event};
use tasuki_log::reads::ReadOutcome;
use tasuki_log::{Keyring, LogError, ReadEntry, ReadRecords, Reader, Record, Sealer, erasing};
use uuid::Uuid;

use crate::maintain::DatabaseArgs;
use crate::{Error, call, secrets};

/// Whose data, for whom.
#[derive(Args, Clone, Debug)]
pub struct ExportArgs {
    /// The case.
    #[arg(long)]
    case: Uuid,
    /// The agency that answers the request; it stands in the record of the read.
    #[arg(long)]
    agency: Uuid,
    /// Its post.
    #[arg(long)]
    post: Uuid,
    /// Directory for `CASE.json` and `CASE.md`; readable by you alone.
    #[arg(long)]
    to: PathBuf,
    #[command(flatten)]
    database: DatabaseArgs,
}

/// What the officer has to look at before it goes out, by class.
const LOOK_AT: [(DataClass, &str, &str); 5] = [
    (DataClass::FamilyCircumstances, "家族など第三者の情報", "names other people"),
    (DataClass::Support, "家族など第三者の情報を含むことがあります", "may name other people"),
    (DataClass::Diagnosis, "告知の有無を確認", "was the family told?"),
    (DataClass::Restricted, "限定共有の記録", "restricted"),
    (DataClass::Sealed, "安全確保に関する記録", "safeguarding"),
];

const ERASURE_CONFIRMED: &str = "tasuki.erasure.v1.ErasureConfirmed";
const ERASED: &str = "the case was erased: nothing of it can be given / 消去されたケースです";

/// Writes the export.
///
/// Errors: an unknown case; one that was erased; a change of disclosure again and again while it is read.
pub async fn run(args: ExportArgs) -> Result<(), Error> {
    let (log, keys) = args.database.databases()?;
    let reader = Reader::new(log.clone());
    let keyring = Keyring::read(&secrets::keyring_path(&args.database.directory()?))?;
    let recorder = ReadRecords::start(log.clone(), keyring.clone());
    let sealer = Sealer::new(keyring, log.clone(), keys);
    for _ in 0..5 {
        let epoch = reader.disclosure_epochs(&[args.case]).await?.first().map_or(0, |(_, epoch)| *epoch);
        let mut records = Vec::new();
        for stream in erasing::streams_of(&log, args.case).await? {
            records.extend(reader.stream(stream, 0).await?);
        }
        records.sort_by_key(|record| record.position);
        if records.is_empty() {
            return Err("there is no such case / そのケースはありません".into());
        }
        // What two operators have said shall be erased is given to nobody any more, before its keys are gone too.
        if records.iter().any(|record| record.header.r#type == ERASURE_CONFIRMED) {
            return Err(ERASED.into());
        }
        let mut opened = Vec::with_capacity(records.len());
        for record in records {
            match reader.open(&sealer, &record).await {
                Ok(event) => opened.push((record, event)),
                Err(LogError::Erased { .. }) => {
                    return Err(ERASED.into());
                }
                Err(error) => return Err(error.into()),
            }
        }
        if recorder.record(entry(&args, epoch, &opened)).await? == ReadOutcome::Recorded {
            return write(&args, &opened);
        }
    }
    Err("disclosures of the case keep changing; try again / もう一度お試しください".into())
}

fn entry(args: &ExportArgs, epoch: u64, opened: &[(Record, Event)]) -> ReadEntry {
    let mut fact_keys: Vec<String> =
        opened.iter().flat_map(|(_, event)| event.facts()).map(|fact| fact.key).collect();
    fact_keys.sort_unstable();
    fact_keys.dedup();
    ReadEntry {
        agency: args.agency,
        post: args.post,
        purpose: "administration".to_owned(),
        method: "tasuki subject-export",
        cases: vec![(args.case, epoch)],
        events: opened.iter().filter_map(|(r, _)| Uuid::try_parse(&r.header.event_id).ok()).collect(),
        fact_keys,
        grants: Vec::new(),
        policy_version: tasuki_privacy::POLICY_VERSION,
        // Whoever asks for what is kept about itself is given it by law, whatever the policy.
        policies: Vec::new(),
    }
}

fn write(args: &ExportArgs, opened: &[(Record, Event)]) -> Result<(), Error> {
    let pool = call::pool()?;
    let entries =
        opened.iter().map(|(record, event)| one(&pool, record, event)).collect::<Result<Vec<_>, _>>()?;
    std::fs::create_dir_all(&args.to)?;
    let name = |ending: &str| args.to.join(format!("{}.{ending}", args.case));
    let whole = json!({"case_id": args.case.to_string(), "entries": entries});
    secrets::write(&name("json"), &serde_json::to_vec_pretty(&whole)?)?;
    secrets::write(&name("md"), page(args.case, &entries).as_bytes())?;
    let marked = entries.iter().filter(|entry| entry["look_at"] != json!([])).count();
    let place = args.to.display();
    writeln!(
        std::io::stdout(),
        "subject-export ok: {} entries, {marked} to look at before they go out, in {place}",
        entries.len()
    )?;
    Ok(())
}

/// One event, with what the officer has to look at.
fn one(pool: &DescriptorPool, record: &Record, event: &Event) -> Result<Value, Error> {
    let (header, rule) = (&record.header, event.rule());
    let descriptor = pool.get_message_by_name(rule.type_name).ok_or("a type without a descriptor")?;
    let message = DynamicMessage::decode(descriptor, event.encode_to_vec().as_slice())?;
    let options = SerializeOptions::new().stringify_64_bit_integers(false);
    let content = message.serialize_with_options(serde_json::value::Serializer, &options)?;
    let held = |class: DataClass| header.classes.contains(&(class as i32)) || rule.class == class;
    let mut look_at: Vec<String> = LOOK_AT
        .iter()
        .filter(|(class, ..)| held(*class))
        .map(|(class, ja, en)| format!("{}: {ja} / {en}", class.as_str_name()))
        .collect();
    // A part with a key of its own is somebody else's: another person's, or an agency's note.
    let own = |part: &tasuki_contract::event::v1::PartInfo| part.part == 0;
    if !header.parts.iter().all(own) {
        look_at.push(
            "本人以外の方、または機関の内部記録 / another person's, or an agency's own note".to_owned(),
        );
    }
    Ok(json!({
        "event_id": header.event_id,
        "type": rule.type_name,
        "ja": rule.ja,
        "en": rule.en,
        "recorded_at": jiff::Timestamp::from_microsecond(record.recorded_at_us)?.to_string(),
        "agency_id": header.agency_id,
        "post_id": header.post_id,
        "look_at": look_at,
        "content": content,
    }))
}

fn page(case: Uuid, entries: &[Value]) -> String {
    let mut page = format!("# 開示請求の資料 / Subject export\n\nケース / case `{case}`\n");
    for entry in entries {
        let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
        page.push_str(&format!("\n## {} / {} ({})\n\n", text("ja"), text("en"), text("recorded_at")));
        for look_at in entry["look_at"].as_array().into_iter().flatten() {
            page.push_str(&format!("> **要確認** {}\n", look_at.as_str().unwrap_or_default()));
        }
        page.push_str("\n```json\n");
        page.push_str(&serde_json::to_string_pretty(&entry["content"]).unwrap_or_default());
        page.push_str("\n```\n");
    }
    page
}
