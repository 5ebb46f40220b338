//! What the demonstration prints, section by section; the timelines and what is withheld stand in files of their own.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use tasuki_contract::timeline::v1::{GetCaseCardResponse, KnownFact};
use tasuki_domain::codes::Lang;
use tasuki_domain::dictionary;

use super::card::Cases;
use super::received::{Lack, Received, facts_lacking};
use super::story::Story;
use super::table::{cell, terminal_width, wrapped};
use super::tokens::Desks;
use super::words::pick;
use super::{Counts, SHOWN, SUBSCRIBED, timelines, withheld, words};
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
    timelines::section(&mut out, story, desks, received, width)?;
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
    withheld::section(&mut out, desks, received, cases, width)?;
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
    let counted = pick(
        lang,
        "(伏せられている項目の数:分かっていてもいなくても)",
        "(keys withheld, whether known or not)",
    );
    let mut line = cell(counted, label_width);
    for card in &cases.cards {
        let keys = card.as_ref().map(|card| card.withheld_keys.len().to_string()).unwrap_or_default();
        line.push_str(&format!("│ {}", cell(&keys, column)));
    }
    let _ = writeln!(out, "{}", line.trim_end());
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
