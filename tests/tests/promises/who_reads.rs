//! Who may read what of the story, written down by hand from the field dictionary and the table of classes.
//!
//! Takes nothing from the program's own tables, so that a slip there shows. Each row names a piece of the story (see
//! `story.rs`), the posts that may read it to the end, and those that may read it only while it lies before them.

pub const HOSPITAL: &str = "hospital.discharge";
pub const COORDINATOR: &str = "coordinator.desk";
pub const WARD: &str = "ward-welfare.intake";
/// Of the ward's agency, in no circle; invited to the meeting.
pub const COUNCIL: &str = "ward-welfare.council";
pub const FAMILY: &str = "family-a.guardian";
pub const NURSE: &str = "nursing.station";
pub const PLANNER: &str = "planner1.desk";
/// Asked once; the referral is withdrawn.
pub const OTHER_PLANNER: &str = "planner2.desk";
pub const VENDOR: &str = "vendor.service";
pub const DISASTER: &str = "disaster.plan";
pub const SCHOOL: &str = "school.head";
/// Asked twice, declines twice.
pub const NURSERY: &str = "nursery.head";
/// Asked, declines.
pub const PROVIDER: &str = "provider1.desk";
/// Takes the referral up without any consent that names it.
pub const OTHER_PROVIDER: &str = "provider2.desk";
/// Leads the second case.
pub const HEALTH: &str = "health.nurse";
/// In nothing.
pub const OUTSIDER: &str = "homedoctor.clinic";

/// One piece of the story.
pub struct Row {
    pub what: &'static str,
    /// Who may read it to the end.
    pub now: &'static [&'static str],
    /// Who may read it only for a while: asked, and asked no more.
    pub once: &'static [&'static str],
}

const fn row(what: &'static str, now: &'static [&'static str], once: &'static [&'static str]) -> Row {
    Row { what, now, once }
}

/// Everybody with a consent in the first case.
const ALL: &[&str] = &[HOSPITAL, COORDINATOR, WARD, FAMILY, NURSE, PLANNER, VENDOR, DISASTER, SCHOOL];
/// Referral state: in full to the coordinator, the ward, 相談支援 and the family; others read their own part.
const STATE: &[&str] = &[COORDINATOR, WARD, FAMILY, PLANNER];
/// Hand-off: the same, and no part of anybody else's here.
const HANDOFF: &[&str] = STATE;
/// Consent: the coordinator, the ward, the family.
const CONSENT: &[&str] = &[COORDINATOR, WARD, FAMILY];
/// The meeting itself: who was invited.
const INVITED: &[&str] = &[WARD, PLANNER, NURSE, HOSPITAL, COUNCIL, HEALTH, OTHER_PROVIDER];
/// Who came.
const CAME: &[&str] = &[WARD, NURSE, COUNCIL, HEALTH];
/// Minutes on the first case: who came of its circle; the coordinator and 相談支援 read minutes in full.
const CASE_MINUTES: &[&str] = &[WARD, NURSE, COORDINATOR, PLANNER];
const SECOND_CASE: &[&str] = &[HEALTH, WARD];

pub const TABLE: &[Row] = &[
    // The referral that opens the first case, with what the hospital knows. What the hospital wrote it reads.
    row("opening.label", &[HOSPITAL, COORDINATOR, WARD, FAMILY, NURSE, PLANNER, DISASTER, SCHOOL], &[]),
    row("opening.message", &[HOSPITAL, COORDINATOR, WARD, FAMILY, PLANNER], &[]),
    row("opening.telephone", &[HOSPITAL, COORDINATOR, WARD, FAMILY, PLANNER], &[]),
    // The coordinator says otherwise later: safety depends on it, so the card keeps what both say.
    row("opening.care", &[HOSPITAL, COORDINATOR, WARD, FAMILY, NURSE, PLANNER, SCHOOL], &[]),
    // Identity.
    row("name_used", ALL, &[]),
    row("address_text", &[HOSPITAL, COORDINATOR, WARD, FAMILY, NURSE, PLANNER, DISASTER], &[]),
    row("phone_primary", &[HOSPITAL, COORDINATOR, WARD, FAMILY, NURSE, PLANNER], &[]),
    row("insurance_member_id", &[HOSPITAL, FAMILY, NURSE], &[]),
    row("guardians", &[HOSPITAL, COORDINATOR, WARD, FAMILY, NURSE, PLANNER, SCHOOL], &[]),
    // Support.
    row("siblings", &[HOSPITAL, COORDINATOR, WARD, FAMILY, PLANNER], &[]),
    row("caregivers_available", &[HOSPITAL, COORDINATOR, FAMILY, NURSE, PLANNER], &[]),
    row("burden_and_sleep", &[HOSPITAL, COORDINATOR, WARD, FAMILY, NURSE, PLANNER], &[]),
    row("communication", &[HOSPITAL, FAMILY, NURSE, SCHOOL], &[]),
    // The signer took this key out of the consent; a family reads about its own child without one.
    row("meals_sleep_toilet", &[HOSPITAL, FAMILY], &[]),
    row("support_circle", ALL, &[]),
    row("child_wish", ALL, &[]),
    row("family_wishes", &[HOSPITAL, COORDINATOR, WARD, FAMILY, PLANNER], &[]),
    // Restricted: a consent must name the post. It names the coordinator.
    row("parent_work", &[HOSPITAL, COORDINATOR], &[]),
    row("advance_directive", &[HOSPITAL], &[]),
    // Diagnosis.
    row("primary_diagnosis", &[HOSPITAL, COORDINATOR, WARD, FAMILY, NURSE, PLANNER], &[]),
    row("clinical_course", &[HOSPITAL, FAMILY, NURSE], &[]),
    row("infection", &[HOSPITAL, FAMILY, NURSE], &[]),
    // Instruction.
    row("doctor_instruction", &[HOSPITAL, WARD, FAMILY, NURSE, SCHOOL], &[]),
    // Care.
    row("devices", &[HOSPITAL, FAMILY, NURSE, VENDOR, DISASTER, SCHOOL], &[]),
    row("medications", &[HOSPITAL, FAMILY, NURSE, SCHOOL], &[]),
    row("allergies", &[HOSPITAL, FAMILY, NURSE, SCHOOL], &[]),
    row("emergency_call_order", &[HOSPITAL, COORDINATOR, FAMILY, NURSE, SCHOOL], &[]),
    row("power_dependency", &[HOSPITAL, COORDINATOR, FAMILY, NURSE, DISASTER], &[]),
    row("emergency_card", &[HOSPITAL, FAMILY], &[]),
    // The coordinator takes the case up.
    row("opening.acceptance", &[HOSPITAL, COORDINATOR, WARD, FAMILY, PLANNER], &[]),
    row("consent.note", CONSENT, &[]),
    row("consent.restricted.note", CONSENT, &[]),
    // Two documents: those who read all of a class read the bytes of it, the agency that added one reads it.
    row("paper.diagnosis.title", &[HOSPITAL, FAMILY, NURSE], &[]),
    row("paper.diagnosis", &[HOSPITAL, FAMILY, NURSE], &[]),
    row("paper.signed.title", CONSENT, &[]),
    row("paper.signed", CONSENT, &[]),
    // A referral goes round: nursery, provider, nursery, other provider.
    row("round.message", &[COORDINATOR, WARD, FAMILY, PLANNER, OTHER_PROVIDER], &[NURSERY, PROVIDER]),
    row("round.telephone", &[COORDINATOR, WARD, FAMILY, PLANNER, OTHER_PROVIDER], &[NURSERY, PROVIDER]),
    // All that a nursery learns of the child before it takes it up, and only since the consent covers nurseries.
    row("round.care", &[HOSPITAL, COORDINATOR, WARD, FAMILY, NURSE, PLANNER, SCHOOL], &[NURSERY]),
    row("nutrition", &[COORDINATOR, HOSPITAL, FAMILY, NURSE, SCHOOL], &[]),
    row("planned_move", &[COORDINATOR, HOSPITAL, WARD, FAMILY, PLANNER], &[]),
    row("round.decline1", &[NURSERY, COORDINATOR, WARD, FAMILY, PLANNER], &[]),
    row("round.reroute1", STATE, &[PROVIDER]),
    row("round.decline2", &[PROVIDER, COORDINATOR, WARD, FAMILY, PLANNER], &[]),
    row("round.reason_again", STATE, &[NURSERY]),
    row("round.reroute2", STATE, &[NURSERY]),
    row("round.decline3", &[NURSERY, COORDINATOR, WARD, FAMILY, PLANNER], &[]),
    row("round.reroute3", &[COORDINATOR, WARD, FAMILY, PLANNER, OTHER_PROVIDER], &[]),
    row("round.acceptance", &[COORDINATOR, WARD, FAMILY, PLANNER, OTHER_PROVIDER], &[]),
    // One is taken back.
    row("withdrawn.message", STATE, &[OTHER_PLANNER]),
    // Two hand-offs: one fails, one succeeds.
    row("handoff1.reason", HANDOFF, &[]),
    row("handoff1.summary", HANDOFF, &[]),
    row("handoff1.decline", HANDOFF, &[]),
    row("handoff2.reason", HANDOFF, &[]),
    row("handoff2.summary", HANDOFF, &[]),
    row("handoff2.absence", HANDOFF, &[]),
    row("handoff2.note1", HANDOFF, &[]),
    row("handoff2.note2", HANDOFF, &[]),
    // A consultation is its desk's own; what touches safety is nobody's in this version.
    row("call.caller", &[HEALTH], &[]),
    row("call.telephone", &[HEALTH], &[]),
    row("call.child", &[HEALTH], &[]),
    row("call.story", &[HEALTH], &[]),
    // What was told about the child goes into the case that follows, under the consent that the desk holds.
    row("call.fact", SECOND_CASE, &[]),
    row("call.sealed", &[], &[]),
    row("call.other.story", &[COORDINATOR], &[]),
    row("call.other.answer", &[COORDINATOR], &[]),
    row("call.guided.story", &[OTHER_PLANNER], &[]),
    row("call.guided.advice", &[OTHER_PLANNER], &[]),
    // The second case, opened by the health centre.
    row("second.label", SECOND_CASE, &[]),
    row("second.siblings", SECOND_CASE, &[]),
    row("second.birth_history", &[HEALTH], &[]),
    row("second.economic_situation", &[HEALTH], &[]),
    // The ward's meeting on both cases.
    row("meeting.place", INVITED, &[]),
    row("meeting.agenda", INVITED, &[]),
    row("meeting.first.agenda", &[WARD, PLANNER, NURSE, HOSPITAL, COORDINATOR, OTHER_PROVIDER], &[]),
    row("meeting.second.agenda", SECOND_CASE, &[]),
    row("meeting.section", CAME, &[]),
    // Beside a case there is no consent: what is a diagnosis stays with the agency that wrote it.
    row("meeting.section.diagnosis", &[WARD, COUNCIL], &[]),
    row("meeting.decision", CAME, &[]),
    row("meeting.basis", CAME, &[]),
    row("meeting.action", CAME, &[]),
    row("meeting.first.section", CASE_MINUTES, &[]),
    row("meeting.first.care", CASE_MINUTES, &[]),
    row("meeting.first.diagnosis", &[WARD, NURSE], &[]),
    row("meeting.first.restricted", &[WARD], &[]),
    row("meeting.first.protection", &[WARD], &[]),
    row("meeting.first.decision", CASE_MINUTES, &[]),
    row("meeting.first.basis", CASE_MINUTES, &[]),
    row("meeting.first.action", &[WARD, NURSE, COORDINATOR, PLANNER, SCHOOL], &[]),
    row("meeting.second.section", SECOND_CASE, &[]),
    // The third case: what is said about a consent stays with the ward that keeps it, and with who said it.
    row("steps.prepare", &[WARD], &[]),
    row("steps.explainer", &[WARD], &[]),
    row("steps.child", &[WARD], &[]),
    row("steps.said_by", &[WARD], &[]),
    row("steps.evidence", &[WARD], &[]),
    row("steps.narrow", &[WARD], &[]),
    row("steps.renew", &[WARD], &[]),
    row("steps.prepare2", &[WARD], &[]),
    row("steps.refuse", &[WARD], &[]),
    row("steps.basis", &[WARD], &[]),
    row("steps.basis_end", &[WARD], &[]),
    row("steps.signer", &[WARD], &[]),
    row("steps.withdraw", &[WARD], &[]),
    row("steps.noted", &[SCHOOL, WARD], &[]),
    row("steps.hold", &[WARD, HOSPITAL, OTHER_PROVIDER], &[]),
    // One child in three cases: the second waits, is merged and parted again, and never reaches whom it was meant for;
    // the third reaches it once the ward has said that it is another child's.
    row("identity.first.message", &[HOSPITAL, COORDINATOR, WARD], &[]),
    row("identity.waiting.message", &[HOSPITAL, WARD], &[]),
    row("identity.delivered.message", &[HOSPITAL, WARD, NURSE], &[]),
];
