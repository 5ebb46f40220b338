//! The part of the story about documents: one for those who read diagnoses, one signed paper.

use tasuki_contract::DataClass;
use tasuki_contract::attachments::v1::MediaType;
use tasuki_tests::Paper;

use super::Story;
use crate::who_reads::{COORDINATOR, HOSPITAL};

impl Story {
    pub(super) async fn papers(&mut self) {
        self.paper(HOSPITAL, DataClass::Diagnosis, "paper.diagnosis.title", "paper.diagnosis").await;
        self.paper(COORDINATOR, DataClass::Consent, "paper.signed.title", "paper.signed").await;
    }

    async fn paper(&mut self, who: &str, class: DataClass, title: &'static str, text: &'static str) {
        let paper = Paper {
            case_id: self.told.cases[0].clone(),
            class,
            media_type: MediaType::PlainText,
            title: self.mark(title),
            bytes: self.mark(text).into_bytes(),
        };
        let id = paper.add(&self.callers[who]).await.unwrap();
        self.told.attachments.push(id);
    }
}
