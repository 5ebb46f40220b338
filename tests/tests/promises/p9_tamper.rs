//! P9: `tasuki verify` finds a flipped byte and says where. Every other kind of edit: `crates/log/tests/log/tamper.rs`,
//! of the reads on record `reads_tamper.rs`. Who holds the signing key is found from outside, by what a post or an
//! auditor has kept.

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

/// What an insider does who holds the keys: alters an event, makes the chain anew from there on, signs every head.
async fn rewrite_from(world: &World, position: u64) {
    let rehash = format!(
        "UPDATE log.events SET parts = set_byte(parts, 30, get_byte(parts, 30) # 1) WHERE position = {position};
         DO $$ DECLARE r record; previous bytea; fresh bytea; BEGIN
           SELECT hash INTO previous FROM log.events WHERE position = {position} - 1;
           FOR r IN SELECT * FROM log.events WHERE position >= {position} ORDER BY position LOOP
             fresh := sha256('tasuki row 1'::bytea || previous || int8send(r.position) || int8send(r.epoch)
               || int8send(r.recorded_at) || int8send(length(r.header)::bigint) || r.header
               || int8send(length(r.parts)::bigint) || r.parts);
             UPDATE log.events SET hash = fresh WHERE position = r.position;
             UPDATE log.heads SET hash = fresh WHERE position = r.position;
             previous := fresh;
           END LOOP; END $$;"
    );
    let (client, connection) =
        tokio_postgres::connect(&world.database_url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute(&rehash).await.unwrap();
    let sql = "SELECT position, epoch, hash, reads_number, reads_hash FROM log.heads WHERE position >= $1";
    for head in client.query(sql, &[&(position as i64)]).await.unwrap() {
        let number = |column: usize| head.get::<_, i64>(column).to_be_bytes();
        let anchored = head.get::<_, i64>(3) > 0;
        let what = if anchored { "tasuki head 2" } else { "tasuki head 1" };
        let mut message = [what.as_bytes(), &number(0), &number(1), head.get::<_, &[u8]>(2)].concat();
        if anchored {
            message.extend([&number(3), head.get::<_, &[u8]>(4)].concat());
        }
        let signature = world.secrets.keyring.sign(&message);
        let sign = "UPDATE log.heads SET signature = $1 WHERE position = $2";
        client.execute(sign, &[&signature, &head.get::<_, i64>(0)]).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p9_a_rewrite_of_the_whole_suffix_with_the_signing_key_is_located_from_a_posts_feed_alone() {
    let world = World::start(PROGRAM).await.unwrap();
    let program = world.ready().await.unwrap();
    let hospital = world.caller(&program, HOSPITAL).await.unwrap();
    let to = world.post(COORDINATOR).1;
    let submit = async || {
        let request = hospital.request(referral(to, "kita_A"));
        hospital.referrals().submit_referral(request).await.unwrap();
        world.views_reach_the_log().await.unwrap()
    };
    for _ in 0..4 {
        submit().await;
    }
    let (file, head_file) = (world.directory.join("feed.kept"), world.directory.join("head.kept"));
    let (file, head_file) = (file.to_str().unwrap(), head_file.to_str().unwrap());
    let token = world.token(COORDINATOR).unwrap();
    let run = async |args: &[&str]| {
        let output = world.command(args).await.unwrap();
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
        (output.status.success(), said)
    };
    let look = ["verify-feed", "--file", file, "--address", program.address(), "--token", &token];
    let (ok, said) = run(&look).await;
    assert!(ok && said.contains("kept_before=0"), "{said}");
    let (ok, head) = run(&["audit-head"]).await;
    assert!(ok, "{head}");
    std::fs::write(head_file, &head).unwrap();
    let head: u64 = head.lines().find_map(|line| line.strip_prefix("position=")).unwrap().parse().unwrap();

    // What comes later takes nothing away from what was kept.
    submit().await;
    let kept = world.views().unwrap().feed_head(to).await.unwrap();
    let (ok, said) = run(&look).await;
    assert!(ok && said.contains(&format!("items={kept} kept_before=")), "{said}");
    assert!(run(&["verify", "--since-head", head_file]).await.0);

    // Any item of the feed with sealed parts, and not the first one.
    let rows = world.views().unwrap().feed_after(to, 0, 100).await.unwrap();
    let row = &rows[rows.len() - 2];
    rewrite_from(&world, row.position).await;
    assert!(run(&["rebuild"]).await.0, "the views are made to fit");
    let (ok, said) = run(&["verify"]).await;
    assert!(ok, "from inside nothing is to be seen: {said}");

    let (ok, said) = run(&look).await;
    assert!(!ok && said.contains(&format!("verify-feed: item {}:", row.number)), "{said}");
    let (ok, said) = run(&["verify", "--since-head", head_file]).await;
    assert!(!ok && said.contains(&format!("verify: position {head}:")), "{said}");
    // A fresh file tells nothing: it is what was kept outside that tells.
    let other = world.directory.join("other.kept");
    let fresh =
        ["verify-feed", "--file", other.to_str().unwrap(), "--address", program.address(), "--token", &token];
    assert!(run(&fresh).await.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn p9_verify_finds_an_edit_of_the_reads_on_record() {
    let world = World::start(PROGRAM).await.unwrap();
    let program = world.ready().await.unwrap();
    let me = world.caller(&program, COORDINATOR).await.unwrap();
    for _ in 0..4 {
        me.timeline().list_duties(me.request(Default::default())).await.unwrap();
    }
    let verify = async || {
        let output = world.command(&["verify"]).await.unwrap();
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
        (output.status.success(), said)
    };
    let (ok, said) = verify().await;
    assert!(ok && said.contains("reads=4 writers=1"), "{said}");
    let edit = async |sql: &str| world.stack.postgres.sql("tasuki", sql).await.unwrap();
    edit("UPDATE log.reads SET post_id = agency_id WHERE number = 2").await;
    let (ok, said) = verify().await;
    assert!(!ok && said.contains("number 2: the row was altered"), "{said}");
}
