//! Why a command is refused: the caller can act on it.
//!
//! A refusal names fields, codes and ids, never what a field holds. Its reason is stable: clients branch on it.

use std::fmt;

use crate::ids::CaseId;

/// One malformed field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Path of the field in the request, for example `facts[2].value`.
    pub field: String,
    /// Stable reason, one of the constants here.
    pub why: &'static str,
    /// Where what may be given stands, or the values themselves; empty where the reason says enough.
    pub see: String,
}

macro_rules! violations {
    ($($(#[$doc:meta])* $name:ident $en:literal $ja:literal;)*) => {
        impl Violation {
            $($(#[$doc])* pub const $name: &'static str = stringify!($name);)*

            /// Every reason with its text for people, in English and in Japanese.
            pub const TEXTS: &'static [(&'static str, &'static str, &'static str)] =
                &[$((Self::$name, $en, $ja),)*];
        }
    };
}

violations! {
    /// The field is required.
    MISSING "is required" "必須です";
    /// The field is no UUID.
    NOT_A_UUID "is not a UUID" "UUID ではありません";
    /// The text is longer than allowed.
    TOO_LONG "is longer than allowed" "長すぎます";
    /// More bytes than allowed, taken together.
    TOO_LARGE "holds more than a request may, taken together" "全体の容量が大きすぎます";
    /// More entries than allowed.
    TOO_MANY "has more entries than allowed" "件数が多すぎます";
    /// The code is not in its table.
    UNKNOWN_CODE "is none of the codes allowed here" "使えるコードではありません";
    /// No such dictionary key.
    UNKNOWN_KEY "is no key of the field dictionary, crates/domain/data/dictionary.json" "項目辞書 crates/domain/data/dictionary.json にないキーです";
    /// The same entry twice.
    DUPLICATE "is given twice" "重複しています";
    /// No such day, or a day that may not be.
    BAD_DATE "is no day that may stand here" "日付が正しくありません";
    /// Out of the allowed range.
    OUT_OF_RANGE "is out of range" "範囲外です";
    /// The value's kind is not the one that the dictionary names for the key.
    WRONG_KIND "is not of the kind that the dictionary names for the key" "項目辞書が定める種類の値ではありません";
    /// Must be empty here.
    NOT_ALLOWED "is not allowed here" "ここでは指定できません";
    /// A control character in a text, or one that turns the direction in which it is read.
    CONTROL_CHARACTER "holds a control character, or one that turns the reading direction" "制御文字または文字方向を変える文字が含まれています";
    /// No telephone number.
    BAD_TELEPHONE "is no telephone number: digits, + - ( ) and spaces, with an extension after ext. or x" "電話番号ではありません。数字と + - ( ) と空白、内線は「内線」か ext. に続けて入力してください";
    /// A full-width space in a name.
    IDEOGRAPHIC_SPACE "holds a full-width space" "全角の空白が含まれています";
    /// A reading that is not in full-width katakana.
    NOT_KATAKANA "is not in full-width katakana" "全角カタカナではありません";
    /// A line of a policy file that does not read, or that is wider than allowed.
    BAD_POLICY "is no line that a policy may have" "閲覧の決まりの行として正しくありません";
    /// A link in the place of a document.
    LINK_NOT_ALLOWED "is a link, and what lies behind one is beyond consent, withdrawal and erasure: attach the document, or give the number of the paper" "リンクは指定できません。リンク先には同意・撤回・消去が及ばないため、書類を添付するか、書類の番号を指定してください";
    /// No municipality's code, or a wrong check digit.
    BAD_MUNICIPALITY "is no six-digit code of a municipality" "6桁の自治体コードではありません";
}

impl Violation {
    /// A malformed field about which there is no more to say than the reason.
    pub fn new(field: impl Into<String>, why: &'static str) -> Self {
        Self { field: field.into(), why, see: String::new() }
    }

    /// For people and programs: the stable reason, a colon, the text in both languages, and where to look.
    pub fn describe(&self) -> String {
        let texts = Self::TEXTS.iter().find(|(code, ..)| *code == self.why).map(|(_, en, ja)| (*en, *ja));
        let of_reason = || Reason::ALL.iter().find(|r| r.code() == self.why).map(|r| (r.en(), r.ja()));
        let mut text = self.why.to_owned();
        if let Some((en, ja)) = texts.or_else(of_reason) {
            text.push_str(&format!(": {en} / {ja}"));
        }
        if !self.see.is_empty() {
            text.push_str(&format!(" ({})", self.see));
        }
        text
    }
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
    NotFound "NOT_FOUND" NotFound "not found; check the id, and for which post you act" "見つかりません。IDと、操作している窓口を確認してください";
    /// The etag is not the current one.
    StaleEtag "STALE_ETAG" Aborted "changed since you read it; read again" "読んだ後に変更されています。読み直してください";
    /// The thing is not in a state in which this may be done.
    WrongState "WRONG_STATE" Precondition "not possible in the present state; read again how it stands" "現在の状態ではできません。読み直して状況を確認してください";
    /// It was accepted already.
    AlreadyAccepted "ALREADY_ACCEPTED" Precondition "already accepted; read again how it stands" "すでに受け入れられています。読み直して状況を確認してください";
    /// The caller's post is not the one that may do this.
    NotYourPart "NOT_YOUR_PART" Denied "this is for another post to do: the one asked, the one that asked, the responsible post, or who called the meeting" "この操作は別の窓口が行います。依頼先・依頼元・主担当・会議の招集者のうち、担当する窓口で操作してください";
    /// Only an operator may do this.
    OperatorOnly "OPERATOR_ONLY" Denied "only an operator may do this; ask one" "運用者だけができる操作です。運用者に依頼してください";
    /// The post that is named does not exist.
    UnknownPost "UNKNOWN_POST" Precondition "the post is unknown; ListPosts names the posts" "その窓口は登録されていません。ListPosts で窓口を確認してください";
    /// The post that is named has been retired.
    PostRetired "POST_RETIRED" Precondition "the post has been retired; choose another, ListPosts names them" "その窓口は閉鎖されています。ListPosts で別の窓口を選んでください";
    /// The agency that is named does not exist.
    UnknownAgency "UNKNOWN_AGENCY" Precondition "the agency is unknown; ListPosts names each post with its agency" "その機関は登録されていません。ListPosts で機関を確認してください";
    /// The municipality has no rules yet.
    UnknownMunicipality "UNKNOWN_MUNICIPALITY" Precondition "the municipality is not configured; an operator has to do so first" "その自治体は設定されていません。先に運用者が設定する必要があります";
    /// The agency's kind may not be responsible for a case.
    MayNotLead "MAY_NOT_LEAD" Precondition "an agency of this kind cannot be responsible for a case; choose a post of a kind that may" "この種別の機関は主担当になれません。主担当になれる種別の窓口を選んでください";
    /// Only the referral that opened the case may be accepted as lead.
    NotTheOpeningReferral "NOT_THE_OPENING_REFERRAL" Precondition "only the referral that opened the case can be accepted as lead; accept without as_lead" "主担当として受けられるのはケースを開始した紹介だけです。主担当とせずに受け入れてください";
    /// The supporter is neither the sender nor the responsible post.
    SupporterHasNotAgreed "SUPPORTER_HAS_NOT_AGREED" Precondition "the supporting post has not agreed; name the sender or the responsible post" "支援する窓口の了解がありません。依頼元か主担当の窓口を指定してください";
    /// The post declined before, and no reason was given for asking again.
    DeclinedBefore "DECLINED_BEFORE" Precondition "the post declined before; say why it is asked again" "以前に辞退した窓口です。再度依頼する理由が必要です";
    /// A consent is needed.
    ConsentRequired "CONSENT_REQUIRED" Precondition "a consent is required; record it first" "同意が必要です。先に同意を記録してください";
    /// The consent does not cover the post.
    ConsentDoesNotCover "CONSENT_DOES_NOT_COVER" Precondition "the consent does not cover that post; record one that does first" "同意の対象にその窓口が含まれていません。その窓口を含む同意を先に記録してください";
    /// A hand-off of the case is under way.
    HandoffUnderWay "HANDOFF_UNDER_WAY" Precondition "a hand-off of this case is under way; complete or cancel it first" "このケースの引継ぎが進行中です。先に完了するか取りやめてください";
    /// The incoming post is responsible already.
    AlreadyLead "ALREADY_LEAD" Precondition "the post is responsible already; nothing is to be handed over" "すでに主担当です。引継ぎは要りません";
    /// Family, outgoing and incoming post have not yet met together.
    NoFullJointContact "NO_FULL_JOINT_CONTACT" Precondition "family and both posts have not yet met together; record a joint contact of all three first" "家族と双方の窓口がそろう面談がまだありません。先に三者での同行面談を記録してください";
    /// An open action has not been adopted.
    OpenActionsNotAdopted "OPEN_ACTIONS_NOT_ADOPTED" Precondition "every open action must be adopted; name them all in adopted_action_ids, or set adopt_all_open_actions" "未完了の担当事項をすべて引き継ぐ必要があります。adopted_action_ids にすべて指定するか、adopt_all_open_actions を指定してください";
    /// This side has confirmed already.
    AlreadyConfirmed "ALREADY_CONFIRMED" Precondition "already confirmed; nothing more is to do here" "すでに確認済みです。ほかの操作は要りません";
    /// The owner of an action stands outside the circle of the case.
    OwnerOutsideCircle "OWNER_OUTSIDE_CIRCLE" Precondition "the owner of the action does not take part in the case; choose one that does, or refer the case to it first" "担当する窓口がこのケースの支援の輪にいません。支援の輪にいる窓口を選ぶか、先に紹介してください";
    /// The post neither called the meeting nor was invited.
    NotInvited "NOT_INVITED" Precondition "the post was not invited; name only posts that were" "その窓口は招集されていません。招集した窓口だけを指定してください";
    /// The case was merged into another one.
    CaseMerged "CASE_MERGED" Precondition "the case was merged into another one of the same child; go on there" "このケースは同じ児童の別のケースに統合されています。統合先で操作してください";
    /// A person has yet to decide whether two cases are one child's.
    IdentityInDoubt "IDENTITY_IN_DOUBT" Precondition "it is not yet clear whether another case is about the same child; the municipality's intake post decides" "同じ児童の別のケースがないか確認中です。自治体の受付窓口の確認をお待ちください";
    /// A search is for intake alone.
    PurposeNotIntake "PURPOSE_NOT_INTAKE" Denied "a child is searched for on intake only; give intake in x-purpose" "児童の検索は受付の目的に限られます。x-purpose に intake を指定してください";
    /// It exists already.
    AlreadyExists "ALREADY_EXISTS" Precondition "it exists already; use another id, or change what is there" "すでに存在します。別のIDを使うか、登録済みのものを変更してください";
    /// It waits for the responsible post, since a consent on which it rested was taken back.
    OnHold "ON_HOLD" Precondition "on hold since a consent was withdrawn; the responsible post has to say whether it goes on" "同意の撤回により保留中です。主担当の窓口が続けるかどうかを判断する必要があります";
    /// The post is responsible for cases.
    PostHasCases "POST_HAS_CASES" Precondition "the post is still responsible for cases; hand them over first" "主担当のケースが残っています。先に引き継いでください";
    /// The case is erased, or is about to be.
    CaseErased "CASE_ERASED" Precondition "the case was erased; nothing more can be done with it" "このケースは消去されています。操作できません";
    /// The case must be kept: its retention has not ended.
    RetentionRuns "RETENTION_RUNS" Precondition "the case must still be kept; crates/domain/data/retention.json says for how long" "保存期間が終わっていません。期間は crates/domain/data/retention.json を確認してください";
    /// The case must be kept: a legal hold stands.
    LegalHold "LEGAL_HOLD" Precondition "a legal hold stands on the case; it has to be lifted first" "保全の措置がとられています。先に解除する必要があります";
    /// Something of the case went to somebody whom it was not meant for, and that is not settled.
    MisdirectionOpen "MISDIRECTION_OPEN" Precondition "a misdirected disclosure of this case is not settled; settle it first" "誤送付の対応が終わっていません。先に対応を終えてください";
    /// The same person proposes and confirms.
    SecondPersonRequired "SECOND_PERSON_REQUIRED" Denied "another operator has to confirm what one has proposed" "提案した人とは別の運用者が承認する必要があります";
    /// The post has added as many documents to the case as it may.
    TooManyAttachments "TOO_MANY_ATTACHMENTS" Precondition "your post has added as many documents to this case as it may; put several pages into one document" "この窓口からこのケースに添付できる書類の数を超えています。複数のページを一つの書類にまとめてください";
    /// A document is to be completed before all of it was put.
    ChunksMissing "CHUNKS_MISSING" Precondition "some chunks have not been put; put each index from 0 on, then complete again" "まだ送られていない部分があります。0番からすべて送ってから、もう一度完了してください";
    /// The bytes are not those whose digest was announced.
    DigestDiffers "DIGEST_DIFFERS" Precondition "the bytes are not those that were announced: their SHA-256 differs; nothing is kept, begin again" "送られた内容が予告と異なります (SHA-256 不一致)。保存していません。最初からやり直してください";
    /// The bytes are of another type than was announced.
    TypeDiffers "TYPE_DIFFERS" Precondition "the bytes are not of the type that was announced; nothing is kept, begin again with a PDF, JPEG, PNG or plain text" "送られた内容が指定された形式ではありません。保存していません。PDF・JPEG・PNG・テキストのいずれかで、最初からやり直してください";
}

/// A command that is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Fields are malformed; every one that was found.
    Invalid(Vec<Violation>),
    /// The request is well formed, but not possible.
    Reason(Reason),
    /// `CASE_MERGED`, with the case that goes on: only to members of the merged one.
    Merged(CaseId),
    /// `WRONG_STATE`, with the code of the present state: only to who may know that state.
    State(&'static str),
}

/// What the codes of states are called in Japanese.
const STATES: [(&str, &str); 29] = [
    ("on_hold", "本人確認待ち"),
    ("submitted", "送付済み"),
    ("acknowledged", "受領済み"),
    ("accepted", "受入済み"),
    ("needs_routing", "次の依頼先を探しています"),
    ("closed", "終了"),
    ("received", "受付済み"),
    ("answered", "回答済み"),
    ("guided", "案内済み"),
    ("case_open", "ケースになっています"),
    ("scheduled", "招集済み"),
    ("held", "開催済み"),
    ("drafted", "起案済み"),
    ("circulated", "回覧中"),
    ("confirmed", "確定済み"),
    ("proposed", "提案済み"),
    ("offered", "正式に依頼済み"),
    ("agreed", "内諾済み"),
    ("accompanied", "伴走中"),
    ("completed", "完了"),
    ("cancelled", "取りやめ"),
    ("draft", "準備中"),
    ("explained", "説明済み"),
    ("active", "有効"),
    ("grace", "猶予期間中"),
    ("expired", "期限切れ"),
    ("refused", "同意しないとの回答"),
    ("withdrawn", "撤回済み"),
    ("ended", "終了済み"),
];

/// What the code of a state is called in Japanese; the code itself where it has no name.
pub fn state_ja(code: &str) -> &str {
    STATES.iter().find(|(known, _)| *known == code).map_or(code, |(_, ja)| ja)
}

impl Refusal {
    /// One malformed field.
    pub fn invalid(field: impl Into<String>, why: &'static str) -> Self {
        Self::Invalid(vec![Violation::new(field, why)])
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
            Self::Merged(into) => write!(f, "{} ({into})", Reason::CaseMerged.en()),
            Self::State(code) => write!(f, "{} ({code})", Reason::WrongState.en()),
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
            self.0.push(Violation::new(field, why));
        }
    }

    /// As [`require`](Self::require), and says where what may be given stands.
    pub fn require_of(
        &mut self,
        ok: bool,
        field: impl Into<String>,
        why: &'static str,
        see: impl FnOnce() -> String,
    ) {
        if !ok {
            self.0.push(Violation { see: see(), ..Violation::new(field, why) });
        }
    }

    /// Notes a violation about which there is more to say than the reason.
    pub fn see(&mut self, field: impl Into<String>, why: &'static str, see: String) {
        self.require_of(false, field, why, || see);
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
                self.0.push(Violation::new("", reason.code()));
                None
            }
            Err(Refusal::Merged(_)) => {
                self.0.push(Violation::new("", Reason::CaseMerged.code()));
                None
            }
            Err(Refusal::State(_)) => {
                self.0.push(Violation::new("", Reason::WrongState.code()));
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
