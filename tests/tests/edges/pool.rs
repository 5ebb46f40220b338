//! How many connections a program reads with is a setting.

use std::time::Duration;

use futures::future::join_all;
use tasuki_contract::intake::v1::AcknowledgeReferralRequest;
use tasuki_tests::{World, eventually};
use tonic::Code;

use crate::PROGRAM;
use crate::answer::Seen;
use crate::process::Process;

const LIMIT: Duration = Duration::from_secs(60);
const POOL: usize = 3;
const CALLS: usize = 12;

#[tokio::test(flavor = "multi_thread")]
async fn the_pool_has_the_size_that_was_set() {
    let world = World::start(PROGRAM).await.unwrap();
    // The region is registered through a program that has connections enough.
    drop(world.ready().await.unwrap());
    let program = Process::serve(&world, &[("TASUKI_POOL", "3")]).await;
    let (client, connection) =
        tokio_postgres::connect(&world.database_url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute("BEGIN; LOCK TABLE log.items IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let caller = program.caller(&world, "hospital.discharge").await;
    let call = async || {
        let referral_id = uuid::Uuid::now_v7().to_string();
        let request = AcknowledgeReferralRequest { context: None, referral_id };
        Seen::refused(caller.referrals().acknowledge_referral(caller.request(request)).await)
    };
    let answered = std::sync::atomic::AtomicUsize::new(0);
    let calls = join_all((0..CALLS).map(async |_| {
        let seen = call().await;
        answered.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        seen.code
    }));
    let released = async {
        // In vain: these got no connection in the time that a call may wait for one.
        eventually("calls without a connection are refused", LIMIT, || async {
            answered.load(std::sync::atomic::Ordering::Relaxed) == CALLS - POOL
        })
        .await;
        client.batch_execute("ROLLBACK").await.unwrap();
    };
    let (codes, ()) = tokio::time::timeout(LIMIT, async { tokio::join!(calls, released) }).await.unwrap();
    assert_eq!(codes.iter().filter(|code| **code == Code::NotFound).count(), POOL, "{codes:?}");
    assert_eq!(codes.iter().filter(|code| **code == Code::Unavailable).count(), CALLS - POOL, "{codes:?}");
}
