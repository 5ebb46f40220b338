//! Four timelines side by side: one row an event, and in each post's column how much it received and how it begins.
//! First what is about the story's child, then what else was played.

use std::fmt::Write as _;

use tasuki_domain::codes::Lang;

use super::card::Cases;
use super::received::{Received, Shared};
use super::rows::{self, Row};
use super::story::Story;
use super::table::{cell, wrapped};
use super::tokens::Desks;
use super::words::{self, pick};
use super::{SHOWN, lead};
use crate::Error;

/// How wide the columns are.
struct Columns {
    when: usize,
    label: usize,
    /// 0: there is no room to say who recorded it.
    actor: usize,
    post: usize,
}

impl Columns {
    fn of(width: usize, lang: Lang) -> Self {
        let (when, label, actor) = match (width >= 120, lang) {
            (true, Lang::Ja) => (20, 22, 16),
            (true, Lang::En) => (20, 28, 16),
            (false, _) => (16, 14, 0),
        };
        let columns = Self { when, label, actor, post: 0 };
        let post = width.saturating_sub(columns.left() + 2 * SHOWN.len()) / SHOWN.len();
        Self { post, ..columns }
    }

    fn left(&self) -> usize {
        4 + self.when + 1 + self.label + if self.actor > 0 { self.actor + 1 } else { 0 }
    }

    fn line(&self, id: &str, when: &str, what: &str, who: &str, cells: &[String]) -> String {
        let who = if self.actor > 0 { format!(" {}", cell(who, self.actor)) } else { String::new() };
        let cells: Vec<String> = cells.iter().map(|c| format!("│ {}", cell(c, self.post))).collect();
        let line = format!(
            "{}{} {}{who}{}",
            cell(id, 4),
            cell(when, self.when),
            cell(what, self.label),
            cells.concat()
        );
        line.trim_end().to_owned()
    }

    /// When a row was, in as many cells as there are.
    fn when(&self, row: &Row, lang: Lang) -> String {
        let Some((from, to)) = row.from.zip(row.to) else { return String::new() };
        let dash = pick(lang, "〜", "–");
        match (self.actor > 0, from.date() == to.date()) {
            (true, true) => format!("{} {}", words::day(from.date(), false, lang), from.strftime("%H:%M")),
            (true, false) => {
                format!("{}{dash}{}", words::day(from.date(), true, lang), words::day(to.date(), true, lang))
            }
            (false, true) => from.strftime("%Y-%m-%d %H:%M").to_string(),
            (false, false) => format!("{}{dash}{}", from.strftime("%m-%d"), to.strftime("%m-%d")),
        }
    }
}

/// The section with the four timelines.
pub fn section(
    out: &mut String,
    story: &Story,
    desks: &Desks,
    received: &Received,
    cases: &Cases,
    width: usize,
) -> Result<(), Error> {
    let lang = desks.lang;
    lead::history(out, desks, received, &cases.story);
    let columns = Columns::of(width, lang);
    let (of_the_story, others) = received.split(&cases.story);
    table(out, &columns, &of_the_story, story, desks, received)?;
    let title = pick(
        lang,
        "■ kita_A のほかに再生した出来事(電話相談とそこから始まった kita_B、区の会議)",
        "■ Played beside kita_A (telephone calls, kita_B that one of them became, the ward's council)",
    );
    let _ = writeln!(out, "\n{title}");
    table(out, &columns, &others, story, desks, received)?;
    let legend = match lang {
        Lang::Ja => [
            "全部 ほかの窓口と同じだけ届いた",
            "一部 伏3 届いたが、ほかの窓口に届いた項目のうち3つは伏せている",
            "· 届いていない",
            "* 支援の輪に加わったときに、それまでの分として届いた",
            "† 後から入力",
            "事実31 お子さんについての項目が31",
        ],
        Lang::En => [
            "full: as much as any other post received",
            "part -3: received, three items that others got are withheld",
            "· not received",
            "* received as history, when the post joined the circle",
            "† entered late",
            "facts:31: 31 items about the child",
        ],
    };
    let _ = write!(out, "\n{}", wrapped(&legend.map(str::to_owned), "   ", 0, width));
    Ok(())
}

fn table(
    out: &mut String,
    columns: &Columns,
    events: &[&Shared],
    story: &Story,
    desks: &Desks,
    received: &Received,
) -> Result<(), Error> {
    let lang = desks.lang;
    let shown = SHOWN.iter().map(|slug| desks.named(slug)).collect::<Result<Vec<_>, _>>()?;
    let kinds: Vec<String> = shown.iter().map(|desk| desk.kind.clone()).collect();
    let _ = writeln!(out, "\n{}", columns.line("", "", "", "", &kinds));
    let names: Vec<String> = shown.iter().map(|desk| desk.office.clone()).collect();
    let [when, what, who] = match lang {
        Lang::Ja => ["日時", "出来事", "記録した機関"],
        Lang::En => ["When", "What", "Recorded by"],
    };
    let _ = writeln!(out, "{}", columns.line("", when, what, who, &names));
    let rule = "─".repeat(columns.left()) + &format!("┼{}", "─".repeat(columns.post + 1)).repeat(SHOWN.len());
    let _ = writeln!(out, "{rule}");
    for row in rows::of(events.iter().copied(), story, desks, received, columns.label) {
        let when = columns.when(&row, lang);
        let _ = writeln!(out, "{}", columns.line(&row.id, &when, &row.what, &row.who, &row.cells));
    }
    Ok(())
}
