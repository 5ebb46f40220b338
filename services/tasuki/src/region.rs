//! A region from a file: its municipality, agencies, posts and calendars, registered over gRPC like any other.
//!
//! Ids follow from the slugs and request ids from the content, so reading the same file again changes nothing.

use serde::Deserialize;
use tasuki_contract::directory::v1 as pb;
use tasuki_contract::directory::v1::directory_service_client::DirectoryServiceClient;
use tasuki_domain::ids::{AgencyId, PostId, derived};
use tonic::Request;
use tonic::transport::Channel;

use crate::Error;

/// The example region that comes with the program.
pub const EXAMPLE: &str = include_str!("../../../deploy/region.example.toml");

/// A region file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Region {
    /// Its municipality.
    pub municipality: Municipality,
    /// Its agencies.
    #[serde(rename = "agency")]
    pub agencies: Vec<Agency>,
}

/// The municipality whose rules hold.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Municipality {
    /// Six-digit code.
    pub code: String,
    /// `agency.post` of the intake post.
    pub intake: String,
    /// Kinds that may lead; empty: the default of the dictionary.
    #[serde(default)]
    pub kinds_that_may_lead: Vec<String>,
}

/// An agency.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agency {
    /// Short name, unique in the file.
    pub slug: String,
    /// Kind, a code of the dictionary, or `family`.
    pub kind: String,
    /// Name in Japanese.
    pub name_ja: String,
    /// Name in English.
    pub name_en: String,
    /// Short name in Japanese for narrow columns, at most 16 cells wide; left out: the name.
    #[serde(default)]
    pub short_ja: String,
    /// The same in English.
    #[serde(default)]
    pub short_en: String,
    /// Telephone of the office.
    #[serde(default)]
    pub telephone: String,
    /// Working days; left out: every weekday but national holidays.
    pub calendar: Option<Calendar>,
    /// Its posts.
    pub posts: Vec<Post>,
}

/// Working days and hours.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calendar {
    /// Open weekdays, 1 is Monday.
    pub weekdays: Vec<i32>,
    /// Opening time, `09:00`.
    pub opens: String,
    /// Closing time.
    pub closes: String,
}

/// A post.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Post {
    /// Short name, unique in the agency.
    pub slug: String,
    /// Label in Japanese.
    pub label_ja: String,
    /// Label in English.
    pub label_en: String,
}

impl Region {
    /// Reads the text of a region file.
    pub fn parse(text: &str) -> Result<Self, Error> {
        Ok(toml::from_str(text).map_err(|e| format!("region file: {e}"))?)
    }

    /// Every post as `agency.post`, with its ids.
    pub fn posts(&self) -> impl Iterator<Item = (String, AgencyId, PostId)> + '_ {
        self.agencies.iter().flat_map(|a| {
            a.posts.iter().map(|p| {
                let slug = format!("{}.{}", a.slug, p.slug);
                let post = post_id(&slug);
                (slug, agency_id(&a.slug), post)
            })
        })
    }

    /// Registers everything in it; what is there already answers as it did.
    pub async fn register(&self, channel: Channel, operator_token: &str) -> Result<(), Error> {
        let mut client = DirectoryServiceClient::new(channel);
        for agency in &self.agencies {
            let id = agency_id(&agency.slug).to_string();
            let register = pb::RegisterAgencyRequest {
                context: None,
                agency_id: id.clone(),
                kind: agency.kind.clone(),
                name_ja: agency.name_ja.clone(),
                name_en: agency.name_en.clone(),
                municipality_code: self.municipality.code.clone(),
                telephone: agency.telephone.clone(),
            };
            client.register_agency(authorised(register, operator_token)?).await?;
            if let Some(calendar) = &agency.calendar {
                let set = pb::SetCalendarRequest {
                    context: None,
                    agency_id: id.clone(),
                    calendar: Some(calendar.to_proto()?),
                };
                client.set_calendar(authorised(set, operator_token)?).await?;
            }
            for post in &agency.posts {
                let post_id = post_id(&format!("{}.{}", agency.slug, post.slug));
                let create = pb::CreatePostRequest {
                    context: None,
                    post_id: post_id.to_string(),
                    agency_id: id.clone(),
                    label_ja: post.label_ja.clone(),
                    label_en: post.label_en.clone(),
                    holder_subjects: vec![holder_of(post_id)],
                };
                client.create_post(authorised(create, operator_token)?).await?;
            }
        }
        let configure = pb::ConfigureMunicipalityRequest {
            context: None,
            municipality_code: self.municipality.code.clone(),
            intake_post_id: post_id(&self.municipality.intake).to_string(),
            kinds_that_may_lead: self.municipality.kinds_that_may_lead.clone(),
        };
        client.configure_municipality(authorised(configure, operator_token)?).await?;
        Ok(())
    }
}

impl Calendar {
    fn to_proto(&self) -> Result<pb::Calendar, Error> {
        Ok(pb::Calendar {
            open_weekdays: self.weekdays.clone(),
            opens_min: minutes(&self.opens)?,
            closes_min: minutes(&self.closes)?,
            closed_on_national_holidays: true,
            closed_yearly: vec!["12-29/01-03".to_owned()],
        })
    }
}

/// The id of an agency of a region file.
pub fn agency_id(slug: &str) -> AgencyId {
    AgencyId(derived(&["region agency", slug]))
}

/// The id of a post of a region file, from `agency.post`.
pub fn post_id(slug: &str) -> PostId {
    PostId(derived(&["region post", slug]))
}

/// The subject that holds a post of a region file.
pub fn holder_of(post: PostId) -> String {
    format!("holder:{post}")
}

fn minutes(text: &str) -> Result<i32, Error> {
    let parsed =
        text.split_once(':').and_then(|(h, m)| Some(h.parse::<i32>().ok()? * 60 + m.parse::<i32>().ok()?));
    parsed
        .filter(|m| (0..=1_440).contains(m))
        .ok_or_else(|| format!("region file: no time of day: {text}").into())
}

fn authorised<M: prost::Message>(message: M, token: &str) -> Result<Request<M>, Error> {
    // The request id follows from the content, so that a second start replays instead of registering twice.
    let id = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, &message.encode_to_vec());
    let mut request = Request::new(message);
    let metadata = request.metadata_mut();
    metadata.insert("authorization", format!("Bearer {token}").parse()?);
    metadata.insert("x-purpose", "administration".parse()?);
    metadata.insert("x-request-id", format!("region-{id}").parse()?);
    Ok(request)
}
