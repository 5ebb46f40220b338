//! temp
#![allow(clippy::unwrap_used, missing_docs)]
#[path = "../tests/common/mod.rs"]
mod common;
use common::Database;
use common::history::*;
use rand::RngExt as _;
use tasuki_contract::event::v1::*;
use tasuki_privacy::PERSONAL;

#[tokio::main]
async fn main() {
    let events: usize = std::env::args().nth(1).unwrap().parse().unwrap();
    let database = Database::new().await;
    let posts = 180u64;
    let mut h = History::new(7, posts, 1);
    (0..posts).for_each(|n| h.register(n));
    let types: Vec<&'static str> =
        tasuki_contract::RULES.iter().filter(|r| PERSONAL.contains(&r.class)).map(|r| r.type_name).collect();
    let cases = events as u64 / 40;
    let mut opened = std::collections::HashSet::new();
    for n in 0..events {
        let c = if n % 40 == 0 {
            (n / 40) as u64
        } else {
            let hi = (n as u64 / 40 + 1).min(cases.max(1));
            let lo = hi.saturating_sub(200);
            h.rng.random_range(lo..hi)
        };
        let mut e = Effects::default();
        let base = (c * 18) % posts;
        let p = |k: u64| text(POST, (base + k) % posts);
        if opened.insert(c) {
            for k in [0u64, 2, 3, 7] {
                e.circle.push(CircleChange {
                    case_id: text(CASE, c),
                    post_id: p(k),
                    relation: [Relation::Sender, Relation::Ward, Relation::Receiver, Relation::Family]
                        [[0, 2, 3, 7].iter().position(|x| *x == k).unwrap()]
                        as i32,
                    ends: false,
                });
            }
            e.leads.push(LeadChange { case_id: text(CASE, c), post_id: p(1) });
            e.grants.push(GrantChange {
                case_id: text(CASE, c),
                grant_id: text(50, c),
                recipients: (0..8).map(|k| Recipient { who: Some(recipient::Who::PostId(p(k))) }).collect(),
                classes: PERSONAL.iter().map(|c| *c as i32).collect(),
                ..Default::default()
            });
        } else if n % 10 == 3 {
            e.circle.push(CircleChange {
                case_id: text(CASE, c),
                post_id: p(4 + (n as u64 / 10) % 4),
                relation: Relation::Receiver as i32,
                ends: false,
            });
        }
        e.party_post_ids.push(p(n as u64 % 8));
        if n % 3 == 0 {
            e.duties.push(DutyChange {
                duty_id: text(60, n as u64 / 6),
                kind: 1,
                case_id: text(CASE, c),
                owner_post_id: p(2),
                subject_id: text(70, n as u64),
                due_day: 20600,
                ends: n % 6 == 3,
            });
        }
        if n % 4 == 0 {
            e.items.push(ItemChange {
                kind: 1,
                item_id: text(80, n as u64 / 12),
                case_id: text(CASE, c),
                state: "submitted".into(),
                post_ids: vec![p(0), p(2)],
            });
        }
        h.push(types[n % types.len()], vec![c], e, &[0u8; 120]);
    }
    for page in h.rows.chunks(20_000) {
        database.append(page).await;
    }
    let n = h.rows.len();
    if std::env::args().nth(2).is_some() {
        let mut p = tasuki_views::Projection::lead(&database.url).await.unwrap();
        let t = std::time::Instant::now();
        for b in h.rows.chunks(200) {
            p.apply(b).await.unwrap();
        }
        println!("live, batches of 200: {:.0} events/s", n as f64 / t.elapsed().as_secs_f64());
        let from = h.rows.len();
        let _ = from;
    }
    for _ in 0..3 {
        let t = std::time::Instant::now();
        let r = tasuki_views::rebuild(&database.url).await.unwrap();
        let all = t.elapsed();
        let b = tasuki_views::copy_baseline(&database.url).await.unwrap();
        println!(
            "events {n} rows {} rebuild {all:?} (copy {:?} index {:?} switch {:?}) baseline copy {:?} index {:?}; vs copy {:.2}, vs copy+index {:.2}; copy phase alone vs copy {:.2}",
            r.rows,
            r.copying,
            r.indexing,
            r.switching,
            b.copying,
            b.indexing,
            b.copying.as_secs_f64() / all.as_secs_f64(),
            (b.copying + b.indexing).as_secs_f64() / all.as_secs_f64(),
            b.copying.as_secs_f64() / r.copying.as_secs_f64()
        );
        assert_eq!(r.rows, b.rows);
    }
}
