//! The feed of a post as its client lives with it: history, then live, over disconnects, until it has to end.

use std::time::Duration;

use prost::Message as _;
use tasuki::region;
use tasuki::token::{self, AUDIENCE};
use tasuki_auth::DevGrant;
use tasuki_contract::directory::v1::ChangeHoldersRequest;
use tasuki_contract::directory::v1::directory_service_client::DirectoryServiceClient;
use tasuki_contract::timeline::v1::{
    FeedItem, Heartbeat, ReadFeedRequest, ReadFeedResponse, SubscribeRequest, SubscribeResponse,
    subscribe_response::Message,
};
use tasuki_domain::ids::PostId;
use tasuki_tests::{Caller, World, referral};
use tonic::{Code, Status, Streaming};

use crate::PROGRAM;
use crate::answer::Seen;
use crate::overload::Held;
use crate::process::Process;

pub const LIMIT: Duration = Duration::from_secs(60);

/// What comes next on a stream.
#[derive(Debug)]
pub enum Next {
    Item(Box<FeedItem>),
    Heartbeat(Heartbeat),
    End(Status),
}

/// An open subscription.
pub struct Feed(Streaming<SubscribeResponse>);

impl Feed {
    pub async fn open(caller: &Caller, cursor: &str) -> Result<Self, Status> {
        let request = caller.request(SubscribeRequest { cursor: cursor.to_owned() });
        Ok(Self(caller.timeline().subscribe(request).await?.into_inner()))
    }

    pub async fn next(&mut self) -> Next {
        match tokio::time::timeout(LIMIT, self.0.message()).await.expect("something on the stream") {
            Ok(Some(SubscribeResponse { message: Some(Message::Item(item)) })) => Next::Item(Box::new(item)),
            Ok(Some(SubscribeResponse { message: Some(Message::Heartbeat(beat)) })) => Next::Heartbeat(beat),
            Ok(Some(SubscribeResponse { message: None })) => panic!("an empty message"),
            Ok(None) => panic!("a stream ends with a reason"),
            Err(status) => Next::End(status),
        }
    }

    pub async fn item(&mut self) -> FeedItem {
        loop {
            match self.next().await {
                Next::Item(item) => return *item,
                Next::Heartbeat(_) => {}
                Next::End(status) => panic!("{status:?}"),
            }
        }
    }

    /// Items up to the heartbeat that says that this is all; its cursor.
    pub async fn until_caught_up(&mut self) -> (Vec<FeedItem>, String) {
        let mut items = Vec::new();
        loop {
            match self.next().await {
                Next::Item(item) => items.push(*item),
                Next::Heartbeat(beat) if beat.caught_up => return (items, beat.cursor),
                Next::Heartbeat(_) => {}
                Next::End(status) => panic!("{status:?}"),
            }
        }
    }

    /// The reason for which it ends, whatever comes before.
    pub async fn end(&mut self) -> Status {
        loop {
            if let Next::End(status) = self.next().await {
                return status;
            }
        }
    }
}

/// Sends a referral; the event that its receiver must get.
pub async fn submit(hospital: &Caller, to: PostId, label: &str) -> String {
    let sent = hospital.referrals().submit_referral(hospital.request(referral(to, label))).await;
    sent.unwrap().into_inner().receipt.unwrap().event_id
}

fn numbers(items: &[FeedItem]) -> Vec<u64> {
    items.iter().map(|i| i.item.as_ref().unwrap().number).collect()
}

fn event(item: &FeedItem) -> &str {
    &item.item.as_ref().unwrap().event_id
}

async fn read_feed(
    caller: &Caller,
    cursor: &str,
    wait_s: i32,
    page_size: i32,
) -> Result<ReadFeedResponse, Status> {
    let request = ReadFeedRequest { cursor: cursor.to_owned(), wait_s, page_size };
    Ok(caller.timeline().read_feed(caller.request(request)).await?.into_inner())
}

#[tokio::test(flavor = "multi_thread")]
async fn history_comes_first_then_live_and_a_disconnect_skips_and_repeats_nothing() {
    let world = World::start(PROGRAM).await.unwrap();
    let program = world.ready().await.unwrap();
    let hospital = world.caller(&program, "hospital.discharge").await.unwrap();
    let desk = world.caller(&program, "coordinator.desk").await.unwrap();
    for label in ["kita_A", "kita_B", "kita_C"] {
        submit(&hospital, desk.post, label).await;
    }

    let mut feed = Feed::open(&desk, "").await.unwrap();
    let (mut items, caught_up_at) = feed.until_caught_up().await;
    assert!(!items.is_empty());
    assert_eq!(items.last().unwrap().cursor, caught_up_at, "the heartbeat does not move the cursor");
    let live = [submit(&hospital, desk.post, "kita_D").await, submit(&hospital, desk.post, "kita_E").await];
    while !live.iter().all(|id| items.iter().any(|i| event(i) == id)) {
        items.push(feed.item().await);
    }

    // Gone in the middle: what came after the last item that was processed comes again, the rest never.
    items.truncate(items.len() - 1);
    drop(feed);
    let missed = submit(&hospital, desk.post, "kita_F").await;
    let mut feed = Feed::open(&desk, &items.last().unwrap().cursor).await.unwrap();
    while items.iter().all(|i| event(i) != missed) {
        items.push(feed.item().await);
    }
    let (rest, _) = feed.until_caught_up().await;
    items.extend(rest);
    let count = items.len() as u64;
    assert_eq!(numbers(&items), (1..=count).collect::<Vec<_>>());
    let mut events: Vec<&str> = items.iter().map(event).collect();
    events.sort_unstable();
    events.dedup();
    assert_eq!(events.len(), items.len(), "an event came twice");

    // One connection for each item gives the same.
    let mut cursor = String::new();
    for expected in &items {
        let item = Feed::open(&desk, &cursor).await.unwrap().item().await;
        assert_eq!(&item, expected);
        cursor = item.cursor;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_can_only_poll_gets_the_same_items_and_cursors() {
    let world = World::start(PROGRAM).await.unwrap();
    let program = world.ready().await.unwrap();
    let hospital = world.caller(&program, "hospital.discharge").await.unwrap();
    let desk = world.caller(&program, "coordinator.desk").await.unwrap();
    for label in ["kita_A", "kita_B", "kita_C", "kita_D"] {
        submit(&hospital, desk.post, label).await;
    }
    let (streamed, end) = Feed::open(&desk, "").await.unwrap().until_caught_up().await;

    let (mut polled, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = read_feed(&desk, &cursor, 0, 3).await.unwrap();
        assert!(page.items.len() <= 3);
        if page.items.is_empty() {
            assert_eq!(page.cursor, cursor, "an empty page does not move the cursor");
            break;
        }
        assert_eq!(page.cursor, page.items.last().unwrap().cursor);
        cursor = page.cursor;
        polled.extend(page.items);
    }
    assert_eq!(polled, streamed);
    assert_eq!(cursor, end);

    // A poll that waits is answered by what comes, long before its time is over.
    let (waiting, poller) = (cursor.clone(), desk.clone());
    let poll = tokio::spawn(async move {
        let began = std::time::Instant::now();
        (read_feed(&poller, &waiting, 25, 0).await.unwrap(), began.elapsed())
    });
    let sent = submit(&hospital, desk.post, "kita_E").await;
    let (page, took) = tokio::time::timeout(LIMIT, poll).await.unwrap().unwrap();
    assert!(took < Duration::from_secs(20), "{took:?}");
    let mut feed = Feed::open(&desk, &cursor).await.unwrap();
    for item in &page.items {
        assert_eq!(&feed.item().await, item);
    }
    assert!(page.items.iter().any(|i| event(i) == sent) || event(&feed.item().await) == sent);

    for wait_s in [-1, 26] {
        let seen = Seen::refused(read_feed(&desk, "", wait_s, 0).await);
        assert_eq!(seen.fields, [("wait_s".to_owned(), "OUT_OF_RANGE".to_owned())]);
    }
}

/// What the client's HTTP/2 stream window lets through in this test, bytes. gRPC clients have 64 KiB by default.
const WINDOW: u32 = 1_024;
/// One in the service, one in the HTTP library.
const UNSENT: usize = 2;

/// A read record is committed when there is room to send its item, so read records count what was pulled for a reader.
///
/// Measured and asserted: beside the items that the client has taken there is one that waits unsent in the service,
/// one that the HTTP library has pulled before it asks for window, and what HTTP/2 flow control has let through: items
/// that begin within the client's window. A client library that reads ahead (tonic takes a whole frame) frees as much
/// again, hence twice the window once items are taken.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_holds_one_unsent_item_beyond_what_http2_has_pulled() {
    let world = World::start(PROGRAM).await.unwrap();
    let program = Process::serve(&world, &[]).await;
    register(&world, &program).await;
    let hospital = program.caller(&world, "hospital.discharge").await;
    let desk = program.caller(&world, "coordinator.desk").await;
    for _ in 0..40 {
        submit(&hospital, desk.post, "kita_A").await;
    }

    // Its purpose tells its read records from the others'.
    let channel = program.endpoint().initial_stream_window_size(WINDOW).connect().await.unwrap();
    let slow = Caller { channel, ..desk.clone() };
    // For a purpose of its own, so that its reads are told from those of others.
    let subscribe = async |caller: &Caller| {
        let mut request = caller.request(SubscribeRequest::default());
        request.metadata_mut().insert("x-purpose", "emergency".parse().unwrap());
        Feed(caller.timeline().subscribe(request).await.unwrap().into_inner())
    };
    let (items, _) = subscribe(&desk).await.until_caught_up().await;
    let before = items.len();
    let mut slow = subscribe(&slow).await;
    let recorded = async || {
        let count =
            "SELECT coalesce(sum(cardinality(event_ids)), 0) FROM log.reads WHERE purpose = 'emergency'";
        world.stack.postgres.sql("tasuki", count).await.unwrap().trim().parse::<usize>().unwrap() - before
    };

    // While it takes nothing, others get everything, so the server had every chance to go on.
    Feed::open(&desk, "").await.unwrap().until_caught_up().await;
    let sizes: Vec<usize> = items
        .iter()
        .map(|i| 5 + SubscribeResponse { message: Some(Message::Item(i.clone())) }.encoded_len())
        .collect();
    let at_most = |taken: usize, window: usize| {
        let mut begins = 0;
        let through = sizes[taken..].iter().take_while(|size| {
            let fits = begins < window;
            begins += **size;
            fits
        });
        taken + through.count() + UNSENT
    };
    let window = WINDOW as usize;
    assert!(sizes.iter().sum::<usize>() > 20 * window, "the feed is much larger than the window");
    let first = recorded().await;
    assert!(
        (1..=at_most(0, window)).contains(&first),
        "{first} reads before one of {sizes:?} bytes was taken"
    );
    for (taken, expected) in items.iter().enumerate() {
        assert_eq!(&slow.item().await, expected);
        let reads = recorded().await;
        assert!(reads <= at_most(taken + 1, 2 * window), "{reads} reads when {} were taken", taken + 1);
    }
    assert_eq!(recorded().await, items.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_when_its_token_expires() {
    let world = World::start(PROGRAM).await.unwrap();
    let program = world.ready().await.unwrap();
    let (agency, post) = world.post("coordinator.desk");
    let grant = DevGrant {
        subject: region::holder_of(post),
        audience: AUDIENCE.to_owned(),
        agency: agency.0,
        posts: vec![post.0],
        operator: false,
        issued_at_s: jiff::Timestamp::now().as_second(),
        lifetime_s: 4,
    };
    let token = world.secrets.issuer.as_ref().unwrap().issue(&grant).unwrap();
    let desk = Caller { channel: program.channel().await.unwrap(), token, post };
    let mut feed = Feed::open(&desk, "").await.unwrap();
    let seen = Seen::of(&feed.end().await);
    assert_eq!((seen.code, seen.reason.as_str()), (Code::Unauthenticated, "TOKEN_EXPIRED"));
    let late_s = jiff::Timestamp::now().as_second() - (grant.issued_at_s + grant.lifetime_s);
    assert!((0..10).contains(&late_s), "{late_s} s after its token");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_when_others_hold_the_post() {
    let world = World::start(PROGRAM).await.unwrap();
    let program = world.ready().await.unwrap();
    let desk = world.caller(&program, "coordinator.desk").await.unwrap();
    let mut feed = Feed::open(&desk, "").await.unwrap();
    feed.until_caught_up().await;

    let operator = token::for_operator(world.secrets.issuer.as_ref().unwrap(), 600).unwrap();
    let operator = Caller { token: operator, ..desk.clone() };
    let change = ChangeHoldersRequest {
        context: None,
        post_id: desk.post.to_string(),
        holder_subjects: vec!["holder:somebody-else".to_owned()],
    };
    let mut directory = DirectoryServiceClient::new(operator.channel.clone());
    directory.change_holders(operator.request(change)).await.unwrap();
    let hospital = world.caller(&program, "hospital.discharge").await.unwrap();
    let seen = loop {
        match feed.next().await {
            Next::End(status) => break Seen::of(&status),
            Next::Heartbeat(_) => {}
            Next::Item(item) => panic!("delivered to a former holder: {}", event(&item)),
        }
    };
    assert_eq!((seen.code, seen.reason.as_str()), (Code::PermissionDenied, "POST_NOT_HELD"));
    submit(&hospital, desk.post, "kita_A").await;
    let seen = Seen::refused(read_feed(&desk, "", 0, 0).await);
    assert_eq!(seen.reason, "POST_NOT_HELD");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_made_up_cursor_and_a_foreign_one_are_refused_alike() {
    let world = World::start(PROGRAM).await.unwrap();
    let program = world.ready().await.unwrap();
    let hospital = world.caller(&program, "hospital.discharge").await.unwrap();
    let desk = world.caller(&program, "coordinator.desk").await.unwrap();
    submit(&hospital, desk.post, "kita_A").await;
    let (_, foreign) = Feed::open(&hospital, "").await.unwrap().until_caught_up().await;
    let (_, own) = Feed::open(&desk, "").await.unwrap().until_caught_up().await;
    let mut altered = own.clone();
    altered.replace_range(30..31, if &own[30..31] == "A" { "B" } else { "A" });

    let mut answers = Vec::new();
    for cursor in ["0", "not a cursor", &altered, &foreign, &own[..own.len() - 4]] {
        let by_poll = Seen::refused(read_feed(&desk, cursor, 0, 0).await);
        assert_eq!((by_poll.code, by_poll.reason.as_str()), (Code::InvalidArgument, "CURSOR_INVALID"));
        assert_eq!(by_poll.fields[0].0, "cursor");
        let by_stream = match Feed::open(&desk, cursor).await {
            Ok(mut feed) => feed.end().await,
            Err(status) => status,
        };
        assert_eq!(Seen::of(&by_stream).whole, by_poll.whole);
        answers.push(by_poll.whole);
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "told apart");
    assert!(read_feed(&desk, &own, 0, 0).await.is_ok(), "the post's own cursor is taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_lets_a_running_call_finish_and_tells_streams_to_come_again() {
    let world = World::start(PROGRAM).await.unwrap();
    let mut program = Process::serve(&world, &[]).await;
    register(&world, &program).await;
    let hospital = program.caller(&world, "hospital.discharge").await;
    let desk = program.caller(&world, "coordinator.desk").await;
    let mut feed = Feed::open(&desk, "").await.unwrap();
    let (_, cursor) = feed.until_caught_up().await;

    let held = Held::new(&world).await;
    let (caller, to) = (hospital.clone(), desk.post);
    let running = tokio::spawn(async move { submit(&caller, to, "kita_A").await });
    held.until_somebody_waits().await;
    program.signal("TERM").await;
    let seen = Seen::of(&feed.end().await);
    assert_eq!((seen.code, seen.reason.as_str()), (Code::Unavailable, "DRAINING"));
    assert!(seen.retry.is_some(), "{seen:?}");
    assert!(!running.is_finished(), "the call still waits");
    held.release().await;
    let sent = tokio::time::timeout(LIMIT, running).await.unwrap().expect("the running call is answered");
    let status = program.ended(LIMIT).await;
    assert!(status.success(), "{status}: {}", program.said());

    // The next process goes on where the stream ended.
    let program = Process::serve(&world, &[]).await;
    let desk = program.caller(&world, "coordinator.desk").await;
    let mut feed = Feed::open(&desk, &cursor).await.unwrap();
    while event(&feed.item().await) != sent {}
}

/// Registers the example region.
pub async fn register(world: &World, program: &Process) {
    let operator = token::for_operator(world.secrets.issuer.as_ref().unwrap(), 600).unwrap();
    let region = region::Region::parse(region::EXAMPLE).unwrap();
    region.register(program.channel().await, &operator).await.unwrap();
}
