//! What an erasure finds of a case beside its keys: the streams that are about it, and its requests.
//!
//! Events stay, with their places, headers and hashes. A request loses the digest of its body and the reply that was
//! stored for a retry; its id stays, so that nothing is appended twice. A table that is searched by what it says of a child,
//! such as a blind index, bears the case's id and loses its rows here as well.

use uuid::Uuid;

use crate::db::Database;
use crate::error::LogError;

/// The streams whose sealed parts are about the case: its own, and the consultations that it came from.
///
/// A walk through the headers of all consultations, since an erasure is rare and an index would cost every append.
/// Meetings are not among them: what they say of a case stands in the case's stream.
pub async fn streams_of(log: &Database, case: Uuid) -> Result<Vec<Uuid>, LogError> {
    let sql = "SELECT DISTINCT stream_id FROM log.events \
               WHERE stream_kind = 2 AND position(convert_to($1, 'UTF8') IN header) > 0";
    let client = log.get().await?;
    let rows = client.query(sql, &[&case.to_string()]).await?;
    Ok([case].into_iter().chain(rows.iter().map(|row| row.get(0))).collect())
}

/// Takes digest and stored reply from every request that appended to one of the streams; answers how many it was.
pub async fn forget_requests(log: &Database, streams: &[Uuid]) -> Result<u64, LogError> {
    // One batch of commands bears one time, which finds its requests without an index by position.
    let sql = "UPDATE log.requests AS r SET digest = '', reply = '' \
               FROM (SELECT position, recorded_at FROM log.events WHERE stream_id = ANY($1)) AS e \
               WHERE r.recorded_at = e.recorded_at AND r.first_position <= e.position \
                 AND r.first_position + r.events > e.position AND r.digest <> ''";
    Ok(log.connect_durable().await?.execute(sql, &[&streams]).await?)
}
