//! Words for people, in Japanese and English: what levels, duties, fields and classes are called.
//!
//! Labels of codes, facts, classes and events come from the dictionary and the contract; here stands what they lack.

use tasuki_contract::event::v1::DutyKind;
use tasuki_contract::timeline::v1::Level as Got;
use tasuki_contract::{DataClass, Event};
use tasuki_domain::codes::Lang;
use tasuki_domain::visibility::{Condition, Level, ReaderGroup};
use tasuki_domain::{dictionary, visibility};

use super::received::Piece;

/// One of two.
pub fn pick<'t>(lang: Lang, ja: &'t str, en: &'t str) -> &'t str {
    match lang {
        Lang::Ja => ja,
        Lang::En => en,
    }
}

/// How much a post got of an event.
pub fn level(level: Got, lang: Lang) -> &'static str {
    match level {
        Got::Full => pick(lang, "全部", "full"),
        Got::Summary => pick(lang, "要約", "summary"),
        Got::Own => pick(lang, "自分の分", "own part"),
        Got::Existence => pick(lang, "有無のみ", "exists"),
        Got::None => "·",
    }
}

/// How much a post got of an event of which it lacks something that others got.
pub fn part(lang: Lang) -> &'static str {
    pick(lang, "一部", "part")
}

/// What it means that an event names a post, or recipients, in this field; `None` where nothing is to be told.
pub fn arrow(field: &str, lang: Lang) -> Option<&'static str> {
    Some(match field {
        "lead_post_id" | "to_post_id" => pick(lang, "主担当→", "lead→"),
        "recipients" => pick(lang, "同意先→", "consent→"),
        "next_candidate_post_id" => pick(lang, "次の候補→", "next→"),
        "supported_by_post_id" => pick(lang, "支援→", "support→"),
        _ => return None,
    })
}

/// Why a post did not get events of a class, as far as the table of classes tells.
///
/// Consents and circles are not looked at: where the table leaves the events to whoever has both, one of the two was
/// lacking, and which one cannot be told from what was received.
pub fn why_not(class: DataClass, group: Option<ReaderGroup>, lang: Lang) -> &'static str {
    let class = visibility::DataClass::parse(class.as_str_name());
    let Some((class, group)) = class.zip(group) else {
        return pick(lang, "この種別の機関には届けない", "nothing goes to this kind of office");
    };
    let cell = visibility::class_cell(class, group);
    match (cell.level, cell.condition) {
        (_, Some(Condition::FamilyVersion)) => {
            pick(lang, "家族向けの版がまだ作れない", "the family's version is not built yet")
        }
        (_, Some(Condition::Attended)) => {
            pick(lang, "招集・出席した窓口に限る", "for those invited or present")
        }
        (Level::Own, _) => pick(lang, "自分が関わるものに限る", "only what it has a part in"),
        (Level::None, _) if cell.ceiling == Level::None => {
            pick(lang, "方針でこの種別の機関には届けない", "policy gives this kind of office nothing")
        }
        _ => pick(lang, "同意が及ばないか、支援の輪の外", "not covered by a consent, or outside the circle"),
    }
}

/// Whether the contract has no call yet that fulfils a duty of this kind.
pub fn cannot_be_answered(kind: DutyKind) -> bool {
    matches!(kind, DutyKind::DutyFirstContact | DutyKind::DutyAction | DutyKind::DutySupply)
}

/// A day with its weekday: `2024-04-08(月)`, `2024-04-08 Mon`; without the year where `short`.
pub fn day(day: jiff::civil::Date, short: bool, lang: Lang) -> String {
    let date = day.strftime(if short { "%m-%d" } else { "%Y-%m-%d" });
    let index = usize::try_from(day.weekday().to_monday_zero_offset()).unwrap_or_default();
    match lang {
        Lang::Ja => format!("{date}({})", ["月", "火", "水", "木", "金", "土", "日"][index]),
        Lang::En => format!("{date} {}", ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"][index]),
    }
}

/// What an event is called, by its type.
pub fn event(type_name: &str, lang: Lang) -> String {
    let rule = Event::rule_of(type_name);
    rule.map_or_else(|| type_name.to_owned(), |rule| pick(lang, rule.ja, rule.en).to_owned())
}

/// What a class is called.
pub fn class(class: DataClass, lang: Lang) -> String {
    visibility::DataClass::parse(class.as_str_name())
        .map_or_else(|| class.as_str_name().to_owned(), |class| class.label(lang).to_owned())
}

/// What a fact is called.
pub fn fact(key: &str, lang: Lang) -> String {
    dictionary::field(key).map_or_else(|| key.to_owned(), |field| field.label(lang).to_owned())
}

/// What a piece of an event is called.
pub fn piece(piece: &Piece, lang: Lang) -> String {
    match piece {
        Piece::Fact(key) => fact(key, lang),
        Piece::Passage(of) => {
            let of = class(*of, lang);
            if lang == Lang::Ja { format!("議事の一節({of})") } else { format!("passage on: {of}") }
        }
        Piece::Field(name) => field(name, lang).map_or_else(|| name.replace('_', " "), ToOwned::to_owned),
    }
}

/// Whether a field holds sentences for people, and not a code, a label or a number.
pub fn is_prose(field: &str) -> bool {
    [
        "advice",
        "agenda",
        "answer",
        "message",
        "note",
        "reason_again",
        "reason_text",
        "story",
        "summary",
        "text",
    ]
    .contains(&field)
}

/// What an office owes.
pub fn duty(kind: DutyKind, lang: Lang) -> &'static str {
    match kind {
        DutyKind::Unspecified => "",
        DutyKind::DutyAcknowledge => pick(lang, "受領の返事", "acknowledge"),
        DutyKind::DutyAnswer => pick(lang, "可否の返事", "answer"),
        DutyKind::DutyFirstContact => pick(lang, "初回の連絡", "first contact"),
        DutyKind::DutyReroute => pick(lang, "次の依頼先さがし", "find another office"),
        DutyKind::DutyHandoffAnswer => pick(lang, "引継ぎの返事", "answer the hand-off"),
        DutyKind::DutyJointContact => pick(lang, "同行面談", "joint contact"),
        DutyKind::DutyHandoffConfirm => pick(lang, "引継ぎ完了の確認", "confirm the hand-off"),
        DutyKind::DutyAction => pick(lang, "会議の担当事項", "action of a meeting"),
        DutyKind::DutyConfirmMinutes => pick(lang, "議事録の確認", "confirm minutes"),
        DutyKind::DutyIdentity => pick(lang, "本人の確認", "decide whose case it is"),
        DutyKind::DutySupply => pick(lang, "紹介の未記入項目", "supply what was left open"),
        DutyKind::DutyStopNotice => pick(lang, "利用停止の確認", "acknowledge a stop notice"),
        DutyKind::DutyReviewHold => pick(lang, "保留の判断", "decide on what is on hold"),
    }
}

fn field(name: &str, lang: Lang) -> Option<&'static str> {
    let found = FIELDS.iter().find(|(known, ..)| *known == name)?;
    Some(pick(lang, found.1, found.2))
}

/// Personal fields of events. One that is missing here is shown by its name in the contract.
const FIELDS: &[(&str, &str, &str)] = &[
    ("absence_reason", "欠席の理由", "why somebody was absent"),
    ("advice", "案内の内容", "advice"),
    ("age_class", "年齢区分", "age class"),
    ("agenda", "議題", "agenda"),
    ("anonymous", "匿名か", "whether anonymous"),
    ("answer", "回答", "answer"),
    ("answer_due_on", "返答期限", "answer due"),
    ("caller_label", "相談者", "caller"),
    ("caller_telephone", "相談者の電話", "caller’s telephone"),
    ("child_label", "お子さんの呼び名", "label of the child"),
    ("classes", "同意した情報の分類", "classes consented to"),
    ("consent_method", "同意の方法", "how consent was given"),
    ("decisions", "決定事項", "decisions"),
    ("do_not_ask_again_keys", "再質問しない項目", "what not to ask again"),
    ("due_on", "期限", "due"),
    ("excluded_keys", "同意から除いた項目", "keys taken out of the consent"),
    ("expected_discharge_on", "退院予定", "expected discharge"),
    ("first_contact_on", "初回の連絡日", "first contact"),
    ("from_post_id", "前の担当", "from which post"),
    ("held_on", "面談の日", "day of the contact"),
    ("joint_contact_on", "同行面談の予定", "joint contact planned"),
    ("label", "ケースの呼び名", "label of the case"),
    ("lead_post_id", "主担当", "lead"),
    ("message", "伝言", "message"),
    ("next_candidate_post_id", "次の候補", "next candidate"),
    ("not_yet_keys", "後日の項目", "to be supplied later"),
    ("note", "備考", "note"),
    ("place", "場所", "place"),
    ("reason_again", "再依頼の理由", "why it is asked again"),
    ("reason_text", "理由", "reason"),
    ("recipients", "同意した相手", "recipients of the consent"),
    ("restricted_contents", "制限された相談内容", "restricted contents"),
    ("review_on", "見直しの日", "review"),
    ("sender_telephone", "送付元の電話", "sender’s telephone"),
    ("signed_on", "同意の日", "day of consent"),
    ("signer_relation", "同意した人", "who consented"),
    ("starts_at", "開始時刻", "begins"),
    ("story", "相談の内容", "what was said"),
    ("summary", "引継ぎの要点", "summary of the hand-off"),
    ("supported_by_post_id", "支える窓口", "supported by"),
    ("text", "内容", "what is to do"),
    ("to_post_id", "次の担当", "to which post"),
    ("valid_to", "同意の期限", "consent valid to"),
    ("weekdays", "曜日", "weekdays"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_table_leaves_open_is_not_said() {
        let why = |class, group| why_not(class, Some(group), Lang::En);
        assert!(why(DataClass::Minutes, ReaderGroup::Fam).contains("not built"));
        assert!(why(DataClass::Minutes, ReaderGroup::Hosp).contains("present"));
        assert!(why(DataClass::Consent, ReaderGroup::Nur).contains("part in"));
        assert!(why(DataClass::Handoff, ReaderGroup::Ems).contains("policy"));
        assert!(why(DataClass::Lead, ReaderGroup::Nur).contains("or outside"));
    }

    #[test]
    fn every_field_has_one_entry() {
        assert!(FIELDS.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
}
