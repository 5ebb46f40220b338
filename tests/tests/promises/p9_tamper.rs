//! P9: `tasuki verify` finds a flipped byte and says where. Every other kind of edit: `crates/log/tests/log/tamper.rs`.

use tasuki_tests::{World, referral};

use crate::PROGRAM;
use crate::who_reads::{COORDINATOR, HOSPITAL};

#[tokio::test(flavor = "multi_thread")]
async fn p9_verify_finds_a_flipped_byte_and_names_its_position() {
    let world = World::start(PROGRAM).await.unwrap();
    let program = world.ready().await.unwrap();
    let hospital = world.caller(&program, HOSPITAL).await.unwrap();
    let to = world.post(COORDINATOR).1;
    for _ in 0..5 {
        hospital.referrals().submit_referral(hospital.request(referral(to, "kita_A"))).await.unwrap();
    }
    let head = world.reader().unwrap().head().await.unwrap().0;
    let verify = async || {
        let output = world.command(&["verify"]).await.unwrap();
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
        (output.status.success(), said)
    };
    let (ok, said) = verify().await;
    assert!(ok && said.contains(&format!("verify ok: rows={head} ")), "{said}");

    for (column, place) in [("header", head - 2), ("parts", head)] {
        let flip = format!(
            "UPDATE log.events SET {column} = set_byte({column}, 30, get_byte({column}, 30) # 1) \
             WHERE position = {place}"
        );
        world.stack.postgres.sql("tasuki", &flip).await.unwrap();
        let (ok, said) = verify().await;
        assert!(!ok && said.contains(&format!("position {place}:")), "{column}: {said}");
        world.stack.postgres.sql("tasuki", &flip).await.unwrap();
    }
    assert!(verify().await.0, "the byte is back");
}
