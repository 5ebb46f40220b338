//! Why a command is refused: the caller can act on it.
//!
//! A refusal names fields, codes and ids, never what a field holds. Its reason is stable: clients branch on it.

use std::fmt;

/// One malformed field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Path of the field in the request, for example `facts[2].value`.
    pub field: String,
    /// Stable reason, one of the constants here or of the dictionary's field errors.
    pub why: &'static str,
}

impl Violation {
    /// The field is required.
    pub const MISSING: &'static str = "MISSING";
    /// The field is no UUID.
    pub const NOT_A_UUID: &'static str = "NOT_A_UUID";
    /// The text is longer than allowed.
    pub const TOO_LONG: &'static str = "TOO_LONG";
    /// More entries than allowed.
    pub const TOO_MANY: &'static str = "TOO_MANY";
    /// The code is not in its table.
    pub const UNKNOWN_CODE: &'static str = "UNKNOWN_CODE";
    /// No such dictionary key.
    pub const UNKNOWN_KEY: &'static str = "UNKNOWN_KEY";
    /// The same entry twice.
    pub const DUPLICATE: &'static str = "DUPLICATE";
    /// No such day, or a day that may not be.
    pub const BAD_DATE: &'static str = "BAD_DATE";
    /// Out of the allowed range.
    pub const OUT_OF_RANGE: &'static str = "OUT_OF_RANGE";
    /// The value's kind is not the one that the dictionary names for the key.
    pub const WRONG_KIND: &'static str = "WRONG_KIND";
    /// Must be empty here.
    pub const NOT_ALLOWED: &'static str = "NOT_ALLOWED";
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident $code:literal $kind:ident $en:literal $ja:literal;)*) => {
        /// A stable reason with a text for people in both languages.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Reason { $($(#[$doc])* $name,)* }

        impl Reason {
            /// Every reason, for documentation and tests.
            pub const ALL: &'static [Reason] = &[$(Self::$name,)*];
            /// The code that clients branch on.
            pub fn code(self) -> &'static str { match self { $(Self::$name => $code,)* } }
            /// How the caller should take it.
            pub fn kind(self) -> Kind { match self { $(Self::$name => Kind::$kind,)* } }
            /// For people, in English.
            pub fn en(self) -> &'static str { match self { $(Self::$name => $en,)* } }
            /// For people, in Japanese.
            pub fn ja(self) -> &'static str { match self { $(Self::$name => $ja,)* } }
        }
    };
}

/// How a refusal is to be taken; the service edge turns it into a gRPC status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Not now, in this state: change the state first.
    Precondition,
    /// Not by this caller.
    Denied,
    /// Unknown or foreign: the two answer alike.
    NotFound,
    /// Somebody else was faster: read again and decide again.
    Aborted,
}

reasons! {
    /// Unknown, or not the caller's to know of.
    NotFound "NOT_FOUND" NotFound "not found" "見つかりません";
    /// The etag is not the current one.
    StaleEtag "STALE_ETAG" Aborted "changed since you read it; read again" "読んだ後に変更されています。読み直してください";
    /// The thing is not in a state in which this may be done.
    WrongState "WRONG_STATE" Precondition "not possible in the present state" "現在の状態ではできません";
    /// It was accepted already.
    AlreadyAccepted "ALREADY_ACCEPTED" Precondition "already accepted" "すでに受け入れられています";
    /// The caller's post is not the one that may do this.
    NotYourPart "NOT_YOUR_PART" Denied "this is for another post to do" "この操作は別の窓口が行います";
    /// Only an operator may do this.
    OperatorOnly "OPERATOR_ONLY" Denied "only an operator may do this" "運用者だけができる操作です";
    /// The post that is named does not exist.
    UnknownPost "UNKNOWN_POST" Precondition "the post is unknown" "その窓口は登録されていません";
    /// The post that is named has been retired.
    PostRetired "POST_RETIRED" Precondition "the post has been retired" "その窓口は閉鎖されています";
    /// The agency that is named does not exist.
    UnknownAgency "UNKNOWN_AGENCY" Precondition "the agency is unknown" "その機関は登録されていません";
    /// The municipality has no rules yet.
    UnknownMunicipality "UNKNOWN_MUNICIPALITY" Precondition "the municipality is not configured" "その自治体は設定されていません";
    /// The agency's kind may not be responsible for a case.
    MayNotLead "MAY_NOT_LEAD" Precondition "an agency of this kind cannot be responsible for a case" "この種別の機関は主担当になれません";
    /// Only the referral that opened the case may be accepted as lead.
    NotTheOpeningReferral "NOT_THE_OPENING_REFERRAL" Precondition "only the referral that opened the case can be accepted as lead" "主担当として受けられるのはケースを開始した紹介だけです";
    /// The supporter is neither the sender nor the responsible post.
    SupporterHasNotAgreed "SUPPORTER_HAS_NOT_AGREED" Precondition "the supporting post has not agreed" "支援する窓口の了解がありません";
    /// The post declined before, and no reason was given for asking again.
    DeclinedBefore "DECLINED_BEFORE" Precondition "the post declined before; say why it is asked again" "以前に辞退した窓口です。再度依頼する理由が必要です";
    /// A consent is needed.
    ConsentRequired "CONSENT_REQUIRED" Precondition "a consent is required" "同意が必要です";
    /// The consent does not cover the post.
    ConsentDoesNotCover "CONSENT_DOES_NOT_COVER" Precondition "the consent does not cover that post" "同意の対象にその窓口が含まれていません";
    /// A hand-off of the case is under way.
    HandoffUnderWay "HANDOFF_UNDER_WAY" Precondition "a hand-off of this case is under way" "このケースの引継ぎが進行中です";
    /// The incoming post is responsible already.
    AlreadyLead "ALREADY_LEAD" Precondition "the post is responsible already" "すでに主担当です";
    /// Family, outgoing and incoming post have not yet met together.
    NoFullJointContact "NO_FULL_JOINT_CONTACT" Precondition "family and both posts have not yet met together" "家族と双方の窓口がそろう面談がまだありません";
    /// An open action has not been adopted.
    OpenActionsNotAdopted "OPEN_ACTIONS_NOT_ADOPTED" Precondition "every open action must be adopted" "未完了の担当事項をすべて引き継ぐ必要があります";
    /// This side has confirmed already.
    AlreadyConfirmed "ALREADY_CONFIRMED" Precondition "already confirmed" "すでに確認済みです";
    /// The owner of an action stands outside the circle of the case.
    OwnerOutsideCircle "OWNER_OUTSIDE_CIRCLE" Precondition "the owner of the action does not take part in the case" "担当者の窓口がこのケースに参加していません";
    /// The post neither called the meeting nor was invited.
    NotInvited "NOT_INVITED" Precondition "the post was not invited" "その窓口は招集されていません";
    /// It exists already.
    AlreadyExists "ALREADY_EXISTS" Precondition "it exists already" "すでに存在します";
    /// The post is responsible for cases.
    PostHasCases "POST_HAS_CASES" Precondition "the post is still responsible for cases" "主担当のケースが残っています";
}

/// A command that is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Fields are malformed; every one that was found.
    Invalid(Vec<Violation>),
    /// The request is well formed, but not possible.
    Reason(Reason),
}

impl Refusal {
    /// One malformed field.
    pub fn invalid(field: impl Into<String>, why: &'static str) -> Self {
        Self::Invalid(vec![Violation { field: field.into(), why }])
    }
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self::Reason(reason)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(all) => {
                f.write_str("invalid:")?;
                all.iter().try_for_each(|v| write!(f, " {} {}", v.field, v.why))
            }
            Self::Reason(reason) => f.write_str(reason.en()),
        }
    }
}

impl std::error::Error for Refusal {}

/// Collects every malformed field of a request before it is refused.
#[derive(Debug, Default)]
pub struct Checks(Vec<Violation>);

impl Checks {
    /// Notes the violation when `ok` is false.
    pub fn require(&mut self, ok: bool, field: impl Into<String>, why: &'static str) {
        if !ok {
            self.0.push(Violation { field: field.into(), why });
        }
    }

    /// Notes a refusal's violations and goes on without the value.
    pub fn take<T>(&mut self, result: Result<T, Refusal>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(Refusal::Invalid(all)) => {
                self.0.extend(all);
                None
            }
            Err(Refusal::Reason(reason)) => {
                self.0.push(Violation { field: String::new(), why: reason.code() });
                None
            }
        }
    }

    /// Refuses when anything was noted.
    pub fn done(self) -> Result<(), Refusal> {
        if self.0.is_empty() { Ok(()) } else { Err(Refusal::Invalid(self.0)) }
    }
}

#[cfg(test)]
#[path = "refusal_tests.rs"]
mod tests;
