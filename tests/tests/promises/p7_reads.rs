//! P7: every read is on record before its answer leaves, with what was disclosed; what cannot be recorded is not served.

use std::collections::BTreeSet;
use std::sync::LazyLock;
use std::time::Duration;

use prost_reflect::{DescriptorPool, Kind, MessageDescriptor, MethodDescriptor};
use tasuki_contract::attachments::v1 as pb;
use tasuki_contract::common::v1::Fact;
use tasuki_contract::consent::v1 as consent;
use tasuki_contract::identity::v1 as identity;
use tasuki_contract::intake::v1 as intake;
use tasuki_contract::timeline::v1::{self as timeline, TimelineItem, subscribe_response::Message};
use tasuki_contract::{DataClass, Event};
use tasuki_tests::{Caller, Paper, World, eventually, referral};
use tonic::{Code, Status};

use crate::PROGRAM;
use crate::story::day;
use crate::who_reads::{COORDINATOR, HOSPITAL, WARD};

const LIMIT: Duration = Duration::from_secs(30);

/// One row of the record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Read {
    method: String,
    purpose: String,
    agency: String,
    cases: BTreeSet<String>,
    events: BTreeSet<String>,
    keys: BTreeSet<String>,
    grants: usize,
}

/// What a post has read and this test has not looked at yet.
struct Record<'w> {
    world: &'w World,
    post: String,
    seen: BTreeSet<String>,
}

impl Record<'_> {
    /// The new rows, at this very moment: nothing is waited for.
    async fn new_rows(&mut self) -> Vec<Read> {
        let list = |column: &str| format!("array_to_string({column}, ' ')");
        let sql = format!(
            "SELECT read_id, method, purpose, agency_id, {}, {}, {}, cardinality(grant_ids) FROM log.reads \
             WHERE post_id = '{}' AND policy_version > 0 ORDER BY read_at",
            list("case_ids"),
            list("event_ids"),
            list("fact_keys"),
            self.post
        );
        let rows = self.world.stack.postgres.sql("tasuki", &sql).await.unwrap();
        let mut found = Vec::new();
        for row in rows.lines() {
            let columns: Vec<&str> = row.split('|').collect();
            if self.seen.insert(columns[0].to_owned()) {
                let set = |column: usize| columns[column].split_whitespace().map(str::to_owned).collect();
                found.push(Read {
                    method: columns[1].to_owned(),
                    purpose: columns[2].to_owned(),
                    agency: columns[3].to_owned(),
                    cases: set(4),
                    events: set(5),
                    keys: set(6),
                    grants: columns[7].parse().unwrap(),
                });
            }
        }
        found
    }

    /// The case in whose stream the event stands; every event of these reads stands in one.
    async fn case_of(&self, event: &str) -> String {
        let sql = format!("SELECT stream_id FROM log.events WHERE event_id = '{event}'");
        self.world.stack.postgres.sql("tasuki", &sql).await.unwrap().trim().to_owned()
    }

    /// The only new row, or all of them as one: an answer about several cases has one record for each.
    async fn new_row(&mut self, method: &str) -> Read {
        let rows = self.new_rows().await;
        assert!(!rows.is_empty(), "{method} was answered without a record");
        let agency = self.world.post(COORDINATOR).0.to_string();
        let mut all = Read::default();
        for row in rows {
            assert_eq!((row.method.as_str(), row.purpose.as_str()), (method, "care_coordination"));
            assert_eq!(row.agency, agency);
            assert!(row.cases.len() <= 1, "{method}: one record tells of several children: {:?}", row.cases);
            let case = row.cases.first();
            for event in &row.events {
                let of = self.case_of(event).await;
                assert_eq!(case, Some(&of), "{method}: an event of one child on record for another");
            }
            all.cases.extend(row.cases);
            all.events.extend(row.events);
            all.keys.extend(row.keys);
            all.grants += row.grants;
        }
        all
    }
}

fn keys(facts: &[Fact]) -> BTreeSet<String> {
    facts.iter().map(|fact| fact.key.clone()).collect()
}

/// Events and fact keys that the items hold.
fn disclosed(items: &[TimelineItem]) -> (BTreeSet<String>, BTreeSet<String>) {
    let mut all = BTreeSet::new();
    for any in items.iter().filter_map(|item| item.event.as_ref()) {
        let name = any.type_url.rsplit('/').next().unwrap();
        match Event::decode(name, &[&any.value]).unwrap() {
            Event::ReferralSubmitted(event) => all.extend(keys(&event.facts)),
            Event::CaseOpened(event) => all.extend(keys(&event.facts)),
            _ => {}
        }
    }
    (items.iter().map(|item| item.event_id.clone()).collect(), all)
}

#[tokio::test(flavor = "multi_thread")]
async fn p7_every_read_is_on_record_before_its_answer_arrives() {
    let world = World::start(PROGRAM).await.unwrap();
    let program = world.ready().await.unwrap();
    let hospital = world.caller(&program, HOSPITAL).await.unwrap();
    let me = world.caller(&program, COORDINATOR).await.unwrap();
    let mut sent = Vec::new();
    for _ in 0..3 {
        let request = hospital.request(referral(me.post, "kita_A"));
        sent.push(hospital.referrals().submit_referral(request).await.unwrap().into_inner());
    }
    let accept = intake::AcceptReferralRequest {
        referral_id: sent[0].referral_id.clone(),
        as_lead: true,
        first_contact_on: day(1),
        ..Default::default()
    };
    me.referrals().accept_referral(me.request(accept)).await.unwrap();
    world.views_reach_the_log().await.unwrap();
    let mut record = Record { world: &world, post: me.post.to_string(), seen: BTreeSet::new() };
    assert_eq!(record.new_rows().await, [], "commands read nothing for anybody");
    let case = BTreeSet::from([sent[0].case_id.clone()]);
    let all_cases: BTreeSet<String> = sent.iter().map(|sent| sent.case_id.clone()).collect();

    let card = timeline::GetCaseCardRequest { case_id: sent[0].case_id.clone(), ..Default::default() };
    let card = me.timeline().get_case_card(me.request(card)).await.unwrap().into_inner();
    let row = record.new_row("TimelineService/GetCaseCard").await;
    let shown: Vec<Fact> = card.facts.into_iter().filter_map(|known| known.fact).collect();
    assert_eq!((&row.cases, &row.keys), (&case, &keys(&shown)));
    assert!(row.events.len() == 1 && row.keys.len() >= 3 && row.grants == 1, "{row:?}");

    let page = timeline::GetTimelineRequest { case_id: sent[0].case_id.clone(), ..Default::default() };
    let page = me.timeline().get_timeline(me.request(page)).await.unwrap().into_inner();
    let row = record.new_row("TimelineService/GetTimeline").await;
    assert_eq!((row.cases, (row.events, row.keys)), (case.clone(), disclosed(&page.items)));
    assert!(page.items.len() >= 4);

    let get = intake::GetReferralRequest { referral_id: sent[1].referral_id.clone(), ..Default::default() };
    let found = me.referrals().get_referral(me.request(get)).await.unwrap().into_inner().referral.unwrap();
    let row = record.new_row("ReferralService/GetReferral").await;
    assert_eq!(row.cases, BTreeSet::from([sent[1].case_id.clone()]));
    assert_eq!(row.keys, keys(&found.content.unwrap().facts));
    assert_eq!(row.events.len(), 1);

    let list = intake::ListReferralsRequest::default();
    let list = me.referrals().list_referrals(me.request(list)).await.unwrap().into_inner();
    let row = record.new_row("ReferralService/ListReferrals").await;
    assert_eq!((list.referrals.len(), &row.cases), (3, &all_cases));

    let caseload = timeline::ListCaseloadRequest::default();
    let caseload = me.timeline().list_caseload(me.request(caseload)).await.unwrap().into_inner();
    let row = record.new_row("TimelineService/ListCaseload").await;
    let cases: BTreeSet<String> = caseload.cases.into_iter().map(|entry| entry.case_id).collect();
    assert!(!cases.is_empty() && row.cases == cases, "{row:?}");

    let duties = timeline::ListDutiesRequest::default();
    let duties = me.timeline().list_duties(me.request(duties)).await.unwrap().into_inner();
    let row = record.new_row("TimelineService/ListDuties").await;
    let cases: BTreeSet<String> = duties.duties.into_iter().map(|duty| duty.case_id).collect();
    assert!(cases == all_cases && row.cases == cases, "{row:?}");

    let part = timeline::ReadFeedRequest { page_size: 200, ..Default::default() };
    let part = me.timeline().read_feed(me.request(part)).await.unwrap().into_inner();
    let row = record.new_row("TimelineService/ReadFeed").await;
    let items: Vec<TimelineItem> = part.items.into_iter().filter_map(|item| item.item).collect();
    assert_eq!((row.cases, (row.events, row.keys)), (all_cases, disclosed(&items)));

    each_item_of_a_stream(&me, &mut record, items.len()).await;
}

/// When an item arrives it is on record, and a stream's record runs at most the one unsent item ahead of it.
async fn each_item_of_a_stream(me: &Caller, record: &mut Record<'_>, expected: usize) {
    let request = me.request(timeline::SubscribeRequest::default());
    let mut stream = me.timeline().subscribe(request).await.unwrap().into_inner();
    let mut recorded = BTreeSet::new();
    let mut came = 0;
    while came < expected {
        let message = tokio::time::timeout(LIMIT, stream.message()).await.unwrap().unwrap().unwrap();
        let Some(Message::Item(item)) = message.message else { continue };
        let item = item.item.unwrap();
        came += 1;
        for row in record.new_rows().await {
            assert_eq!(row.method, "TimelineService/Subscribe");
            assert_eq!(row.events.len(), 1, "one record for each item");
            recorded.extend(row.events);
        }
        assert!(recorded.contains(&item.event_id), "item {} came before its record", item.number);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p7_what_cannot_be_recorded_is_not_served() {
    let world = World::start(PROGRAM).await.unwrap();
    let program = world.ready().await.unwrap();
    let hospital = world.caller(&program, HOSPITAL).await.unwrap();
    let me = world.caller(&program, COORDINATOR).await.unwrap();
    let ward = world.caller(&program, WARD).await.unwrap();
    let request = hospital.request(referral(me.post, "kita_A"));
    let sent = hospital.referrals().submit_referral(request).await.unwrap().into_inner();
    let asked = Asked::about(&me, ward, sent).await;
    world.views_reach_the_log().await.unwrap();
    let sql = async |statement: &str| world.stack.postgres.sql("tasuki", statement).await.unwrap();

    assert_eq!(refusals(&me, &asked).await, [], "all is served while reads go on record");
    sql("CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN RAISE EXCEPTION 'no room for a record'; END $$; \
         CREATE TRIGGER refuse BEFORE INSERT ON log.reads FOR EACH ROW EXECUTE FUNCTION refuse()")
    .await;
    let before = sql("SELECT count(*) FROM log.reads").await;
    let refused = refusals(&me, &asked).await;
    let methods: Vec<&String> = refused.iter().map(|(method, _)| method).collect();
    assert_eq!(methods, METHODS.iter().collect::<Vec<_>>(), "served without a record");
    assert!(refused.iter().all(|(_, code)| *code == Code::Unavailable), "{refused:?}");
    assert_eq!(sql("SELECT count(*) FROM log.reads").await, before);
    sql("DROP TRIGGER refuse ON log.reads").await;
    assert_eq!(refusals(&me, &asked).await, [], "all is served again");
}

#[tokio::test(flavor = "multi_thread")]
async fn p7_no_answer_leaves_while_its_record_waits() {
    let world = World::start(PROGRAM).await.unwrap();
    let program = world.ready().await.unwrap();
    let hospital = world.caller(&program, HOSPITAL).await.unwrap();
    let me = world.caller(&program, COORDINATOR).await.unwrap();
    let ward = world.caller(&program, WARD).await.unwrap();
    let request = hospital.request(referral(me.post, "kita_A"));
    let sent = hospital.referrals().submit_referral(request).await.unwrap().into_inner();
    let asked = Asked::about(&me, ward, sent).await;
    world.views_reach_the_log().await.unwrap();
    let (blocker, connection) =
        tokio_postgres::connect(&world.database_url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);

    for method in METHODS.iter() {
        blocker.batch_execute("BEGIN; LOCK TABLE log.reads IN SHARE MODE").await.unwrap();
        let (me, asked) = (me.clone(), asked.clone());
        let answer = tokio::spawn(async move { call(method, &me, &asked).await });
        eventually(&format!("the record of {method} waits for the table"), LIMIT, || async {
            let waiting = "SELECT count(*) FROM pg_locks AS l JOIN pg_class AS c ON c.oid = l.relation \
                           WHERE NOT l.granted AND c.relname LIKE 'reads%'";
            blocker.query_one(waiting, &[]).await.unwrap().get::<_, i64>(0) > 0
        })
        .await;
        // The same connection has answered since: an answer that did not wait would have arrived.
        assert!(!answer.is_finished(), "{method} was answered before its record");
        blocker.batch_execute("COMMIT").await.unwrap();
        answer.await.unwrap().unwrap_or_else(|status| panic!("{method}: {status:?}"));
    }
}

/// Methods of the contract that are no command and yet need no record, and why.
const WITHOUT_A_RECORD: [(&str, &str); 4] = [
    ("GetPost", "the directory names agencies and posts, and nobody who is cared for"),
    ("ListPosts", "the same"),
    ("BeginAttachment", "it takes an announcement, and answers with an id"),
    ("PutChunk", "it takes bytes, and gives none"),
];

/// What asks for a record: each method of the contract whose request is none of a command and that is not excepted.
///
/// A new one is in it by itself, and [`call`] then fails until it knows how to call it.
static METHODS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let pool = DescriptorPool::decode(tasuki_contract::DESCRIPTORS).unwrap();
    let (mut methods, mut without) = (Vec::new(), BTreeSet::new());
    for service in pool.services().filter(|s| s.full_name().starts_with("tasuki.")) {
        for method in service.methods().filter(|method| !is_command(method)) {
            let name = method.name().to_owned();
            if WITHOUT_A_RECORD.iter().any(|(excepted, _)| *excepted == name) {
                without.insert(name);
            } else {
                assert!(!methods.contains(&name), "two methods are called {name}");
                methods.push(name);
            }
        }
    }
    assert_eq!(without.len(), WITHOUT_A_RECORD.len(), "an exception is needed no more");
    assert!(methods.len() >= 8, "{methods:?}");
    methods
});

/// A command carries a command context, and answers with a receipt.
fn is_command(method: &MethodDescriptor) -> bool {
    let holds = |message: MessageDescriptor, field: &str, of: &str| {
        let field = message.get_field_by_name(field);
        field.is_some_and(|field| matches!(field.kind(), Kind::Message(kind) if kind.full_name() == of))
    };
    let context = holds(method.input(), "context", "tasuki.common.v1.CommandContext");
    let receipt = holds(method.output(), "receipt", "tasuki.common.v1.Receipt");
    assert_eq!(context, receipt, "{} is half a command", method.full_name());
    context
}

/// What the methods are asked about.
#[derive(Clone)]
struct Asked {
    sent: intake::SubmitReferralResponse,
    attachment: String,
    ward: Caller,
}

impl Asked {
    /// A referral that the reader has accepted, and a document of its own in that case.
    async fn about(me: &Caller, ward: Caller, sent: intake::SubmitReferralResponse) -> Self {
        let accept = intake::AcceptReferralRequest {
            referral_id: sent.referral_id.clone(),
            first_contact_on: day(1),
            ..Default::default()
        };
        me.referrals().accept_referral(me.request(accept)).await.unwrap();
        let paper = Paper::pdf(&sent.case_id, DataClass::Support, "例示", 100);
        let attachment = paper.add(me).await.unwrap();
        Self { sent, attachment, ward }
    }
}

/// The methods that served nothing, and with which code.
async fn refusals(me: &Caller, asked: &Asked) -> Vec<(String, Code)> {
    let mut refused = Vec::new();
    for method in METHODS.iter() {
        if let Err(status) = call(method, me, asked).await {
            refused.push((method.clone(), status.code()));
        }
    }
    refused
}

/// Reads once by that method, as the coordinator or, what is the ward's alone, as the ward; of a stream the first item.
async fn call(method: &str, me: &Caller, asked: &Asked) -> Result<(), Status> {
    let ward = &asked.ward;
    let (case_id, referral_id) = (asked.sent.case_id.clone(), asked.sent.referral_id.clone());
    let (mut views, mut referrals) = (me.timeline(), me.referrals());
    match method {
        "GetCaseCard" => {
            let request = timeline::GetCaseCardRequest { case_id, ..Default::default() };
            views.get_case_card(me.request(request)).await.map(drop)
        }
        "ExplainAccess" => {
            let request = timeline::ExplainAccessRequest { case_id, ..Default::default() };
            views.explain_access(me.request(request)).await.map(drop)
        }
        "GetTimeline" => {
            let request = timeline::GetTimelineRequest { case_id, ..Default::default() };
            views.get_timeline(me.request(request)).await.map(drop)
        }
        "ListCaseload" => views.list_caseload(me.request(Default::default())).await.map(drop),
        "ListDuties" => views.list_duties(me.request(Default::default())).await.map(drop),
        "GetFeedHead" => views.get_feed_head(me.request(Default::default())).await.map(drop),
        "ListFeedLinks" => views.list_feed_links(me.request(Default::default())).await.map(drop),
        "ListReads" => {
            let request = timeline::ListReadsRequest { case_id, ..Default::default() };
            views.list_reads(me.request(request)).await.map(drop)
        }
        "ReadFeed" => views.read_feed(me.request(Default::default())).await.map(drop),
        "Subscribe" => {
            let mut stream = views.subscribe(me.request(Default::default())).await?.into_inner();
            loop {
                let message = tokio::time::timeout(LIMIT, stream.message()).await.unwrap()?;
                match message.and_then(|message| message.message) {
                    Some(Message::Item(_)) => return Ok(()),
                    Some(Message::Heartbeat(heartbeat)) if !heartbeat.caught_up => {}
                    other => panic!("neither an item nor an error: {other:?}"),
                }
            }
        }
        "ListConsents" => {
            let request = consent::ListConsentsRequest { case_id, ..Default::default() };
            me.consents().list_consents(me.request(request)).await.map(drop)
        }
        "GetAttachment" | "ReadChunk" => {
            let attachment_id = asked.attachment.clone();
            let mut documents = me.attachments();
            if method == "ReadChunk" {
                let request = pb::ReadChunkRequest { attachment_id, index: 0 };
                documents.read_chunk(me.request(request)).await.map(drop)
            } else {
                let request = pb::GetAttachmentRequest { attachment_id };
                documents.get_attachment(me.request(request)).await.map(drop)
            }
        }
        "ListAttachments" => {
            let request = pb::ListAttachmentsRequest { case_id, ..Default::default() };
            me.attachments().list_attachments(me.request(request)).await.map(drop)
        }
        "GetReferral" => {
            let request = intake::GetReferralRequest { referral_id, ..Default::default() };
            referrals.get_referral(me.request(request)).await.map(drop)
        }
        "ListReferrals" => referrals.list_referrals(me.request(Default::default())).await.map(drop),
        "SearchChild" => {
            let mut request = me.request(identity::SearchChildRequest {
                identifier_key: "patient_id".to_owned(),
                identifier: "1".to_owned(),
                ..Default::default()
            });
            request.metadata_mut().insert("x-purpose", "intake".parse().unwrap());
            me.identity().search_child(request).await.map(drop)
        }
        "GetIdentityDoubt" => {
            let request = identity::GetIdentityDoubtRequest { case_id };
            ward.identity().get_identity_doubt(ward.request(request)).await.map(drop)
        }
        other => panic!("{other} reads, and this test does not know how to call it"),
    }
}
