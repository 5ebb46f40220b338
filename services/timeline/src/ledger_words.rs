//! The words of the ledger: a read on record as a family reads it. Pure.

use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};
use tasuki_contract::DataClass;
use tasuki_contract::timeline::v1 as pb;
use tasuki_domain::codes::Lang;
use tasuki_domain::dictionary;
use tasuki_domain::directory::Directory;
use tasuki_domain::ids::{AgencyId, PostId};
use tasuki_log::RecordedRead;
use tasuki_privacy::{Level, labels};

/// What a purpose is called: code, Japanese, English.
const PURPOSES: &[(&str, &str, &str)] = &[
    ("care_coordination", "支援の調整", "coordinating care"),
    ("intake", "受付・相談", "taking a call or a referral"),
    ("discharge_coordination", "退院の調整", "coordinating a discharge"),
    ("nursery_entry", "保育所等の入所", "entry to a nursery"),
    ("school_entry", "就学", "entry to school"),
    ("service_decision", "サービスの決定", "deciding on services"),
    ("health_guidance", "保健指導", "health guidance"),
    ("disaster", "災害時の対応", "disaster response"),
    ("emergency", "緊急時の対応", "an emergency"),
    ("own_family", "ご家族ご自身の確認", "the family's own look"),
    ("administration", "システムの運営", "running the system"),
];

/// What was done by a method: method, Japanese, English.
const WAYS: &[(&str, &str, &str)] = &[
    ("GetCaseCard", "カードを閲覧しました", "read the card"),
    ("GetTimeline", "経過を閲覧しました", "read the timeline"),
    ("Subscribe", "新しい記録を受け取りました", "received new records"),
    ("ReadFeed", "新しい記録を受け取りました", "received new records"),
    ("GetReferral", "紹介を閲覧しました", "read a referral"),
    ("ListReferrals", "紹介の一覧を確認しました", "listed referrals"),
    ("ListCaseload", "担当の一覧を確認しました", "listed its cases"),
    ("ListDuties", "用件の一覧を確認しました", "listed what it has to do"),
    ("ListConsents", "同意の一覧を確認しました", "listed consents"),
    ("ExplainAccess", "閲覧できる範囲とその理由を確認しました", "asked who may read what, and why"),
    ("GetAttachment", "書類の情報を閲覧しました", "looked at what a document is"),
    ("ListAttachments", "書類の一覧を確認しました", "listed documents"),
    ("ReadChunk", "書類を閲覧しました", "read a document"),
    ("SearchChild", "お子さんを検索しました", "searched for a child"),
    ("GetIdentityDoubt", "同じお子さんかどうかを確認しました", "looked whether it is the same child"),
    (
        "tasuki subject-export",
        "開示請求に応じて記録を書き出しました",
        "wrote down what is kept, for a request",
    ),
    ("ListReads", "この閲覧の記録を確認しました", "read this record of readers"),
];

/// The record in words; time and level are the caller's to fill in.
pub(crate) fn read(
    directory: &Directory,
    row: &RecordedRead,
    classes: &[DataClass],
    keys: &[String],
    level: Level,
) -> pb::CaseRead {
    let summary = level == Level::Summary;
    let method = row.method.rsplit('/').next().unwrap_or_default();
    let agency = agency(directory, AgencyId(row.agency));
    let post = post(directory, PostId(row.post));
    let purpose = of_table(PURPOSES, &row.purpose, ("その他の目的", "another purpose"));
    let way = of_table(WAYS, method, ("閲覧しました", "read"));
    let classes: Vec<pb::ReadLabel> = classes.iter().filter_map(|class| class_label(*class)).collect();
    let keys: Vec<pb::ReadLabel> =
        if summary { Vec::new() } else { keys.iter().map(|key| key_label(key)).collect() };
    let (ja, en) = sentences(row.at_us, [&agency, &post, &purpose, &way], &classes);
    pb::CaseRead {
        read_at: None,
        agency: Some(agency),
        post: Some(post),
        purpose: Some(purpose),
        way: Some(way),
        classes,
        keys,
        grant_ids: if summary { Vec::new() } else { row.grants.iter().map(ToString::to_string).collect() },
        level: 0,
        ja,
        en,
    }
}

fn label(code: &str, ja: &str, en: &str) -> pb::ReadLabel {
    pb::ReadLabel { code: code.to_owned(), ja: ja.to_owned(), en: en.to_owned() }
}

/// A code that the table does not know is told by `other`, never by itself: a family reads no codes.
fn of_table(table: &[(&str, &str, &str)], code: &str, other: (&str, &str)) -> pb::ReadLabel {
    let row = table.iter().find(|row| row.0 == code);
    row.map_or_else(|| label(code, other.0, other.1), |row| label(code, row.1, row.2))
}

fn agency(directory: &Directory, id: AgencyId) -> pb::ReadLabel {
    let known = directory.agencies.get(&id);
    let (ja, en) =
        known.map_or(("機関", "an agency"), |agency| (agency.name_ja.as_str(), agency.name_en.as_str()));
    label(&id.to_string(), ja, en)
}

fn post(directory: &Directory, id: PostId) -> pb::ReadLabel {
    let known = directory.posts.get(&id);
    let (ja, en) =
        known.map_or(("窓口", "a post"), |post| (post.label_ja.as_str(), post.label_en.as_str()));
    label(&id.to_string(), ja, en)
}

fn class_label(class: DataClass) -> Option<pb::ReadLabel> {
    Some(label(class.as_str_name(), labels(class, Lang::Ja)?, labels(class, Lang::En)?))
}

fn key_label(key: &str) -> pb::ReadLabel {
    match dictionary::field(key) {
        Some(field) => label(key, field.label(Lang::Ja), field.label(Lang::En)),
        None => label(key, key, key),
    }
}

fn sentences(
    at_us: i64,
    [agency, post, purpose, way]: [&pb::ReadLabel; 4],
    classes: &[pb::ReadLabel],
) -> (String, String) {
    // No summer time in Japan.
    let tokyo = TimeZone::fixed(Offset::constant(9));
    let at = Timestamp::from_microsecond(at_us).unwrap_or_default().to_zoned(tokyo);
    let what_ja: Vec<&str> = classes.iter().map(|class| class.ja.as_str()).collect();
    let what_en: Vec<&str> = classes.iter().map(|class| class.en.as_str()).collect();
    let ja = format!(
        "{}、{}の{}が「{}」のために{}{}。",
        at.strftime("%Y年%-m月%-d日 %-H時%M分"),
        agency.ja,
        post.ja,
        purpose.ja,
        way.ja,
        if what_ja.is_empty() { String::new() } else { format!("(内容:{})", what_ja.join("、")) },
    );
    let en = format!(
        "On {} at {} JST, {} ({}) {} for {}{}.",
        at.strftime("%Y-%m-%d"),
        at.strftime("%H:%M"),
        agency.en,
        post.en,
        way.en,
        purpose.en,
        if what_en.is_empty() { String::new() } else { format!(" ({})", what_en.join(", ")) },
    );
    (ja, en)
}

#[cfg(test)]
mod tests {
    use tasuki_domain::purpose;
    use uuid::Uuid;

    use super::*;

    fn row(method: &str, purpose: &str) -> RecordedRead {
        RecordedRead {
            at_us: 1_775_192_700_000_000,
            id: Uuid::from_u128(1),
            agency: Uuid::from_u128(2),
            post: Uuid::from_u128(3),
            purpose: purpose.to_owned(),
            method: method.to_owned(),
            events: Vec::new(),
            fact_keys: Vec::new(),
            grants: vec![Uuid::from_u128(4)],
        }
    }

    #[test]
    fn every_purpose_and_every_method_has_words() {
        for purpose in purpose::PURPOSES {
            assert!(PURPOSES.iter().any(|row| row.0 == *purpose), "{purpose}");
        }
        let read = read(&Directory::default(), &row("Other/Unheard", "unheard"), &[], &[], Level::Full);
        assert_eq!(read.purpose.map(|p| p.en), Some("another purpose".to_owned()));
    }

    #[test]
    fn a_read_is_a_sentence_in_both_languages_and_a_summary_names_no_keys() {
        let classes = [DataClass::CareProcedure, DataClass::Support];
        let keys = ["allergies".to_owned()];
        let of = |level| {
            let row = row("TimelineService/GetCaseCard", "emergency");
            read(&Directory::default(), &row, &classes, &keys, level)
        };
        let full = of(Level::Full);
        assert!(
            full.ja.starts_with(
                "2026年4月3日 14時05分、機関の窓口が「緊急時の対応」のためにカードを閲覧しました"
            ),
            "{}",
            full.ja
        );
        assert!(
            full.en
                .starts_with("On 2026-04-03 at 14:05 JST, an agency (a post) read the card for an emergency"),
            "{}",
            full.en
        );
        assert_eq!((full.classes.len(), full.keys.len(), full.grant_ids.len()), (2, 1, 1));
        let summary = of(Level::Summary);
        assert_eq!((summary.classes.len(), summary.keys.len(), summary.grant_ids.len()), (2, 0, 0));
    }
}
