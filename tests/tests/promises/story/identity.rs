//! The part of the story in which one child is described three times: a merge that is undone, and a child of its own.

use tasuki_contract::common::v1::{CodeList, Date, fact::Value};
use tasuki_contract::identity::v1 as identity;
use tasuki_contract::intake::v1 as intake;
use tasuki_tests::fact;

use super::{MUNICIPALITY, Story, consent, day};
use crate::who_reads::{COORDINATOR, HOSPITAL, NURSE, WARD};

impl Story {
    pub(super) async fn identities(&mut self) {
        let first = self.described(COORDINATOR, "identity.first.message").await;
        let second = self.described(NURSE, "identity.waiting.message").await;
        let merge =
            identity::MergeCasesRequest { case_id: second.clone(), survivor_case_id: first, context: None };
        say!(self, WARD, identity, merge_cases, merge);
        let undo = identity::UnmergeCasesRequest { case_id: second, context: None };
        say!(self, WARD, identity, unmerge_cases, undo);
        let third = self.described(NURSE, "identity.delivered.message").await;
        let distinct = identity::ConfirmDistinctRequest { case_id: third, context: None };
        say!(self, WARD, identity, confirm_distinct, distinct);
    }

    /// A referral that opens a case, with a name that every one of them has.
    async fn described(&mut self, to: &str, what: &'static str) -> String {
        let care = CodeList { codes: vec!["suctioning".to_owned()] };
        let sent = say!(
            self,
            HOSPITAL,
            referrals,
            submit_referral,
            intake::SubmitReferralRequest {
                to_post_id: self.post(to),
                municipality_code: MUNICIPALITY.to_owned(),
                referral_purpose: "nicu_discharge".to_owned(),
                expected_discharge_on: day(60),
                sender_telephone: "00-0000-0000".to_owned(),
                message: self.mark(what),
                facts: vec![
                    fact("birth_date", Value::Date(Date { year: 2021, month: 11, day: 5 })),
                    fact("name_kana", Value::Text("テスト タロウ".to_owned())),
                    fact("care_procedures", Value::Codes(care)),
                ],
                consent_at_source: consent(),
                ..Default::default()
            }
        );
        self.told.cases.push(sent.case_id.clone());
        self.told.referrals.push(sent.referral_id);
        sent.case_id
    }
}
