//! A role that cannot go on ends the program, with the reason.

use crate::up::{Directory, LIMIT, running, up};

#[tokio::test(flavor = "multi_thread")]
async fn up_ends_when_a_role_cannot_go_on() {
    let directory = Directory::new();
    let state = directory.state();
    let mut program = up(&state).await;
    let url = running(&state).database_url;
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    // A header that this binary cannot read ends the projector.
    let unreadable = "INSERT INTO log.events \
                      SELECT max(position) + 1, 1, 99, gen_random_uuid(), 1, gen_random_uuid(), max(recorded_at), \
                             '\\xff', '', '' FROM log.events";
    client.batch_execute(unreadable).await.unwrap();
    drop(client);
    let status = program.ended(LIMIT).await;
    assert!(!status.success() && program.said().contains("projection stopped"), "{}", program.said());
}
