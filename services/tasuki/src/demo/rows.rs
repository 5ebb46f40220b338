//! The rows of the timelines: an event each, or several of one meeting or one moment where every column agrees.
//!
//! What two rows tell apart is how much of them each shown post received; what they say is put together.

use jiff::civil::DateTime;
use prost_reflect::{DynamicMessage, ReflectMessage as _, Value};
use tasuki_contract::DataClass;
use tasuki_domain::codes::{self, Lang, Table};
use unicode_width::UnicodeWidthStr as _;

use super::received::{Contract, Got, Received, Shared, messages, text};
use super::story::Story;
use super::tokens::Desks;
use super::words::pick;
use super::{SHOWN, words};

const DRAFTED: &str = "tasuki.minutes.v1.MinutesDrafted";
const CIRCULATED: &str = "tasuki.minutes.v1.MinutesCirculated";
const CONFIRMED_BY_ONE: &str = "tasuki.minutes.v1.MinutesAttendeeConfirmed";
const CONFIRMED: &str = "tasuki.minutes.v1.MinutesConfirmed";
const HELD: &str = "tasuki.minutes.v1.MeetingHeld";

/// What one post received of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cell {
    /// How much, in words, with marks.
    much: String,
    facts: usize,
    /// Sentences, and posts that the event names.
    told: Vec<String>,
}

/// One row.
#[derive(Clone, Debug)]
pub struct Row {
    /// The event of the story that it belongs to.
    pub id: String,
    /// When its first event was.
    pub from: Option<DateTime>,
    /// When its last event was.
    pub to: Option<DateTime>,
    /// What happened, with marks.
    pub what: String,
    /// Who recorded it.
    pub who: String,
    /// For each of [`SHOWN`].
    pub cells: Vec<String>,
}

/// A row in the making.
struct Draft {
    row: Row,
    cells: Vec<Option<Cell>>,
    /// Labels of the events in it, each with how many there are.
    labels: Vec<(String, usize)>,
    /// The meeting whose minutes it follows.
    minutes: Option<Minutes>,
    late: bool,
}

#[derive(Default)]
struct Minutes {
    meeting: String,
    confirmed: usize,
    of: usize,
    done: bool,
}

/// The rows of these events, in their order; labels are joined where they fit into `label_width` cells.
pub fn of<'s>(
    events: impl Iterator<Item = &'s Shared>,
    story: &Story,
    desks: &Desks,
    received: &Received,
    label_width: usize,
) -> Vec<Row> {
    let late = received.entered_late();
    let mut drafts: Vec<Draft> = Vec::new();
    for shared in events {
        let mut draft = draft(shared, story, desks, received.contract());
        draft.late = late.contains(shared.item.event_id.as_str());
        draft.minutes = minutes(shared, received);
        if !drafts.iter_mut().any(|before| before.takes_in(&draft, shared, label_width, desks.lang)) {
            drafts.push(draft);
        }
    }
    drafts.into_iter().map(|draft| draft.finished(desks.lang)).collect()
}

fn draft(shared: &Shared, story: &Story, desks: &Desks, contract: &Contract) -> Draft {
    let at = shared.at();
    let desk = desks.of(&shared.item.post_id);
    let id = at.zip(desk).and_then(|(at, desk)| story.played_at(at, &desk.slug)).unwrap_or_default();
    let cells = SHOWN.iter().map(|slug| {
        let got = shared.by_post.get(*slug)?;
        Some(cell(got, shared.lacking(slug).len(), desks, contract))
    });
    Draft {
        row: Row {
            id: id.to_owned(),
            from: at,
            to: at,
            what: String::new(),
            who: desk.map(|desk| desk.office.clone()).unwrap_or_default(),
            cells: Vec::new(),
        },
        cells: cells.collect(),
        labels: vec![(words::event(&shared.item.r#type, desks.lang), 1)],
        minutes: None,
        late: false,
    }
}

/// How the minutes of a meeting stand after this event: only where it says nothing else than that.
fn minutes(shared: &Shared, received: &Received) -> Option<Minutes> {
    let kind = shared.item.r#type.as_str();
    if ![DRAFTED, CIRCULATED, CONFIRMED_BY_ONE, CONFIRMED].contains(&kind) {
        return None;
    }
    let meeting = shared.told("meeting_id");
    let of_it = |other: &&Shared| other.item.r#type == HELD && other.told("meeting_id") == meeting;
    // Who called the meeting confirms by sending the minutes round.
    let present = received.events.iter().find(of_it).and_then(|held| {
        let event = held.by_post.values().find_map(|got| got.content.as_ref())?;
        let attendance = event.get_field_by_name("attendance")?;
        Some(messages(&attendance).filter(|came| text(came, "post_id") != held.item.post_id).count())
    });
    Some(Minutes {
        meeting,
        confirmed: usize::from(kind == CONFIRMED_BY_ONE),
        of: present.unwrap_or_default(),
        done: kind == CONFIRMED,
    })
}

impl Draft {
    /// Puts the event of `other` into this row, if every column got as much of it as of this one.
    fn takes_in(&mut self, other: &Draft, shared: &Shared, label_width: usize, lang: Lang) -> bool {
        let much = |draft: &Draft| -> Vec<Option<String>> {
            draft.cells.iter().map(|cell| cell.as_ref().map(|cell| cell.much.clone())).collect()
        };
        let plain = |draft: &Draft| draft.cells.iter().flatten().all(|cell| cell.facts == 0);
        if self.late || other.late || much(self) != much(other) || !plain(self) || !plain(other) {
            return false;
        }
        match (&mut self.minutes, &other.minutes) {
            (Some(mine), Some(theirs)) => {
                let silent = other.cells.iter().flatten().all(|cell| cell.told.is_empty());
                if mine.meeting != theirs.meeting || !silent || shared.item.r#type == DRAFTED {
                    return false;
                }
                mine.confirmed += theirs.confirmed;
                mine.done |= theirs.done;
                self.row.to = self.row.to.max(other.row.to);
                return true;
            }
            (None, None) => {}
            _ => return false,
        }
        let moment = |row: &Row| (row.id.clone(), row.from, row.who.clone());
        if self.row.id.is_empty() || moment(&self.row) != moment(&other.row) {
            return false;
        }
        let mut labels = self.labels.clone();
        for (label, count) in &other.labels {
            match labels.iter_mut().find(|(known, _)| known == label) {
                Some((_, known)) => *known += count,
                None => labels.push((label.clone(), *count)),
            }
        }
        if labels.len() > 1 && joined(&labels, lang).width() > label_width {
            return false;
        }
        self.labels = labels;
        for (mine, theirs) in self.cells.iter_mut().zip(&other.cells) {
            if let (Some(mine), Some(theirs)) = (mine, theirs) {
                mine.told.extend(theirs.told.iter().cloned());
            }
        }
        true
    }

    fn finished(self, lang: Lang) -> Row {
        let what = match &self.minutes {
            Some(minutes) if minutes.of > 0 => {
                let done = if minutes.done { pick(lang, " 確定", " final") } else { "" };
                let (n, of) = (minutes.confirmed, minutes.of);
                pick(lang, "議事録 確認", "Minutes confirmed ").to_owned() + &format!("{n}/{of}{done}")
            }
            _ => joined(&self.labels, lang),
        };
        let mark = if self.late { "†" } else { "" };
        let cells =
            self.cells.iter().map(|cell| cell.as_ref().map_or("·".to_owned(), |cell| cell.show(lang)));
        Row { what: format!("{mark}{what}"), cells: cells.collect(), ..self.row }
    }
}

fn joined(labels: &[(String, usize)], lang: Lang) -> String {
    let times = |(label, count): &(String, usize)| match count {
        1 => label.clone(),
        n => format!("{label} ×{n}"),
    };
    labels.iter().map(times).collect::<Vec<_>>().join(pick(lang, "・", ", "))
}

fn cell(got: &Got, lacking: usize, desks: &Desks, contract: &Contract) -> Cell {
    let lang = desks.lang;
    let mut much =
        if lacking > 0 { words::part(lang) } else { words::level(got.item.level(), lang) }.to_owned();
    if got.item.history {
        much.push('*');
    }
    if lacking > 0 {
        much.push_str(&format!(" {}{lacking}", pick(lang, "伏", "-")));
    }
    let mut told = Vec::new();
    let facts = got.content.as_ref().map_or(0, |content| tell(content, desks, contract, &mut told));
    Cell { much, facts, told }
}

impl Cell {
    fn show(&self, lang: Lang) -> String {
        let mut text = self.much.clone();
        if self.facts > 0 {
            text.push_str(&format!(" {}{}", pick(lang, "事実", "facts:"), self.facts));
        }
        for piece in &self.told {
            text.push(' ');
            text.push_str(piece);
        }
        text
    }
}

/// Collects what can be read in a message; answers how many facts are in it.
fn tell(message: &DynamicMessage, desks: &Desks, contract: &Contract, told: &mut Vec<String>) -> usize {
    let mut facts = 0;
    for (field, value) in message.fields() {
        let class = contract.class_of(&field);
        let name = field.name();
        if class == DataClass::NotPersonal || name.ends_with("_keys") {
            continue;
        }
        if name.ends_with("_post_id") || name == "recipients" {
            let Some(arrow) = words::arrow(name, desks.lang) else { continue };
            let post = value.as_str().and_then(|id| desks.of(id)).map(|desk| desk.office.clone());
            let recipients = messages(value).map(|recipient| recipient_name(recipient, desks));
            let names: Vec<String> = post.into_iter().chain(recipients).collect();
            told.push(format!("{arrow}{}", names.join(pick(desks.lang, "、", ", "))));
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
        None => desks.of(&post).map_or(kind, |desk| desk.office.clone()),
    }
}

#[cfg(test)]
#[path = "rows_tests.rs"]
mod tests;
