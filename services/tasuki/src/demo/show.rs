//! What the demonstration prints, section by section; the timelines and what is withheld stand in files of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use tasuki_contract::timeline::v1::{GetCaseCardResponse, KnownFact};
use tasuki_contract::{DataClass, Event};
use tasuki_domain::codes::Lang;
use tasuki_domain::dictionary;
use tasuki_domain::visibility::{Level, ReaderGroup};

use super::card::Cases;
use super::received::{Lack, Received, Shared, facts_lacking};
use super::story::Story;
use super::table::{cell, terminal_width, wrapped};
use super::tokens::Desks;
use super::words::pick;
use super::{Counts, SHOWN, SUBSCRIBED, timelines, withheld, words};
use crate::Error;

/// A key that one of the shown posts has no use for.
const EXAMPLE: &str = "allergies";

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
    head(&mut out, story, lang, width);
    title(&mut out, 1, pick(lang, "同じ出来事、四つの窓口", "The same events, four posts"), width);
    timelines::section(&mut out, story, desks, received, cases, width)?;
    title(
        &mut out,
        2,
        pick(
            lang,
            "それぞれに届いていないもの(実際に届いた内容どうしの比較)",
            "What each does not get (what really arrived, compared)",
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
    now(&mut out, desks, received, cases, width);
    title(&mut out, 5, pick(lang, "まだ再生できない出来事", "Not yet played"), width);
    let unplayed: Vec<String> =
        story.not_yet_played().map(|event| format!("{} {}", event.id, event.label(lang))).collect();
    out.push_str(&wrapped(&unplayed, pick(lang, "、", ", "), 2, width));
    unbuilt(&mut out, lang, received, &cases.story);
    let played = story.events.len() - unplayed.len();
    let _ = match lang {
        Lang::Ja => writeln!(
            out,
            "\n物語の {} 件のうち {played} 件を再生、{} 件はこれから。記録された出来事 {} 件、見ていた窓口 {}、届いた件数 {}。",
            story.events.len(),
            unplayed.len(),
            counts.events,
            counts.agencies,
            counts.delivered
        ),
        Lang::En => writeln!(
            out,
            "\n{played} of the story's {} events played, {} not yet. {} events in the log, {} posts watched, {} items arrived.",
            story.events.len(),
            unplayed.len(),
            counts.events,
            counts.agencies,
            counts.delivered
        ),
    };
    Ok(out)
}

fn head(out: &mut String, story: &Story, lang: Lang, width: usize) {
    let text = match lang {
        Lang::Ja => "襷 Tasuki デモ: 架空のケース kita_A。実在の方の情報はありません。",
        Lang::En => "Tasuki demo: the made-up case kita_A. Nothing in it is about a real person.",
    };
    let _ = writeln!(out, "{text}");
    let (watched, added, end) = match lang {
        Lang::Ja => ("つの窓口が見ている状態で、記録を順に再生しました。", "物語に加えたもの: ", "。"),
        Lang::En => (
            " posts were watching while the records were played in their order. ",
            "Added to the story: ",
            ".",
        ),
    };
    let mut items = vec![format!("{}{watched}", SUBSCRIBED.len())];
    let labels = story.added.iter().enumerate().map(|(i, event)| {
        let (first, last) = (i == 0, i + 1 == story.added.len());
        let follows = if last { end } else { pick(lang, "、", "; ") };
        format!("{}{}{follows}", if first { added } else { "" }, event.label(lang))
    });
    items.extend(labels);
    out.push_str(&wrapped(&items, "", 0, width));
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
                Some(Lack::Wholly) => pick(lang, "伏", "×"),
            };
            line.push_str(&format!("│ {}", cell(mark, column)));
        }
        let _ = writeln!(out, "{}", line.trim_end());
    }
    let counted = pick(
        lang,
        "(伏せている項目の数: 分かっていてもいなくても)",
        "(items withheld, whether known or not)",
    );
    let mut line = cell(counted, label_width);
    for card in &cases.cards {
        let keys = card.as_ref().map(|card| card.withheld_keys.len().to_string()).unwrap_or_default();
        line.push_str(&format!("│ {}", cell(&keys, column)));
    }
    let _ = writeln!(out, "{}", line.trim_end());
    let legend = pick(
        lang,
        "○ 読める   △ 要約のみ   伏 伏せている(無いのではない)",
        "○ readable   △ summary only   × withheld (that is not absent)",
    );
    let _ = writeln!(out, "\n{legend}");
    let only = pick(
        lang,
        "この4つの窓口のどれかが持っている項目だけを並べています。だれも持っていない項目は出てきません。",
        "Only items that at least one of the four holds are listed; what nobody holds does not appear.",
    );
    let _ = writeln!(out, "{only}");
    let why = pick(
        lang,
        "どの種別の機関がどの項目を読むかは、項目辞書が決めています。",
        "The field dictionary decides which kind of agency reads which item.",
    );
    let _ = writeln!(out, "{why}");
    if dictionary::readers(EXAMPLE, ReaderGroup::Cd) == Level::None {
        let label = words::fact(EXAMPLE, lang);
        let _ = match lang {
            Lang::Ja => {
                writeln!(out, "たとえば「{label}」は、ケアに当たる機関が読み、コーディネーターは読みません。")
            }
            Lang::En => {
                writeln!(out, "`{label}`, for example, is for those who give care, and for no coordinator.")
            }
        };
    }
    Ok(())
}

fn now(out: &mut String, desks: &Desks, received: &Received, cases: &Cases, width: usize) {
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
    duties(out, desks, received, cases, width);
}

/// What is owed, with what is overdue on the last day of what was played.
fn duties(out: &mut String, desks: &Desks, received: &Received, cases: &Cases, width: usize) {
    let lang = desks.lang;
    let last = received.events.iter().filter_map(Shared::at).map(jiff::civil::DateTime::date).max();
    let day = last.map(|day| words::day(day, false, lang)).unwrap_or_default();
    let _ = match lang {
        Lang::Ja => writeln!(out, "  対応が必要なこと(期限超過は、物語の最終日 {day} の時点):"),
        Lang::En => writeln!(out, "  Duties (overdue on the last day of the story, {day}):"),
    };
    let last = last.map(|day| (i32::from(day.year()), i32::from(day.month()), i32::from(day.day())));
    let mut unanswerable: BTreeSet<&str> = BTreeSet::new();
    for (post, owed) in &cases.duties {
        if owed.is_empty() {
            continue;
        }
        let mut items = Vec::new();
        for (kind, duties) in owed {
            let name = words::duty(*kind, lang);
            if words::cannot_be_answered(*kind) {
                unanswerable.insert(name);
            }
            let due: Vec<_> =
                duties.iter().filter_map(|d| d.due_on).map(|d| (d.year, d.month, d.day)).collect();
            let mut notes = Vec::new();
            if let Some((y, m, d)) = due.iter().min() {
                notes.push(format!("{}{y}-{m:02}-{d:02}", pick(lang, "最も早い期限 ", "first due ")));
            }
            match due.iter().filter(|due| last.is_some_and(|last| **due < last)).count() {
                0 => {}
                n if n == duties.len() => notes.push(pick(lang, "期限超過", "overdue").to_owned()),
                n => notes.push(pick(lang, "うち期限超過 ", "overdue: ").to_owned() + &n.to_string()),
            }
            let notes = if notes.is_empty() {
                String::new()
            } else {
                format!(" ({})", notes.join(pick(lang, "、", ", ")))
            };
            items.push(format!("{name} ×{}{notes}", duties.len()));
        }
        let _ = writeln!(out, "    {}: {}", desks.name(post), items.join(pick(lang, "、", ", ")));
    }
    if !unanswerable.is_empty() {
        let kinds = unanswerable.into_iter().collect::<Vec<_>>().join(pick(lang, "・", ", "));
        let why = match lang {
            Lang::Ja => {
                format!("{kinds}が残っているのは、済んだと記録する操作がまだ作られていないためです。")
            }
            Lang::En => format!("Still open since no call is built yet that records them as done: {kinds}."),
        };
        out.push_str(&wrapped(&[why], "", 4, width));
    }
}

/// What is not built yet and shows in what is printed.
fn unbuilt(out: &mut String, lang: Lang, received: &Received, story: &str) {
    let family = SHOWN[SHOWN.len() - 1];
    let (of_the_story, _) = received.split(story);
    let missed: Vec<_> = of_the_story.iter().filter(|shared| !shared.by_post.contains_key(family)).collect();
    let of_meetings = |shared: &&&&Shared| {
        Event::rule_of(&shared.item.r#type).is_some_and(|rule| rule.class == DataClass::Minutes)
    };
    let (all, of) = (missed.len(), missed.iter().filter(of_meetings).count());
    let text = match (lang, all == of) {
        (Lang::Ja, true) => format!("kita_A で家族に届いていない {all} 件は、すべて会議と議事録です。"),
        (Lang::Ja, false) => {
            format!("kita_A で家族に届いていない {all} 件のうち {of} 件が会議と議事録です。")
        }
        (Lang::En, true) => format!("All {all} events of kita_A that the family lacks are of meetings."),
        (Lang::En, false) => {
            format!("{of} of the {all} events of kita_A that the family lacks are of meetings.")
        }
    };
    let unbuilt = pick(
        lang,
        "家族向けの議事録も、まだ作られていません。",
        "Nor is the family's version of minutes built yet. ",
    );
    let _ = writeln!(out, "  {unbuilt}{text}");
}
