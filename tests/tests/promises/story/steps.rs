//! A third case, in which consents take every step: prepared, signed, narrowed, renewed, refused, and all taken back.

use tasuki_contract::DataClass;
use tasuki_contract::common::v1::OnBehalf;
use tasuki_contract::consent::v1 as pb;
use tasuki_contract::event::v1::{Recipient, recipient::Who};

use super::{Story, Told, day};
use crate::who_reads::{HEALTH, HOSPITAL, OTHER_PROVIDER, SCHOOL, WARD};

impl Story {
    pub(super) async fn steps(&mut self, pause: &mut impl AsyncFnMut(&Told)) {
        let to = self.callers[OTHER_PROVIDER].post;
        let mut request = tasuki_tests::referral(to, "kita_C");
        (request.message, request.facts[2]) = (String::new(), request.facts[1].clone());
        request.facts.truncate(2);
        let sent = say!(self, HOSPITAL, referrals, submit_referral, request);
        self.told.cases.push(sent.case_id.clone());
        self.told.referrals.push(sent.referral_id.clone());
        let case = sent.case_id;

        let signed = self.prepared(&case, "steps.prepare").await;
        let explained = pb::ExplainConsentRequest {
            case_id: case.clone(),
            grant_id: signed.clone(),
            explainer: self.mark("steps.explainer"),
            explained_on: day(-1),
            childs_view: self.mark("steps.child"),
            ..Default::default()
        };
        say!(self, WARD, consents, explain_consent, explained);
        let said = OnBehalf {
            said_by: self.mark("steps.said_by"),
            said_on: day(-1),
            channel: "phone".to_owned(),
            ..Default::default()
        };
        let signature = pb::SignConsentRequest {
            case_id: case.clone(),
            grant_id: signed.clone(),
            signer_relation: "mother".to_owned(),
            consent_method: "verbal".to_owned(),
            signed_on: day(-1),
            evidence: self.mark("steps.evidence"),
            on_behalf: Some(said),
            ..Default::default()
        };
        say!(self, WARD, consents, sign_consent, signature);
        let narrower = pb::NarrowConsentRequest {
            case_id: case.clone(),
            grant_id: signed.clone(),
            classes: vec![DataClass::Support as i32],
            note: self.mark("steps.narrow"),
            ..Default::default()
        };
        say!(self, WARD, consents, narrow_consent, narrower);
        let longer = pb::RenewConsentRequest {
            case_id: case.clone(),
            grant_id: signed,
            signer_relation: "mother".to_owned(),
            consent_method: "paper".to_owned(),
            signed_on: day(0),
            grace: true,
            note: self.mark("steps.renew"),
            ..Default::default()
        };
        say!(self, WARD, consents, renew_consent, longer);
        let no = pb::RefuseConsentRequest {
            case_id: case.clone(),
            grant_id: self.prepared(&case, "steps.prepare2").await,
            signer_relation: "mother".to_owned(),
            note: self.mark("steps.refuse"),
            ..Default::default()
        };
        say!(self, WARD, consents, refuse_consent, no);
        self.by_law(&case).await;
        pause(&self.told).await;
        self.taken_back(&case, &sent.referral_id).await;
    }

    async fn prepared(&mut self, case: &str, what: &'static str) -> String {
        let request = pb::PrepareConsentRequest {
            case_id: case.to_owned(),
            recipients: vec![Recipient { who: Some(Who::PostId(self.post(SCHOOL))) }],
            classes: vec![DataClass::Identity as i32, DataClass::Support as i32],
            note: self.mark(what),
            ..Default::default()
        };
        say!(self, WARD, consents, prepare_consent, request).grant_id
    }

    async fn by_law(&mut self, case: &str) {
        let basis = pb::RecordLegalBasisRequest {
            case_id: case.to_owned(),
            share_basis: "law_based".to_owned(),
            recipients: vec![Recipient { who: Some(Who::PostId(self.post(HEALTH))) }],
            classes: vec![DataClass::Identity as i32],
            note: self.mark("steps.basis"),
            ..Default::default()
        };
        let basis_id = say!(self, WARD, consents, record_legal_basis, basis).basis_id;
        let note = self.mark("steps.basis_end");
        let end = pb::EndLegalBasisRequest { case_id: case.to_owned(), basis_id, note, ..Default::default() };
        say!(self, WARD, consents, end_legal_basis, end);
    }

    /// The signer changes, then all is taken back; the school takes note, the ward says that the referral goes on.
    async fn taken_back(&mut self, case: &str, referral: &str) {
        let changed = pb::ChangeSignerRequest {
            case_id: case.to_owned(),
            change_reason: pb::SignerChangeReason::Custody.into(),
            note: self.mark("steps.signer"),
            ..Default::default()
        };
        say!(self, WARD, consents, change_signer, changed);
        let withdrawn = pb::WithdrawConsentRequest {
            case_id: case.to_owned(),
            note: self.mark("steps.withdraw"),
            ..Default::default()
        };
        say!(self, WARD, consents, withdraw_consent, withdrawn);
        let list = pb::ListConsentsRequest { case_id: case.to_owned(), ..Default::default() };
        let listed = say!(self, SCHOOL, consents, list_consents, list).consents;
        let notice = listed.iter().flat_map(|consent| &consent.stop_notices).find(|n| !n.acknowledged);
        let noted = pb::AcknowledgeStopNoticeRequest {
            case_id: case.to_owned(),
            notice_id: notice.expect("a notice to the school").notice_id.clone(),
            note: self.mark("steps.noted"),
            ..Default::default()
        };
        say!(self, SCHOOL, consents, acknowledge_stop_notice, noted);
        let goes_on = pb::ResolveHoldRequest {
            case_id: case.to_owned(),
            item_id: referral.to_owned(),
            outcome: pb::HoldOutcome::GoesOn.into(),
            note: self.mark("steps.hold"),
            ..Default::default()
        };
        say!(self, WARD, consents, resolve_hold, goes_on);
    }
}
