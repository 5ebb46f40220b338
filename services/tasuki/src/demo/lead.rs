//! Who was responsible for the story's case, and since when: from the events that said so to whoever received them.

use std::fmt::Write as _;

use jiff::civil::Date;

use super::received::{Received, Shared};
use super::tokens::Desks;
use super::words::pick;

/// The fields in which an event names the post that is responsible from then on.
const NAMED_IN: [(&str, &str); 2] = [
    ("tasuki.cases.v1.CaseOpened", "lead_post_id"),
    ("tasuki.cases.v1.ResponsibilityTransferred", "to_post_id"),
];

/// One line: each responsible post after the day on which it became that.
pub fn history(out: &mut String, desks: &Desks, received: &Received, case: &str) {
    let (of_the_case, _) = received.split(case);
    let mut line = String::new();
    let mut year = None;
    for (day, post) in of_the_case.into_iter().filter_map(named) {
        let name = desks.brief(&post);
        if !line.is_empty() {
            line.push_str(" → ");
        }
        let format = if year.replace(day.year()) == Some(day.year()) { "%m-%d" } else { "%Y-%m-%d" };
        let _ = write!(line, "{} {name}", day.strftime(format));
    }
    let _ = writeln!(out, "\n{}{line}", pick(desks.lang, "kita_A の主担当: ", "Lead of kita_A: "));
}

fn named(shared: &Shared) -> Option<(Date, String)> {
    let (_, field) = NAMED_IN.iter().find(|(name, _)| *name == shared.item.r#type)?;
    let post = shared.told(field);
    Some((shared.at()?.date(), post)).filter(|(_, post)| !post.is_empty())
}
