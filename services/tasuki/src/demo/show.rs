//! What the demonstration prints: four timelines side by side, what each does not get, the cards, and what is open.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use prost_reflect::{DynamicMessage, ReflectMessage as _, Value};
use tasuki_contract::DataClass;
use tasuki_contract::timeline::v1::{GetCaseCardResponse, KnownFact};
use tasuki_domain::codes::{self, Lang, Table};
use tasuki_domain::dictionary;

use super::card::Cases;
use super::received::{Contract, Got, Lack, Received, facts_lacking, messages, text};
use super::story::Story;
use super::table::{cell, terminal_width, wrapped};
use super::tokens::Desks;
use super::words::pick;
use super::{Counts, SHOWN, SUBSCRIBED, withheld, words};
use crate::Error;

/// Everything but the last line.
pub fn everything(
    story: &Story,
    desks: &Desks,
    received: &Received,
    cases: &Cases,
    counts: Counts,
) -> Result<String, Error> {
    let (lang, width) = (desks.lang, terminal_width());
    let mut out = String::new();
    head(&mut out, story, lang);
    title(&mut out, 1, pick(lang, "同じ出来事、四つの窓口", "The same events, four posts"), width);
    timelines(&mut out, desks, received, width)?;
    title(
        &mut out,
        2,
        pick(
            lang,
            "届いていないもの(受信したバイト列の比較)",
            "What each does not get (received bytes compared)",
        ),
        width,
    );
    withheld::section(&mut out, desks, received, width)?;
    title(
        &mut out,
        3,
        pick(
            lang,
            "お子さんについて分かっていること(ケースカード)",
            "What is known about the child (case card)",
        ),
        width,
    );
    cards(&mut out, desks, cases, width)?;
    title(&mut out, 4, pick(lang, "いま", "Now"), width);
    now(&mut out, desks, cases);
    title(&mut out, 5, pick(lang, "まだ再生できない出来事", "Not yet played"), width);
    let unplayed: Vec<String> =
        story.not_yet_played().map(|event| format!("{} {}", event.id, event.label(lang))).collect();
    out.push_str(&wrapped(&unplayed, pick(lang, "、", ", "), 2, width));
    let played = story.events.len() - unplayed.len();
    let _ = match lang {
        Lang::Ja => writeln!(
            out,
            "\n物語の {} 件のうち {played} 件を再生、{} 件はこれから。記録 {} 件、受信した機関 {}、配信 {} 件。",
            story.events.len(),
            unplayed.len(),
            counts.events,
            counts.agencies,
            counts.delivered
        ),
        Lang::En => writeln!(
            out,
            "\n{played} of the story's {} events played, {} not yet. {} events in the log, {} agencies subscribed, {} items delivered.",
            story.events.len(),
            unplayed.len(),
            counts.events,
            counts.agencies,
            counts.delivered
        ),
    };
    Ok(out)
}

fn head(out: &mut String, story: &Story, lang: Lang) {
    let text = match lang {
        Lang::Ja => "襷 Tasuki デモ: 架空のケース kita_A。実在の方の情報はありません。",
        Lang::En => "Tasuki demo: the made-up case kita_A. Nothing in it is about a real person.",
    };
    let _ = writeln!(out, "{text}");
    let added: Vec<&str> = story.added.iter().map(|event| event.label(lang)).collect();
    let _ = match lang {
        Lang::Ja => writeln!(
            out,
            "{}つの窓口が受信を始めてから再生しました。物語に加えたもの: {}。",
            SUBSCRIBED.len(),
            added.join("、")
        ),
        Lang::En => writeln!(
            out,
            "{} posts subscribed before the first call. Added to the story: {}.",
            SUBSCRIBED.len(),
            added.join("; ")
        ),
    };
}

fn title(out: &mut String, number: u8, text: &str, width: usize) {
    let _ = writeln!(out, "\n{}\n{number}. {text}", "━".repeat(width));
}

fn timelines(out: &mut String, desks: &Desks, received: &Received, width: usize) -> Result<(), Error> {
    let lang = desks.lang;
    let roomy = width >= 120;
    let (label_width, actor_width) = if roomy { (22, 16) } else { (14, 0) };
    let left = 16 + 1 + label_width + if roomy { actor_width + 1 } else { 0 };
    let column = width.saturating_sub(left + 2 * SHOWN.len()) / SHOWN.len();
    let row = |when: &str, what: &str, who: &str, cells: Vec<String>| {
        let who = if roomy { format!(" {}", cell(who, actor_width)) } else { String::new() };
        let cells: Vec<String> = cells.iter().map(|c| format!("│ {}", cell(c, column))).collect();
        format!("{} {}{who}{}", cell(when, 16), cell(what, label_width), cells.concat()).trim_end().to_owned()
    };
    let shown = SHOWN.iter().map(|slug| desks.named(slug)).collect::<Result<Vec<_>, _>>()?;
    let _ = writeln!(out, "\n{}", row("", "", "", shown.iter().map(|d| d.kind.clone()).collect()));
    let names = shown.iter().map(|d| format!("{} {}", d.agency, d.label)).collect();
    let headings =
        (pick(lang, "日時", "When"), pick(lang, "出来事", "What"), pick(lang, "記録した機関", "Recorded by"));
    let _ = writeln!(out, "{}", row(headings.0, headings.1, headings.2, names));
    let rule = "─".repeat(left) + &format!("┼{}", "─".repeat(column + 1)).repeat(SHOWN.len());
    let _ = writeln!(out, "{rule}");
    for shared in &received.events {
        let cells = SHOWN.iter().map(|slug| match shared.by_post.get(*slug) {
            None => "·".to_owned(),
            Some(got) => in_cell(got, desks, received.contract()),
        });
        let who = desks.of(&shared.item.post_id).map_or("", |desk| desk.kind.as_str());
        let what = words::event(&shared.item.r#type, lang);
        let _ =
            writeln!(out, "{}", row(&local(shared.item.occurred_at.as_ref()), &what, who, cells.collect()));
    }
    let _ = writeln!(
        out,
        "\n{}",
        pick(
            lang,
            "· 届いていない   * 輪に加わったときに、それまでの分として届いた",
            "· not received   * received as history, when the post joined"
        )
    );
    Ok(())
}

/// The level, and the first words of what was received.
fn in_cell(got: &Got, desks: &Desks, contract: &Contract) -> String {
    let mut text = words::level(got.item.level(), desks.lang).to_owned();
    if got.item.history {
        text.push('*');
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
            told.extend(texts.filter(|text| !text.is_empty()).map(ToOwned::to_owned));
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

fn local(at: Option<&prost_types::Timestamp>) -> String {
    let instant = at.and_then(|t| jiff::Timestamp::new(t.seconds, t.nanos).ok());
    let local = instant.map(|t| jiff::tz::Offset::constant(9).to_datetime(t));
    local.map(|t| t.strftime("%Y-%m-%d %H:%M").to_string()).unwrap_or_default()
}

fn cards(out: &mut String, desks: &Desks, cases: &Cases, width: usize) -> Result<(), Error> {
    let lang = desks.lang;
    let facts =
        |card: &Option<GetCaseCardResponse>| card.as_ref().map(|c| c.facts.clone()).unwrap_or_default();
    let all: Vec<Vec<KnownFact>> = cases.cards.iter().map(facts).collect();
    let column = 22.min(width.saturating_sub(32) / SHOWN.len());
    let label_width = (width - (column + 2) * SHOWN.len()).min(56);
    let mut rows: BTreeMap<&str, Vec<Option<Lack>>> = BTreeMap::new();
    for mine in &all {
        for (key, lack) in facts_lacking(&all, mine) {
            rows.entry(key).or_default().push(lack);
        }
    }
    let mut heading = cell("", label_width);
    for slug in SHOWN {
        heading.push_str(&format!("│ {}", cell(&desks.named(slug)?.kind, column)));
    }
    let _ = writeln!(out, "\n{}", heading.trim_end());
    let known = dictionary::all().iter().filter_map(|field| Some((field, rows.get(field.key.as_str())?)));
    for (field, lacks) in known {
        let mut line = cell(field.label(lang), label_width);
        for lack in lacks {
            let mark = match lack {
                None => "○",
                Some(Lack::Partly) => "△",
                Some(Lack::Wholly) => "·",
            };
            line.push_str(&format!("│ {}", cell(mark, column)));
        }
        let _ = writeln!(out, "{}", line.trim_end());
    }
    let _ = writeln!(
        out,
        "\n{}",
        pick(lang, "○ 読める   △ 要約のみ   · 読めない", "○ readable   △ summary only   · not readable")
    );
    Ok(())
}

fn now(out: &mut String, desks: &Desks, cases: &Cases) {
    let lang = desks.lang;
    let mut lead = |label: &str, card: Option<&GetCaseCardResponse>| {
        let Some(card) = card else { return };
        let (name, telephone) = (desks.name(&card.lead_post_id), &card.lead_telephone);
        let _ = match lang {
            Lang::Ja => writeln!(out, "  {label} の主担当: {name}(電話 {telephone})"),
            Lang::En => writeln!(out, "  Responsible for {label}: {name} (telephone {telephone})"),
        };
    };
    // The family's own card says it, as everybody's does.
    lead("kita_A", cases.cards.last().and_then(Option::as_ref));
    lead("kita_B", cases.other.as_ref());
    let _ = writeln!(out, "  {}", pick(lang, "残っている仕事:", "Open duties:"));
    for (post, owed) in &cases.duties {
        if owed.is_empty() {
            continue;
        }
        let items = owed.iter().map(|(kind, duties)| {
            let first = duties.iter().filter_map(|d| d.due_on).map(|d| (d.year, d.month, d.day)).min();
            let until = first.map(|(y, m, d)| {
                format!(" ({}{y}-{m:02}-{d:02})", pick(lang, "最も早い期限 ", "first due "))
            });
            format!("{} ×{}{}", words::duty(*kind, lang), duties.len(), until.unwrap_or_default())
        });
        let _ = writeln!(
            out,
            "    {}: {}",
            desks.name(post),
            items.collect::<Vec<_>>().join(pick(lang, "、", ", "))
        );
    }
}
