//! The desks of the example region: how they are called, and tokens to act for them.

use std::collections::BTreeMap;

use tasuki_auth::DevIssuer;
use tasuki_domain::codes::Lang;
use tasuki_domain::visibility::{ReaderGroup, reader_group};
use tonic::Request;

use crate::region::{Region, agency_id, post_id};
use crate::{Error, token};

/// Longer than any demonstration.
const LIFETIME_S: i64 = 3_600;

/// A desk.
#[derive(Clone)]
pub struct Desk {
    /// `agency.post`.
    pub slug: String,
    /// Its id.
    pub post_id: String,
    /// Name of its agency.
    pub agency: String,
    /// Name of its agency where there is little room.
    pub office: String,
    /// What the post is called.
    pub label: String,
    /// What kind of office it is, in a word or two.
    pub kind: String,
    /// The group as which it reads.
    pub group: Option<ReaderGroup>,
    token: String,
}

/// All desks of the region, in one language.
pub struct Desks {
    /// The language.
    pub lang: Lang,
    by_id: BTreeMap<String, Desk>,
}

impl Desks {
    /// Reads the region and makes a token for every post.
    pub fn new(region: Region, issuer: &DevIssuer, lang: Lang) -> Result<Self, Error> {
        let mut by_id = BTreeMap::new();
        for agency in &region.agencies {
            for post in &agency.posts {
                let slug = format!("{}.{}", agency.slug, post.slug);
                let id = post_id(&slug);
                let token = token::for_post(issuer, agency_id(&agency.slug), id, LIFETIME_S)?;
                let pick = |ja: &String, en: &String| if lang == Lang::Ja { ja.clone() } else { en.clone() };
                let group = reader_group(&agency.kind);
                let (name, label) =
                    (pick(&agency.name_ja, &agency.name_en), pick(&post.label_ja, &post.label_en));
                let short = Some(pick(&agency.short_ja, &agency.short_en)).filter(|short| !short.is_empty());
                let desk = Desk {
                    slug,
                    post_id: id.to_string(),
                    office: short.unwrap_or_else(|| name.clone()),
                    agency: name,
                    label,
                    kind: group.map_or_else(|| agency.kind.clone(), |group| group.label(lang).to_owned()),
                    group,
                    token,
                };
                by_id.insert(desk.post_id.clone(), desk);
            }
        }
        Ok(Self { lang, by_id })
    }

    /// The desk of that slug.
    pub fn named(&self, slug: &str) -> Result<&Desk, Error> {
        self.by_id
            .values()
            .find(|d| d.slug == slug)
            .ok_or_else(|| format!("no post {slug} in the region").into())
    }

    /// The desk of that id.
    pub fn of(&self, post_id: &str) -> Option<&Desk> {
        self.by_id.get(post_id)
    }

    /// What a post is called in brief: its agency, and itself where the agency has several posts.
    pub fn brief(&self, post_id: &str) -> String {
        let Some(desk) = self.of(post_id) else { return post_id.to_owned() };
        let posts = self.by_id.values().filter(|other| other.agency == desk.agency).count();
        if posts > 1 { format!("{} {}", desk.office, desk.label) } else { desk.office.clone() }
    }

    /// What a post is called in full: agency and post.
    pub fn name(&self, post_id: &str) -> String {
        self.of(post_id).map_or_else(|| post_id.to_owned(), |d| format!("{} {}", d.agency, d.label))
    }
}

impl Desk {
    /// The message as a request of this desk.
    pub fn request<M>(&self, message: M, purpose: &str) -> Result<Request<M>, Error> {
        let mut request = Request::new(message);
        let metadata = request.metadata_mut();
        metadata.insert("authorization", format!("Bearer {}", self.token).parse()?);
        metadata.insert("x-purpose", purpose.parse()?);
        metadata.insert("x-request-id", uuid::Uuid::now_v7().to_string().parse()?);
        Ok(request)
    }
}
