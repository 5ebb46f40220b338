//! Story A as data: dated events around one child, and the calls that play some of them.
//!
//! Data: `tests/data/storyline-a.json`, compiled in. Every call is a typed command of the contract; an event without
//! one is counted as not yet played.

use serde::Deserialize;
use serde_json::Value;
use tasuki_domain::codes::Lang;

use crate::Error;

const FILE: &str = include_str!("../../../../tests/data/storyline-a.json");

/// The story.
#[derive(Debug, Deserialize)]
pub struct Story {
    /// The events of the storyline, in the order of their days.
    pub events: Vec<Event>,
    /// What is played between them: a call to the desk, a hand-off.
    pub added: Vec<Event>,
}

/// One event of the story.
#[derive(Debug, Deserialize)]
pub struct Event {
    /// `A01` and on; others among what was added.
    pub id: String,
    ja: String,
    en: String,
    /// The calls that play it; none: not yet played.
    #[serde(default)]
    pub steps: Vec<Step>,
}

/// One call.
#[derive(Debug, Deserialize)]
pub struct Step {
    /// When it happened, local time in Asia/Tokyo.
    pub at: jiff::civil::DateTime,
    /// When it was typed in, where later than that.
    entered: Option<jiff::civil::DateTime>,
    /// Who calls, `agency.post`.
    #[serde(rename = "as")]
    pub actor: String,
    /// `Service/Method`.
    pub call: String,
    /// Purpose code.
    #[serde(default = "usual_purpose")]
    pub purpose: String,
    /// Name under which the answer is kept for later steps.
    pub save: Option<String>,
    /// The request as JSON, with references to posts, days and saved answers.
    pub data: Value,
}

fn usual_purpose() -> String {
    "care_coordination".to_owned()
}

impl Story {
    /// Reads the story that comes with the program.
    pub fn read() -> Result<Self, Error> {
        Ok(serde_json::from_str(FILE).map_err(|e| format!("the story: {e}"))?)
    }

    /// Every call in the order in which it is typed in.
    pub fn steps(&self) -> Vec<(&Event, &Step)> {
        let all = self.events.iter().chain(&self.added);
        let mut steps: Vec<_> =
            all.flat_map(|event| event.steps.iter().map(move |step| (event, step))).collect();
        steps.sort_by_key(|(_, step)| step.entered.unwrap_or(step.at));
        steps
    }

    /// The event that a post plays at that time, by its id.
    pub fn played_at(&self, at: jiff::civil::DateTime, actor: &str) -> Option<&str> {
        let all = self.events.iter().chain(&self.added);
        let plays = |event: &&Event| event.steps.iter().any(|step| step.at == at && step.actor == actor);
        all.into_iter().find(plays).map(|event| event.id.as_str())
    }

    /// Events of the storyline without a call.
    pub fn not_yet_played(&self) -> impl Iterator<Item = &Event> {
        self.events.iter().filter(|event| event.steps.is_empty())
    }
}

impl Event {
    /// What happened, in a few words.
    pub fn label(&self, lang: Lang) -> &str {
        match lang {
            Lang::Ja => &self.ja,
            Lang::En => &self.en,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tasuki_domain::dictionary;
    use tasuki_domain::visibility::{Level, ReaderGroup};

    use super::*;

    #[test]
    fn the_story_has_its_events_in_order_and_the_ones_with_a_command_are_played() {
        let story = Story::read().unwrap();
        let ids: Vec<_> = story.events.iter().map(|e| e.id.as_str()).collect();
        let expected: Vec<_> = (1..=48).map(|n| format!("A{n:02}")).collect();
        assert_eq!(ids, expected);
        let played: Vec<_> =
            story.events.iter().filter(|e| !e.steps.is_empty()).map(|e| e.id.as_str()).collect();
        let typed = "A01 A02 A03 A04 A07 A08 A09 A10 A14 A15 A26 A29 A30 A34 A39 A41 A43 A45";
        assert_eq!(played.join(" "), typed);
        assert_eq!(story.not_yet_played().count(), 48 - played.len());
    }

    #[test]
    fn a_desk_passes_on_only_what_it_may_read_itself() {
        let story = Story::read().unwrap();
        let passed_on = story.steps().into_iter().filter(|(_, step)| {
            step.call == "ReferralService/SubmitReferral" && step.actor == "coordinator.desk"
        });
        let facts = passed_on.flat_map(|(_, step)| step.data["facts"].as_array().unwrap());
        let mut count = 0;
        for fact in facts {
            let key = fact["key"].as_str().unwrap();
            assert_eq!(dictionary::readers(key, ReaderGroup::Cd), Level::Full, "{key}");
            count += 1;
        }
        assert!(count > 10);
    }
}
