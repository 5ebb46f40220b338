//! The view `posts`: agency and kind of each post, from the directory's events.
//!
//! The fold asks it as whom a post reads; the projector, whom to tell. Names, telephones and holders are not here.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};

use tasuki_domain::ids::{AgencyId, PostId};
use tasuki_domain::policy::InForce;
use tasuki_domain::purpose::Purpose;
use tasuki_privacy::Viewer;
use tokio_postgres::{Client, Statement};
use uuid::Uuid;

use crate::copy::CopyBuffer;
use crate::entry::DirectoryNews;
use crate::error::ViewError;
use crate::policies::Policies;
use crate::schema::Table;

pub(crate) static TABLE: Table = Table {
    name: "posts",
    columns: "post_id uuid NOT NULL, agency_id uuid NOT NULL, agency_kind text NOT NULL, \
              municipality text NOT NULL, changed_position bigint NOT NULL",
    keys: &["ALTER TABLE $s.posts ADD PRIMARY KEY (post_id)"],
    order: "post_id",
};

pub(crate) static AGENCIES: Table = Table {
    name: "agencies",
    columns: "agency_id uuid NOT NULL, kind text NOT NULL, municipality text NOT NULL",
    keys: &["ALTER TABLE $s.agencies ADD PRIMARY KEY (agency_id)"],
    order: "agency_id",
};

pub(crate) const UPSERT: &str = "INSERT INTO $s.posts (post_id, agency_id, agency_kind, municipality, changed_position) \
     SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::int8[]) \
     ON CONFLICT (post_id) DO UPDATE SET agency_id = excluded.agency_id, agency_kind = excluded.agency_kind, \
         municipality = excluded.municipality, changed_position = excluded.changed_position";

pub(crate) const UPSERT_AGENCIES: &str = "INSERT INTO $s.agencies (agency_id, kind, municipality) \
     SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[]) \
     ON CONFLICT (agency_id) DO UPDATE SET kind = excluded.kind, municipality = excluded.municipality";

pub(crate) const LOAD: &str =
    "SELECT post_id, agency_id, agency_kind, municipality, changed_position FROM $s.posts";
pub(crate) const LOAD_AGENCIES: &str = "SELECT agency_id, kind, municipality FROM $s.agencies";

/// All posts and agencies; some thousands in a prefecture.
#[derive(Debug, Default)]
pub(crate) struct Posts {
    posts: HashMap<PostId, Post>,
    agencies: HashMap<AgencyId, Agency>,
    pub policies: Policies,
    /// Where in the log some post last began to read as somebody else.
    changed: u64,
}

/// An agency of the directory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Agency {
    pub kind: String,
    pub municipality: String,
}

/// A post of the directory.
#[derive(Debug)]
pub(crate) struct Post {
    pub viewer: Viewer,
    /// Where its agency works.
    pub municipality: String,
    /// Where in the log it began to read as this.
    pub changed: u64,
}

impl Posts {
    pub(crate) fn stored(posts: Vec<Post>, agencies: Vec<(AgencyId, Agency)>, policies: Policies) -> Self {
        let changed = posts.iter().map(|post| post.changed).max().unwrap_or(0);
        let posts = posts.into_iter().map(|post| (post.viewer.post, post)).collect();
        Self { posts, agencies: agencies.into_iter().collect(), policies, changed }
    }

    /// Whether one of the posts began to read as somebody else behind the position, or under another policy.
    pub(crate) fn any_changed<'a>(
        &self,
        municipality: &str,
        posts: impl IntoIterator<Item = &'a PostId>,
        position: u64,
    ) -> bool {
        let policies = &self.policies;
        if self.changed.max(policies.changed()) <= position {
            return false;
        }
        let changed = |post: &PostId| {
            self.posts.get(post).is_some_and(|post| {
                post.changed > position || policies.changed_since(&post.municipality, position)
            })
        };
        policies.changed_since(municipality, position) || posts.into_iter().any(changed)
    }

    /// The policies under which a post reads a case of the municipality.
    pub(crate) fn rules(&self, municipality: &str, post: PostId) -> InForce {
        let own = self.posts.get(&post).map(|post| post.municipality.as_str());
        self.policies.in_force(municipality, own.filter(|own| *own != municipality))
    }

    /// As whom the post reads. A post that the directory does not know reads its own parts only.
    pub(crate) fn viewer(&self, post: PostId) -> Cow<'_, Viewer> {
        match self.posts.get(&post) {
            Some(post) => Cow::Borrowed(&post.viewer),
            None => Cow::Owned(Viewer {
                post,
                agency: AgencyId(Uuid::nil()),
                kind: String::new(),
                purpose: Purpose::Any,
            }),
        }
    }

    /// The agency of a post that the directory knows.
    pub(crate) fn agency(&self, post: PostId) -> Option<AgencyId> {
        self.posts.get(&post).map(|post| post.viewer.agency)
    }

    /// Folds what the directory tells; notes what it changed.
    pub(crate) fn apply(&mut self, position: u64, news: &DirectoryNews, changed: &mut Changed) {
        match news {
            DirectoryNews::Agency { agency, kind, municipality } => {
                let new = Agency { kind: kind.clone(), municipality: municipality.clone() };
                self.agencies.insert(*agency, new);
                changed.agencies.insert(*agency);
                for post in self.posts.values_mut().filter(|post| post.viewer.agency == *agency) {
                    post.viewer.kind.clone_from(kind);
                    post.municipality.clone_from(municipality);
                    post.changed = position;
                    self.changed = position;
                    changed.posts.insert(post.viewer.post);
                }
            }
            DirectoryNews::Post { post, agency } => {
                let Agency { kind, municipality } = self.agencies.get(agency).cloned().unwrap_or_default();
                let viewer = Viewer { post: *post, agency: *agency, kind, purpose: Purpose::Any };
                self.posts.insert(*post, Post { viewer, municipality, changed: position });
                self.changed = position;
                changed.posts.insert(*post);
            }
            DirectoryNews::Policy { municipality, text } => {
                self.policies.adopt(municipality, text, position);
                changed.policies.insert(municipality.clone());
            }
        }
    }

    pub(crate) fn copy(&self, posts: &mut CopyBuffer, agencies: &mut CopyBuffer) {
        for Post { viewer, municipality, changed } in self.posts.values() {
            posts.row(5).uuid(viewer.post.0).uuid(viewer.agency.0).bytes(viewer.kind.as_bytes());
            posts.bytes(municipality.as_bytes()).int8(*changed as i64);
        }
        for (id, Agency { kind, municipality }) in &self.agencies {
            agencies.row(3).uuid(id.0).bytes(kind.as_bytes()).bytes(municipality.as_bytes());
        }
    }

    pub(crate) async fn write(
        &self,
        client: &Client,
        statements: &Statements,
        changed: &Changed,
    ) -> Result<(), ViewError> {
        let rows: Vec<&Post> = changed.posts.iter().filter_map(|post| self.posts.get(post)).collect();
        if !rows.is_empty() {
            let posts: Vec<Uuid> = rows.iter().map(|p| p.viewer.post.0).collect();
            let agencies: Vec<Uuid> = rows.iter().map(|p| p.viewer.agency.0).collect();
            let kinds: Vec<&str> = rows.iter().map(|p| p.viewer.kind.as_str()).collect();
            let municipalities: Vec<&str> = rows.iter().map(|p| p.municipality.as_str()).collect();
            let positions: Vec<i64> = rows.iter().map(|p| p.changed as i64).collect();
            client
                .execute(&statements.posts, &[&posts, &agencies, &kinds, &municipalities, &positions])
                .await?;
        }
        let rows: Vec<_> =
            changed.agencies.iter().filter_map(|a| Some((a.0, self.agencies.get(a)?))).collect();
        if !rows.is_empty() {
            let agencies: Vec<Uuid> = rows.iter().map(|(agency, _)| *agency).collect();
            let kinds: Vec<&str> = rows.iter().map(|(_, agency)| agency.kind.as_str()).collect();
            let municipalities: Vec<&str> =
                rows.iter().map(|(_, agency)| agency.municipality.as_str()).collect();
            client.execute(&statements.agencies, &[&agencies, &kinds, &municipalities]).await?;
        }
        self.policies.write(client, &statements.policies, &changed.policies).await
    }
}

/// What a batch changed.
#[derive(Debug, Default)]
pub(crate) struct Changed {
    pub posts: BTreeSet<PostId>,
    pub agencies: BTreeSet<AgencyId>,
    pub policies: BTreeSet<String>,
}

/// Prepared for one schema.
pub(crate) struct Statements {
    pub posts: Statement,
    pub agencies: Statement,
    pub policies: Statement,
}
