//! Who takes part: agencies that all bundles share, and posts of each bundle's own, so that bundles never meet.

use tasuki_contract::directory::v1 as pb;
use tasuki_domain::decision::{Actor, Decided, Kind, StreamRef};
use tasuki_domain::effects::Doing;
use tasuki_domain::ids::{AgencyId, PostId, derived, municipality_stream};
use tasuki_domain::purpose::Purpose;
use tasuki_privacy::Viewer;
use uuid::Uuid;

use crate::history::Step;

/// For which everybody asks.
const PURPOSE: &str = "care_coordination";

pub const MUNICIPALITY: &str = "131172";

/// The kinds of a bundle's posts; a family is an agency of its own.
pub const KINDS: [&str; 10] = [
    "hospital",
    "mcc_coordinator_office",
    "consultation_support_office",
    "visiting_nurse_station",
    "nursery",
    "special_needs_school",
    "public_health_center",
    "family",
    "child_dev_support_provider",
    "mcc_support_center",
];
/// Places in [`KINDS`] of those who may lead or send.
pub const HOSPITAL: usize = 0;
pub const FAMILY: usize = 7;

const WARD_KIND: &str = "municipal_disability_welfare";

/// The ward's intake post: everybody's fallback, so it is in every bundle and no viewer.
pub fn ward() -> Viewer {
    Viewer {
        post: PostId(derived(&["pairs", "ward", "post"])),
        agency: AgencyId(derived(&["pairs", "ward", "agency"])),
        kind: WARD_KIND.to_owned(),
        purpose: Purpose::of(PURPOSE),
    }
}

/// The post in a place of a bundle.
pub fn person(bundle: usize, place: usize) -> Viewer {
    let kind = KINDS[place];
    let own = if place == FAMILY { bundle.to_string() } else { String::new() };
    Viewer {
        post: PostId(derived(&["pairs", "post", &bundle.to_string(), kind])),
        agency: AgencyId(derived(&["pairs", "agency", kind, &own])),
        kind: kind.to_owned(),
        purpose: Purpose::of(PURPOSE),
    }
}

pub fn actor(viewer: &Viewer) -> Actor {
    Actor { agency: viewer.agency, post: viewer.post, operator: false }
}

/// Registers everybody; the same in both worlds.
pub fn directory(bundles: usize) -> Vec<Step> {
    let operator = Actor { agency: AgencyId(Uuid::nil()), post: PostId(Uuid::nil()), operator: true };
    let mut steps = Vec::new();
    let mut tell = |kind, id: Uuid, event: tasuki_contract::Event| {
        let decided: Decided = Doing::outside_cases().by(StreamRef { kind, id }, event);
        let id = derived(&["pairs", "directory", &steps.len().to_string()]);
        steps.push(Step { actor: operator, decided, id, at_us: crate::history::BEGIN_US, command: 0 });
    };
    let mut agencies = std::collections::BTreeSet::new();
    let everybody = (0..bundles).flat_map(|b| (0..KINDS.len()).map(move |place| person(b, place)));
    for viewer in everybody.chain([ward()]) {
        if agencies.insert(viewer.agency) {
            let registered = pb::AgencyRegistered {
                agency_id: viewer.agency.into(),
                kind: viewer.kind.clone(),
                name_ja: format!("例示 {}", viewer.kind),
                name_en: format!("Example {}", viewer.kind),
                municipality_code: MUNICIPALITY.to_owned(),
                telephone: String::new(),
            };
            tell(Kind::Agency, viewer.agency.0, registered.into());
        }
        let created = pb::PostCreated {
            post_id: viewer.post.into(),
            agency_id: viewer.agency.into(),
            label_ja: "例示窓口".to_owned(),
            label_en: "Example desk".to_owned(),
        };
        tell(Kind::Post, viewer.post.0, created.into());
        let holder_subjects = vec![tasuki::region::holder_of(viewer.post)];
        let held = pb::PostHolderChanged { post_id: viewer.post.into(), holder_subjects };
        tell(Kind::Post, viewer.post.0, held.into());
    }
    let municipality = municipality_stream(MUNICIPALITY);
    let configured = pb::MunicipalityConfigured {
        municipality_id: municipality.to_string(),
        municipality_code: MUNICIPALITY.to_owned(),
        intake_post_id: ward().post.into(),
        kinds_that_may_lead: tasuki_domain::visibility::kinds_that_may_lead().to_vec(),
    };
    tell(Kind::Municipality, municipality, configured.into());
    steps
}
