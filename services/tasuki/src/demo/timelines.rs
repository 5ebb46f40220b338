//! Four timelines side by side: one event a row, and in each post's column how much it received and how it begins.

use std::fmt::Write as _;

use prost_reflect::{DynamicMessage, ReflectMessage as _, Value};
use tasuki_contract::DataClass;
use tasuki_domain::codes::{self, Table};

use super::received::{Contract, Got, Received, messages, text};
use super::story::Story;
use super::table::cell;
use super::tokens::Desks;
use super::words::pick;
use super::{SHOWN, words};
use crate::Error;

/// The section with the four timelines, one event a row.
pub fn section(
    out: &mut String,
    story: &Story,
    desks: &Desks,
    received: &Received,
    width: usize,
) -> Result<(), Error> {
    let lang = desks.lang;
    let roomy = width >= 120;
    let (label_width, actor_width) = if roomy { (22, 16) } else { (14, 0) };
    let left = 4 + 16 + 1 + label_width + if roomy { actor_width + 1 } else { 0 };
    let column = width.saturating_sub(left + 2 * SHOWN.len()) / SHOWN.len();
    let row = |id: &str, when: &str, what: &str, who: &str, cells: Vec<String>| {
        let who = if roomy { format!(" {}", cell(who, actor_width)) } else { String::new() };
        let cells: Vec<String> = cells.iter().map(|c| format!("│ {}", cell(c, column))).collect();
        let line =
            format!("{}{} {}{who}{}", cell(id, 4), cell(when, 16), cell(what, label_width), cells.concat());
        line.trim_end().to_owned()
    };
    let shown = SHOWN.iter().map(|slug| desks.named(slug)).collect::<Result<Vec<_>, _>>()?;
    let _ = writeln!(out, "\n{}", row("", "", "", "", shown.iter().map(|d| d.kind.clone()).collect()));
    let names = shown.iter().map(|d| format!("{} {}", d.agency, d.label)).collect();
    let headings =
        (pick(lang, "日時", "When"), pick(lang, "出来事", "What"), pick(lang, "記録した機関", "Recorded by"));
    let _ = writeln!(out, "{}", row("", headings.0, headings.1, headings.2, names));
    let rule = "─".repeat(left) + &format!("┼{}", "─".repeat(column + 1)).repeat(SHOWN.len());
    let _ = writeln!(out, "{rule}");
    let late = received.entered_late();
    for shared in &received.events {
        let cells = SHOWN.iter().map(|slug| match shared.by_post.get(*slug) {
            None => "·".to_owned(),
            Some(got) => in_cell(got, shared.lacking(slug).len(), desks, received.contract()),
        });
        let who = desks.of(&shared.item.post_id).map_or("", |desk| desk.kind.as_str());
        let mark = if late.contains(shared.item.event_id.as_str()) { "†" } else { "" };
        let what = format!("{mark}{}", words::event(&shared.item.r#type, lang));
        let at = local(shared.item.occurred_at.as_ref());
        let id =
            at.and_then(|at| story.played_at(at, &desks.of(&shared.item.post_id)?.slug)).unwrap_or_default();
        let when = at.map(|at| at.strftime("%Y-%m-%d %H:%M").to_string()).unwrap_or_default();
        let _ = writeln!(out, "{}", row(id, &when, &what, who, cells.collect()));
    }
    let _ = writeln!(
        out,
        "\n{}",
        pick(
            lang,
            "· 届いていない   * 輪に加わったときに、それまでの分として届いた   † 後から入力   伏3 ほかの窓口に届いた項目のうち3つが伏せられている",
            "· not received   * received as history, when the post joined   † entered late   -3 three items that others got are withheld"
        )
    );
    Ok(())
}

/// The level, and the first words of what was received.
fn in_cell(got: &Got, lacking: usize, desks: &Desks, contract: &Contract) -> String {
    let mut text = words::level(got.item.level(), desks.lang).to_owned();
    if got.item.history {
        text.push('*');
    }
    if lacking > 0 {
        text.push_str(&format!(" {}{lacking}", pick(desks.lang, "伏", "-")));
    }
    if let Some(content) = &got.content {
        let mut told = Vec::new();
        let facts = tell(content, desks, contract, &mut told);
        if facts > 0 {
            text.push_str(&format!(" {}{facts}", pick(desks.lang, "事実", "facts:")));
        }
        for piece in told {
            text.push(' ');
            text.push_str(&piece);
        }
    }
    text
}

/// Collects what can be read in a message; answers how many facts are in it.
fn tell(message: &DynamicMessage, desks: &Desks, contract: &Contract, told: &mut Vec<String>) -> usize {
    let mut facts = 0;
    for (field, value) in message.fields() {
        let class = contract.class_of(&field);
        let name = field.name();
        if class == DataClass::NotPersonal || name.ends_with("_keys") || name == "from_post_id" {
            continue;
        }
        if name.ends_with("_post_id") {
            let desk = value.as_str().and_then(|id| desks.of(id));
            told.extend(desk.map(|desk| format!("→{}", desk.kind)));
        } else if name == "recipients" {
            told.extend(messages(value).map(|recipient| format!("→{}", recipient_name(recipient, desks))));
        } else if let Some(part) = messages(value).next() {
            match part.descriptor().full_name() {
                "tasuki.common.v1.Fact" => facts += messages(value).count(),
                "tasuki.common.v1.Date" | "google.protobuf.Timestamp" => {}
                _ => facts += messages(value).map(|part| tell(part, desks, contract, told)).sum::<usize>(),
            }
        } else {
            let texts = value
                .as_str()
                .into_iter()
                .chain(value.as_list().into_iter().flatten().filter_map(Value::as_str));
            told.extend(
                texts.filter(|text| words::is_prose(name) && !text.is_empty()).map(ToOwned::to_owned),
            );
        }
    }
    facts
}

fn recipient_name(recipient: &DynamicMessage, desks: &Desks) -> String {
    let kind = text(recipient, "agency_kind");
    let post = text(recipient, "post_id");
    match codes::lookup(Table::AgencyKind, &kind) {
        Some(code) => code.label(desks.lang).to_owned(),
        None => desks.of(&post).map_or(kind, |desk| desk.kind.clone()),
    }
}

/// The local time in Asia/Tokyo.
fn local(at: Option<&prost_types::Timestamp>) -> Option<jiff::civil::DateTime> {
    let instant = at.and_then(|t| jiff::Timestamp::new(t.seconds, t.nanos).ok());
    instant.map(|t| jiff::tz::Offset::constant(9).to_datetime(t))
}
