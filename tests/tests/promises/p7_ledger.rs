//! P7: the ledger of a case is complete: every read that was served to anybody stands in the family's, as far as the
//! family sees what was read; none of another case does; and others find in it what the table of readers gives them.

use std::collections::BTreeSet;

use tasuki_contract::timeline::v1::{self as timeline, CaseRead, Level};
use tasuki_tests::{Caller, World};
use tonic::{Code, Status};

use crate::PROGRAM;
use crate::p4_need_to_know::callers;
use crate::received::everything;
use crate::story::Story;
use crate::who_reads::{COORDINATOR, FAMILY, HOSPITAL, NURSE, OUTSIDER, WARD};

/// The whole ledger of a case as the caller finds it, in small pages.
async fn ledger(caller: &Caller, case: &str) -> Result<Vec<CaseRead>, Status> {
    let mut all = Vec::new();
    let mut page_token = String::new();
    loop {
        let page = timeline::ListReadsRequest { case_id: case.to_owned(), page_size: 7, page_token };
        let page = caller.timeline().list_reads(caller.request(page)).await?.into_inner();
        all.extend(page.reads);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(all);
        }
    }
}

/// What the record holds of a case, as a text of each read that also [`key`] gives: microseconds, post and way.
async fn recorded(world: &World, case: &str, where_: &str) -> Vec<String> {
    let sql = format!(
        "SELECT (extract(epoch FROM read_at) * 1000000)::int8 || ' ' || post_id || ' ' || split_part(method, '/', 2) \
         FROM log.reads WHERE '{case}' = ANY(case_ids) AND ({where_}) ORDER BY read_at DESC, read_id DESC"
    );
    let rows = world.stack.postgres.sql("tasuki", &sql).await.unwrap();
    rows.lines().map(str::to_owned).collect()
}

fn key(read: &CaseRead) -> String {
    let at = read.read_at.unwrap();
    let us = at.seconds * 1_000_000 + i64::from(at.nanos) / 1_000;
    format!("{us} {} {}", read.post.as_ref().unwrap().code, read.way.as_ref().unwrap().code)
}

/// Without the reads of the ledger itself, which come while it is being read.
fn keys(reads: &[CaseRead]) -> Vec<String> {
    reads.iter().map(key).filter(|key| !key.ends_with(" ListReads")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn p7_the_familys_ledger_holds_every_read_of_its_child_and_no_other() {
    let world = World::start(PROGRAM).await.unwrap();
    let program = world.ready().await.unwrap();
    let callers = callers(&world, &program).await;
    let mut story = Story::new(callers.clone());
    story.tell(async |_| {}).await;
    world.views_reach_the_log().await.unwrap();
    let (case, other) = (story.told.cases[0].clone(), story.told.cases[1].clone());
    // Everybody reads everything that can be read.
    for caller in callers.values() {
        everything(caller, &story.told).await;
    }
    let family = &callers[FAMILY];

    // What the family sees of the case says which reads it learns of.
    let page = timeline::GetTimelineRequest { case_id: case.clone(), page_size: 200, ..Default::default() };
    let own = family.timeline().get_timeline(family.request(page)).await.unwrap().into_inner();
    assert!(own.next_page_token.is_empty());
    let seen: BTreeSet<String> = (own.items.iter())
        .filter(|item| item.level() > Level::None)
        .map(|item| format!("'{}'::uuid", item.event_id))
        .collect();
    let seen = seen.into_iter().collect::<Vec<_>>().join(",");
    let visible = format!(
        "method NOT LIKE '%/ListReads' AND (cardinality(event_ids) = 0 OR event_ids && ARRAY[{seen}])"
    );
    let reads = ledger(family, &case).await.unwrap();
    let expected = recorded(&world, &case, &visible).await;
    assert_eq!(keys(&reads), expected);
    assert!(expected.len() >= 40, "{}", expected.len());
    let readers: BTreeSet<&str> = reads.iter().map(|r| r.post.as_ref().unwrap().code.as_str()).collect();
    for slug in [HOSPITAL, COORDINATOR, WARD, NURSE, FAMILY] {
        assert!(readers.contains(callers[slug].post.to_string().as_str()), "{slug} is missing");
    }
    assert!(
        reads.iter().all(|read| read.level() == Level::Full && !read.ja.is_empty() && !read.en.is_empty())
    );
    assert!(reads.iter().any(|read| !read.keys.is_empty() && !read.grant_ids.is_empty()));
    assert!(reads.iter().flat_map(|read| &read.classes).all(|class| class.code != "SEALED"));
    // The look at the ledger is on record itself, and the next one shows it.
    let looks = |reads: &[CaseRead]| reads.iter().filter(|read| key(read).ends_with(" ListReads")).count();
    assert!(looks(&ledger(family, &case).await.unwrap()) > looks(&reads));

    // The lead learns who read which classes, no keys; the hospital what it read itself; a station nothing; who stands
    // in no circle not even that there is a case.
    let summary = ledger(&callers[COORDINATOR], &case).await.unwrap();
    assert!(summary.len() > 20 && summary.iter().all(|r| r.level() == Level::Summary && r.keys.is_empty()));
    assert!(summary.iter().all(|read| read.grant_ids.is_empty()));
    let own = ledger(&callers[HOSPITAL], &case).await.unwrap();
    let hospital = world.post(HOSPITAL).0.to_string();
    assert!(own.len() > 3 && own.iter().all(|read| read.agency.as_ref().unwrap().code == hospital));
    assert_eq!(ledger(&callers[NURSE], &case).await.unwrap(), []);
    assert_eq!(ledger(&callers[OUTSIDER], &case).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(ledger(family, &other).await.unwrap_err().code(), Code::NotFound);
    assert!(!ledger(&callers[WARD], &case).await.unwrap().is_empty());
}
