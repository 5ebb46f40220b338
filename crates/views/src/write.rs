//! One batch into one generation of the views: rows and cursor in one short transaction, under the fence.

use futures::{FutureExt as _, TryFutureExt as _};
use tokio_postgres::{Client, Statement};

use crate::changes::Changes;
use crate::error::ViewError;
use crate::fold::Fold;
use crate::schema::in_schema;
use crate::{caseload, duties, feed, items, policies, posts, state};

/// Moves the cursor, if it is still where this writer left it and nobody has raised the fence since.
const ADVANCE: &str = "UPDATE $s.cursor SET position = $1, epoch = $2 WHERE position = $3 AND fence = $4";

/// Where a generation stands, and under which fence this writer may write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub position: u64,
    pub epoch: u64,
    pub fence: i64,
}

/// Everything prepared for one schema.
pub(crate) struct Statements {
    advance: Statement,
    feed: Statement,
    caseload: caseload::Statements,
    duties: duties::Statements,
    items: items::Statements,
    posts: posts::Statements,
    state: state::Statements,
}

impl Statements {
    pub(crate) async fn prepare(client: &Client, number: i64) -> Result<Self, ViewError> {
        let prepare = async |sql: &str| client.prepare(&in_schema(sql, number)).await;
        Ok(Self {
            advance: prepare(ADVANCE).await?,
            feed: prepare(feed::INSERT).await?,
            caseload: caseload::Statements {
                upsert: prepare(caseload::UPSERT).await?,
                delete: prepare(caseload::DELETE).await?,
                cases: prepare(caseload::UPSERT_CASES).await?,
            },
            duties: duties::Statements {
                upsert: prepare(duties::UPSERT).await?,
                delete: prepare(duties::DELETE).await?,
            },
            items: items::Statements {
                upsert: prepare(items::UPSERT).await?,
                posts: prepare(items::INSERT_POSTS).await?,
            },
            posts: posts::Statements {
                posts: prepare(posts::UPSERT).await?,
                agencies: prepare(posts::UPSERT_AGENCIES).await?,
                policies: prepare(policies::UPSERT).await?,
            },
            state: state::Statements {
                events: prepare(state::INSERT_EVENTS).await?,
                sights: prepare(state::UPSERT_SIGHTS).await?,
                grants: prepare(state::UPSERT_GRANTS).await?,
                end_grants: prepare(state::DELETE_GRANTS).await?,
            },
        })
    }
}

/// Writes the changes and moves the cursor from `from` to `to`.
///
/// The statements are sent without waiting for one another; the fence is the first of them, and its answer the first
/// that is looked at. After an error the state of the connection is unknown: drop it, and the fold with it.
pub(crate) async fn write(
    client: &Client,
    statements: &Statements,
    fold: &Fold,
    changes: &Changes,
    from: Cursor,
    to: Cursor,
) -> Result<(), ViewError> {
    let rows = fold.touched_rows(changes);
    let s = statements;
    let params: [i64; 4] = [to.position as i64, to.epoch as i64, from.position as i64, from.fence];
    let advance = async {
        let moved = client.execute(&s.advance, &[&params[0], &params[1], &params[2], &params[3]]).await?;
        if moved == 1 { Ok(()) } else { Err(ViewError::Fenced) }
    };
    let written = futures::try_join!(
        client.batch_execute("BEGIN").map_err(ViewError::from),
        advance,
        feed::write(client, &s.feed, &changes.feed).boxed(),
        state::write_events(client, &s.state, &changes.case_events).boxed(),
        state::write_sights(client, &s.state, &rows.sights).boxed(),
        state::write_grants(client, &s.state, &rows.grants).boxed(),
        caseload::write(client, &s.caseload, &rows.caseload, &rows.cases).boxed(),
        duties::write(client, &s.duties, &changes.duties).boxed(),
        changes.items.write(client, &s.items).boxed(),
        fold.posts.write(client, &s.posts, &changes.posts).boxed(),
    );
    match written {
        Ok(_) => Ok(client.batch_execute("COMMIT").await?),
        Err(error) => {
            // The first error counts; a lost connection rolls back by itself.
            let _ = client.batch_execute("ROLLBACK").await;
            Err(error)
        }
    }
}
