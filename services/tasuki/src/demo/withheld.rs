//! What each of the shown posts does not get, in words: events, fields, facts, and what policy says it withholds.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::card::Cases;
use super::received::{Lack, Received};
use super::table::wrapped;
use super::tokens::Desks;
use super::{SHOWN, words};
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
    for slug in SHOWN {
        let desk = desks.named(slug)?;
        let _ = writeln!(out, "\n■ {} {}", desk.agency, desk.label);
        let (absent, present): (Vec<_>, Vec<_>) =
            received.events.iter().partition(|shared| !shared.by_post.contains_key(slug));

        let mut missed: BTreeMap<String, usize> = BTreeMap::new();
        for shared in &absent {
            *missed.entry(words::event(&shared.item.r#type, lang)).or_default() += 1;
        }
        let _ = writeln!(
            out,
            "  {} {}/{}",
            words::pick(lang, "届かなかった出来事:", "events not received:"),
            absent.len(),
            received.events.len()
        );
        list(out, missed.iter().map(|(label, n)| format!("{label} ×{n}")), width);

        let mut reduced: BTreeMap<String, BTreeMap<String, (Lack, usize)>> = BTreeMap::new();
        for shared in &present {
            for (piece, lack) in shared.lacking(slug) {
                let pieces = reduced.entry(words::event(&shared.item.r#type, lang)).or_default();
                let entry = pieces.entry(words::piece(piece, lang)).or_insert((lack, 0));
                *entry = (entry.0.max(lack), entry.1 + 1);
            }
        }
        let _ = writeln!(
            out,
            "  {}",
            words::pick(lang, "届いた出来事のうち、伏せられていたもの:", "withheld from events received:")
        );
        if reduced.is_empty() {
            let _ = writeln!(out, "    {}", words::pick(lang, "なし", "nothing"));
        }
        for (event, pieces) in &reduced {
            let _ = writeln!(out, "    {event}:");
            let partly = words::pick(lang, "(要約のみ)", " (summary only)");
            let items = pieces.iter().map(|(label, (lack, n))| {
                let times = if *n > 1 { format!(" ×{n}") } else { String::new() };
                format!("{label}{}{times}", if *lack == Lack::Partly { partly } else { "" })
            });
            let items: Vec<String> = items.collect();
            out.push_str(&wrapped(&items, words::pick(lang, "、", ", "), 6, width));
        }

        let card = SHOWN.iter().position(|shown| *shown == slug).and_then(|i| cases.cards.get(i)?.as_ref());
        if let Some(card) = card {
            let told = words::pick(
                lang,
                "ケースについて、方針で全部または一部を伏せると告げられた分類(中身があってもなくても同じ):",
                "classes of the case that policy says are withheld, wholly or in part (whether or not anything is in them):",
            );
            let _ = writeln!(out, "  {told}");
            list(out, card.withheld_classes().map(|class| words::class(class, lang)), width);
        }
    }
    Ok(())
}

fn list(out: &mut String, items: impl Iterator<Item = String>, width: usize) {
    let items: Vec<String> = items.collect();
    if !items.is_empty() {
        out.push_str(&wrapped(&items, " / ", 4, width));
    }
}
