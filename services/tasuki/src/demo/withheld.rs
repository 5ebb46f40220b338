//! What each of the shown posts does not get, in words: events, fields, facts, and what policy says it withholds.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use tasuki_contract::timeline::v1::GetCaseCardResponse;
use tasuki_contract::{DataClass, Event};
use tasuki_domain::codes::Lang;

use super::SHOWN;
use super::card::Cases;
use super::received::{Lack, Received, Shared};
use super::table::wrapped;
use super::tokens::{Desk, Desks};
use super::words::{self, pick};
use crate::Error;

/// The section on what is not received, for every shown post.
pub fn section(
    out: &mut String,
    desks: &Desks,
    received: &Received,
    cases: &Cases,
    width: usize,
) -> Result<(), Error> {
    let lang = desks.lang;
    let (of_the_story, others) = received.split(&cases.story);
    for (slug, card) in SHOWN.iter().zip(&cases.cards) {
        let desk = desks.named(slug)?;
        let _ = writeln!(out, "\n■ {} {}", desk.agency, desk.label);
        not_received(out, desk, &of_the_story, lang, width);
        let missed = others.iter().filter(|shared| !shared.by_post.contains_key(*slug)).count();
        let beside = pick(lang, "kita_A 以外で届かなかった出来事:", "events beside kita_A not received:");
        let _ = writeln!(out, "  {beside} {missed}/{}", others.len());
        reduced(out, slug, &received.events, lang, width);
        if let Some(card) = card {
            classes(out, card, lang, width);
        }
    }
    Ok(())
}

/// The events of the case that did not come, by the class that governs them, with the reason where it is known.
fn not_received(out: &mut String, desk: &Desk, events: &[&Shared], lang: Lang, width: usize) {
    let missed: Vec<&&Shared> =
        events.iter().filter(|shared| !shared.by_post.contains_key(&desk.slug)).collect();
    let title = pick(lang, "kita_A で届かなかった出来事:", "events of kita_A not received:");
    let _ = writeln!(out, "  {title} {}/{}", missed.len(), events.len());
    let mut by_class: BTreeMap<DataClass, BTreeMap<String, usize>> = BTreeMap::new();
    for shared in missed {
        let class = Event::rule_of(&shared.item.r#type).map_or(DataClass::Unspecified, |rule| rule.class);
        let label = words::event(&shared.item.r#type, lang);
        *by_class.entry(class).or_default().entry(label).or_default() += 1;
    }
    for (class, labels) in by_class {
        let (label, why) = (words::class(class, lang), words::why_not(class, desk.group, lang));
        let _ = writeln!(out, "    {label}: {why}");
        let items: Vec<String> = labels.iter().map(|(label, n)| format!("{label} ×{n}")).collect();
        out.push_str(&wrapped(&items, " / ", 6, width));
    }
}

fn reduced(out: &mut String, slug: &str, events: &[Shared], lang: Lang, width: usize) {
    let mut reduced: BTreeMap<String, BTreeMap<String, (Lack, usize)>> = BTreeMap::new();
    for shared in events {
        for (piece, lack) in shared.lacking(slug) {
            let pieces = reduced.entry(words::event(&shared.item.r#type, lang)).or_default();
            let entry = pieces.entry(words::piece(piece, lang)).or_insert((lack, 0));
            *entry = (entry.0.max(lack), entry.1 + 1);
        }
    }
    let title = pick(lang, "届いた出来事のうち、伏せているもの:", "withheld from events received:");
    let _ =
        writeln!(out, "  {title}{}", if reduced.is_empty() { pick(lang, " なし", " nothing") } else { "" });
    for (event, pieces) in &reduced {
        let _ = writeln!(out, "    {event}:");
        let partly = pick(lang, "(要約のみ)", " (summary only)");
        let items = pieces.iter().map(|(label, (lack, n))| {
            let times = if *n > 1 { format!(" ×{n}") } else { String::new() };
            format!("{label}{}{times}", if *lack == Lack::Partly { partly } else { "" })
        });
        let items: Vec<String> = items.collect();
        out.push_str(&wrapped(&items, pick(lang, "、", ", "), 6, width));
    }
}

/// What the card says of classes: from policy and consents, whether or not there is anything in them.
fn classes(out: &mut String, card: &GetCaseCardResponse, lang: Lang, width: usize) {
    let title = pick(
        lang,
        "ケースカードで伏せていると告げた情報の分類(中身が有っても無くても同じ):",
        "classes that the case card says are withheld (whether or not anything is in them):",
    );
    let _ = writeln!(out, "  {title}");
    let partly: Vec<DataClass> = card.partly_withheld_classes().collect();
    let listed = |out: &mut String, title: &str, in_part: bool| {
        let of_kind = card.withheld_classes().filter(|class| partly.contains(class) == in_part);
        let items: Vec<String> = of_kind.map(|class| words::class(class, lang)).collect();
        if !items.is_empty() {
            let _ = writeln!(out, "    {title}");
            out.push_str(&wrapped(&items, " / ", 6, width));
        }
    };
    listed(out, pick(lang, "すべて伏せる:", "wholly:"), false);
    listed(out, pick(lang, "一部伏せる:", "in part:"), true);
}
