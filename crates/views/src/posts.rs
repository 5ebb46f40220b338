//! The view `posts`: agency and kind of each post, from the directory's events.
//!
//! The fold asks it as whom a post reads; the projector, whom to tell. Names, telephones and holders are not here.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};

use tasuki_domain::ids::{AgencyId, PostId};
use tasuki_privacy::Viewer;
use tokio_postgres::{Client, Statement};
use uuid::Uuid;

use crate::copy::CopyBuffer;
use crate::entry::DirectoryNews;
use crate::error::ViewError;
use crate::schema::Table;

pub(crate) static TABLE: Table = Table {
    name: "posts",
    columns: "post_id uuid NOT NULL, agency_id uuid NOT NULL, agency_kind text NOT NULL",
    keys: &["ALTER TABLE $s.posts ADD PRIMARY KEY (post_id)"],
    order: "post_id",
};

pub(crate) static AGENCIES: Table = Table {
    name: "agencies",
    columns: "agency_id uuid NOT NULL, kind text NOT NULL",
    keys: &["ALTER TABLE $s.agencies ADD PRIMARY KEY (agency_id)"],
    order: "agency_id",
};

pub(crate) const UPSERT: &str = "INSERT INTO $s.posts (post_id, agency_id, agency_kind) SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[]) \
     ON CONFLICT (post_id) DO UPDATE SET agency_id = excluded.agency_id, agency_kind = excluded.agency_kind";

pub(crate) const UPSERT_AGENCIES: &str = "INSERT INTO $s.agencies (agency_id, kind) SELECT * FROM unnest($1::uuid[], $2::text[]) \
     ON CONFLICT (agency_id) DO UPDATE SET kind = excluded.kind";

pub(crate) const LOAD: &str = "SELECT post_id, agency_id, agency_kind FROM $s.posts";
pub(crate) const LOAD_AGENCIES: &str = "SELECT agency_id, kind FROM $s.agencies";

/// All posts and agencies; some thousands in a prefecture.
#[derive(Debug, Default)]
pub(crate) struct Posts {
    posts: HashMap<PostId, Viewer>,
    kinds: HashMap<AgencyId, String>,
}

impl Posts {
    pub(crate) fn stored(posts: Vec<Viewer>, kinds: Vec<(AgencyId, String)>) -> Self {
        let posts = posts.into_iter().map(|viewer| (viewer.post, viewer)).collect();
        Self { posts, kinds: kinds.into_iter().collect() }
    }

    /// As whom the post reads. A post that the directory does not know reads its own parts only.
    pub(crate) fn viewer(&self, post: PostId) -> Cow<'_, Viewer> {
        match self.posts.get(&post) {
            Some(viewer) => Cow::Borrowed(viewer),
            None => Cow::Owned(Viewer { post, agency: AgencyId(Uuid::nil()), kind: String::new() }),
        }
    }

    /// The agency of a post that the directory knows.
    pub(crate) fn agency(&self, post: PostId) -> Option<AgencyId> {
        self.posts.get(&post).map(|viewer| viewer.agency)
    }

    /// Folds what the directory tells; notes what it changed.
    pub(crate) fn apply(&mut self, news: &DirectoryNews, changed: &mut Changed) {
        match news {
            DirectoryNews::Agency { agency, kind } => {
                self.kinds.insert(*agency, kind.clone());
                changed.agencies.insert(*agency);
                for viewer in self.posts.values_mut().filter(|viewer| viewer.agency == *agency) {
                    viewer.kind.clone_from(kind);
                    changed.posts.insert(viewer.post);
                }
            }
            DirectoryNews::Post { post, agency } => {
                let kind = self.kinds.get(agency).cloned().unwrap_or_default();
                self.posts.insert(*post, Viewer { post: *post, agency: *agency, kind });
                changed.posts.insert(*post);
            }
        }
    }

    pub(crate) fn copy(&self, posts: &mut CopyBuffer, agencies: &mut CopyBuffer) {
        for viewer in self.posts.values() {
            posts.row(3).uuid(viewer.post.0).uuid(viewer.agency.0).bytes(viewer.kind.as_bytes());
        }
        for (agency, kind) in &self.kinds {
            agencies.row(2).uuid(agency.0).bytes(kind.as_bytes());
        }
    }

    pub(crate) async fn write(
        &self,
        client: &Client,
        statements: &Statements,
        changed: &Changed,
    ) -> Result<(), ViewError> {
        let rows: Vec<&Viewer> = changed.posts.iter().filter_map(|post| self.posts.get(post)).collect();
        if !rows.is_empty() {
            let posts: Vec<Uuid> = rows.iter().map(|v| v.post.0).collect();
            let agencies: Vec<Uuid> = rows.iter().map(|v| v.agency.0).collect();
            let kinds: Vec<&str> = rows.iter().map(|v| v.kind.as_str()).collect();
            client.execute(&statements.posts, &[&posts, &agencies, &kinds]).await?;
        }
        let rows: Vec<_> = changed.agencies.iter().filter_map(|a| Some((a.0, self.kinds.get(a)?))).collect();
        if !rows.is_empty() {
            let agencies: Vec<Uuid> = rows.iter().map(|(agency, _)| *agency).collect();
            let kinds: Vec<&str> = rows.iter().map(|(_, kind)| kind.as_str()).collect();
            client.execute(&statements.agencies, &[&agencies, &kinds]).await?;
        }
        Ok(())
    }
}

/// What a batch changed.
#[derive(Debug, Default)]
pub(crate) struct Changed {
    pub posts: BTreeSet<PostId>,
    pub agencies: BTreeSet<AgencyId>,
}

/// Prepared for one schema.
pub(crate) struct Statements {
    pub posts: Statement,
    pub agencies: Statement,
}
