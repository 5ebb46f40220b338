//! A log, its views and the service, without a network: posts call it through the generated trait.
//!
//! Views move only when a test says so, so that what happens before and behind them can be told apart.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tasuki_auth::{DevGrant, DevIssuer, Verifier};
use tasuki_contract::common::v1::{Fact, fact::Value};
use tasuki_contract::directory::v1::{AgencyRegistered, PostCreated, PostHolderChanged};
use tasuki_contract::event::v1::{
    CircleChange, Effects, GrantChange, Header, LeadChange, Recipient, Relation, StreamKind, recipient::Who,
};
use tasuki_contract::intake::v1::ReferralSubmitted;
use tasuki_contract::timeline::v1 as pb;
use tasuki_contract::timeline::v1::subscribe_response::Message;
use tasuki_contract::timeline::v1::timeline_service_server::TimelineService as _;
use tasuki_contract::{DataClass, Event};
use tasuki_kit::clock::Clock;
use tasuki_kit::{Platform, PlatformOptions, ViewSignals};
use tasuki_log::{Append, Database, Keyring, NewEvent, WriterOptions};
use tasuki_standalone::Postgres;
use tasuki_timeline::{Timeline, TimelineOptions};
use tasuki_views::{Applied, Projection, Views};
use tokio::sync::Mutex;
use tokio_stream::StreamExt as _;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Status};
use uuid::Uuid;

pub const AUDIENCE: &str = "tasuki";
/// Nothing here takes so long, unless it never comes.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A post of a fixed agency kind; its ids follow from its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Post(pub u128, pub &'static str);

pub const COORDINATOR: Post = Post(1, "mcc_coordinator_office");
pub const HOSPITAL: Post = Post(2, "hospital");
pub const NURSES: Post = Post(3, "visiting_nurse_station");
pub const NURSERY: Post = Post(4, "nursery");
pub const STRANGER: Post = Post(5, "school_entry_consultation");
const POSTS: [Post; 5] = [COORDINATOR, HOSPITAL, NURSES, NURSERY, STRANGER];

impl Post {
    pub fn id(self) -> Uuid {
        Uuid::from_u128(0x1000 + self.0)
    }
    pub fn agency(self) -> Uuid {
        Uuid::from_u128(0x2000 + self.0)
    }
    pub fn subject(self) -> String {
        format!("subject_{}", self.0)
    }
}

pub type Stream =
    <Timeline as tasuki_contract::timeline::v1::timeline_service_server::TimelineService>::SubscribeStream;

pub struct World {
    pub platform: Platform,
    pub timeline: Timeline,
    pub drain: CancellationToken,
    /// By which is read.
    pub clock: Clock,
    issuer: DevIssuer,
    projection: Mutex<Projection>,
    pub signals: ViewSignals,
    log: Database,
    database: String,
    postgres: Arc<Postgres>,
}

impl World {
    pub async fn start() -> Self {
        Self::with_times(Duration::from_millis(300), Duration::from_millis(100)).await
    }

    /// A world whose streams do nothing by themselves within a test's time.
    pub async fn by_signals_alone() -> Self {
        Self::with_times(PATIENCE * 10, PATIENCE * 10).await
    }

    async fn with_times(heartbeat: Duration, poll: Duration) -> Self {
        let postgres = Postgres::shared().await.unwrap();
        let database = format!("timeline_{}", Uuid::now_v7().simple());
        let url = postgres.create_database(&database).await.unwrap();
        let log = Database::new(&url, 8).unwrap();
        tasuki_log::migrate(&log).await.unwrap();
        tasuki_views::migrate(&url).await.unwrap();
        let issuer = DevIssuer::generate().unwrap();
        let verifier = Arc::new(Verifier::new(vec![issuer.trust(AUDIENCE).unwrap()]).unwrap());
        let keyring = Keyring::generate().unwrap();
        let clock = Clock::default();
        tasuki_log::begin(&log, &log, &keyring).await.unwrap();
        let options = PlatformOptions {
            database: log.clone(),
            keys: log.clone(),
            keyring,
            verifier,
            writer: WriterOptions::default(),
            clock: clock.clone(),
        };
        let platform = Platform::start(options).await.unwrap();
        let views = Views::new(&url, 8).unwrap();
        let signals = ViewSignals::default();
        let drain = CancellationToken::new();
        let times =
            TimelineOptions { heartbeat, poll, ..TimelineOptions::new(signals.clone(), drain.clone()) };
        let timeline = Timeline::new(platform.clone(), views, times);
        tokio::spawn(platform.clone().follow_directory(Duration::from_millis(100), drain.clone()));
        let projection = Mutex::new(Projection::lead(&url).await.unwrap());
        let world =
            Self { platform, timeline, drain, clock, issuer, projection, signals, log, database, postgres };
        world.register().await;
        world
    }

    async fn register(&self) {
        for post in POSTS {
            let agency = AgencyRegistered {
                agency_id: post.agency().to_string(),
                kind: post.1.into(),
                telephone: format!("00-0000-000{}", post.0),
                ..Default::default()
            };
            self.append(post, StreamKind::Agency, post.agency(), vec![(agency.into(), Effects::default())])
                .await;
            let created = PostCreated {
                post_id: post.id().to_string(),
                agency_id: post.agency().to_string(),
                ..Default::default()
            };
            let holders = holders(post, vec![post.subject()]);
            let events = vec![(created.into(), Effects::default()), (holders, Effects::default())];
            self.append(post, StreamKind::Post, post.id(), events).await;
        }
        self.platform.refresh_directory().await.unwrap();
        self.project().await;
    }

    /// Appends to one stream and gives the ids of the events.
    pub async fn append(
        &self,
        actor: Post,
        kind: StreamKind,
        stream: Uuid,
        events: Vec<(Event, Effects)>,
    ) -> Vec<Uuid> {
        let version =
            self.platform.reader().versions(&[stream]).await.unwrap().first().map_or(0, |(_, v)| *v);
        let case = (kind == StreamKind::Case).then_some(stream);
        let mut ids = Vec::new();
        let mut disclosures = Vec::new();
        let events = events.into_iter().zip(version + 1..).map(|((event, effects), version)| {
            if tasuki_domain::circle::changes_disclosure(&effects) {
                disclosures.extend(case);
            }
            let event_id = Uuid::now_v7();
            ids.push(event_id);
            let header = Header {
                event_id: event_id.to_string(),
                r#type: event.rule().type_name.into(),
                schema: event.rule().schema,
                stream_kind: kind as i32,
                stream_id: stream.to_string(),
                version,
                agency_id: actor.agency().to_string(),
                post_id: actor.id().to_string(),
                purpose: "care_coordination".into(),
                occurred_at: Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 0 }),
                case_ids: case.iter().map(Uuid::to_string).collect(),
                data_class: event.rule().class as i32,
                effects: Some(effects),
                ..Header::default()
            };
            NewEvent { header, event }
        });
        let events: Vec<NewEvent> = events.collect();
        let append = Append {
            agency: actor.agency(),
            request_id: Uuid::now_v7().to_string(),
            digest: vec![0; 32],
            events,
            relied_on: Vec::new(),
            disclosures,
            reply: Vec::new(),
            urgent: false,
        };
        self.platform.writer().append(append).await.unwrap();
        ids
    }

    /// Appends one event to a case.
    pub async fn tell(&self, actor: Post, case: Uuid, event: impl Into<Event>, effects: Effects) -> Uuid {
        self.append(actor, StreamKind::Case, case, vec![(event.into(), effects)]).await[0]
    }

    /// Opens a case: the coordinator leads, the hospital refers, a grant of `classes` covers `to`.
    pub async fn open_case(&self, classes: &[DataClass], to: &[Post]) -> Uuid {
        let case = Uuid::now_v7();
        let opened = tasuki_contract::cases::v1::CaseOpened {
            case_id: case.to_string(),
            municipality_code: "999997".into(),
            lead_post_id: COORDINATOR.id().to_string(),
            label: "MARK-LABEL".into(),
            facts: vec![text("name_kanji", "MARK-NAME")],
        };
        let mut effects = joins(case, &[(COORDINATOR, Relation::Ward), (HOSPITAL, Relation::Sender)]);
        effects.leads.push(LeadChange { case_id: case.to_string(), post_id: COORDINATOR.id().to_string() });
        effects.party_post_ids = vec![COORDINATOR.id().to_string(), HOSPITAL.id().to_string()];
        effects.grants.push(grant(case, classes, to));
        self.tell(HOSPITAL, case, opened, effects).await;
        case
    }

    /// A referral with facts, from the hospital to the coordinator.
    pub async fn refer(&self, case: Uuid, facts: Vec<Fact>) -> Uuid {
        let referral = ReferralSubmitted {
            referral_id: Uuid::now_v7().to_string(),
            case_id: case.to_string(),
            message: "MARK-MESSAGE".into(),
            facts,
            ..Default::default()
        };
        let party_post_ids = vec![HOSPITAL.id().to_string(), COORDINATOR.id().to_string()];
        self.tell(HOSPITAL, case, referral, Effects { party_post_ids, ..Effects::default() }).await
    }

    /// Ends the grant of a case.
    pub async fn withdraw(&self, case: Uuid) -> Uuid {
        let ends = GrantChange {
            case_id: case.to_string(),
            grant_id: grant_id(case),
            ends: true,
            ..GrantChange::default()
        };
        let event = tasuki_contract::consent::v1::ConsentActivated::default();
        let party_post_ids = vec![COORDINATOR.id().to_string()];
        self.tell(
            COORDINATOR,
            case,
            event,
            Effects { grants: vec![ends], party_post_ids, ..Effects::default() },
        )
        .await
    }

    /// Brings the views up to the log, and tells those who have news.
    pub async fn project(&self) {
        for batch in self.project_in_silence().await {
            let grown = batch.news.iter().map(|news| (news.post, news.number));
            self.signals.tell(batch.position, batch.feed_epoch, grown);
        }
    }

    /// The same without a word to anybody: every signal is lost. Returns what would have been told.
    pub async fn project_in_silence(&self) -> Vec<Applied> {
        let mut projection = self.projection.lock().await;
        let mut batches = Vec::new();
        loop {
            let records = self.platform.reader().after(projection.position(), 500).await.unwrap();
            if records.is_empty() {
                return batches;
            }
            let envelopes: Vec<_> = records.iter().map(tasuki_log::Record::envelope).collect();
            batches.push(projection.apply(&envelopes).await.unwrap());
        }
    }

    /// A call of a post, with a token that holds for `lifetime_s`.
    pub fn request_for<T>(&self, post: Post, lifetime_s: i64, message: T) -> Request<T> {
        let grant = DevGrant {
            subject: post.subject(),
            audience: AUDIENCE.into(),
            agency: post.agency(),
            posts: vec![post.id()],
            operator: false,
            issued_at_s: jiff::Timestamp::now().as_second(),
            lifetime_s,
        };
        let token = self.issuer.issue(&grant).unwrap();
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        request.metadata_mut().insert("x-purpose", "care_coordination".parse().unwrap());
        request
    }

    pub fn request<T>(&self, post: Post, message: T) -> Request<T> {
        self.request_for(post, 600, message)
    }

    pub async fn card(&self, post: Post, case: impl ToString) -> Result<pb::GetCaseCardResponse, Status> {
        let message = pb::GetCaseCardRequest { case_id: case.to_string(), ..Default::default() };
        self.timeline.get_case_card(self.request(post, message)).await.map(tonic::Response::into_inner)
    }

    pub async fn history(&self, post: Post, case: impl ToString) -> Result<Vec<pb::TimelineItem>, Status> {
        let message =
            pb::GetTimelineRequest { case_id: case.to_string(), page_size: 200, ..Default::default() };
        self.timeline.get_timeline(self.request(post, message)).await.map(|r| r.into_inner().items)
    }

    pub async fn read(
        &self,
        post: Post,
        request: pb::ReadFeedRequest,
    ) -> Result<pb::ReadFeedResponse, Status> {
        self.timeline.read_feed(self.request(post, request)).await.map(tonic::Response::into_inner)
    }

    pub async fn subscribe(&self, post: Post, cursor: &str) -> Result<Stream, Status> {
        let message = pb::SubscribeRequest { cursor: cursor.into() };
        self.timeline.subscribe(self.request(post, message)).await.map(tonic::Response::into_inner)
    }

    /// Holds what a statement takes, until dropped.
    pub async fn hold(&self, statement: &str) -> impl Sized {
        let client = self.log.connect().await.unwrap();
        client.batch_execute(&format!("BEGIN; {statement}")).await.unwrap();
        client
    }

    /// One value of the database.
    pub async fn sql(&self, statement: &str) -> String {
        self.postgres.sql(&self.database, statement).await.unwrap()
    }

    /// How many reads are on record for a method of the service.
    pub async fn reads(&self, method: &str) -> usize {
        let count = format!("SELECT count(*) FROM log.reads WHERE method = 'TimelineService/{method}'");
        self.sql(&count).await.parse().unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.drain.cancel();
    }
}

pub fn grant_id(case: Uuid) -> String {
    Uuid::from_u128(case.as_u128() ^ 1).to_string()
}

pub fn grant(case: Uuid, classes: &[DataClass], to: &[Post]) -> GrantChange {
    GrantChange {
        case_id: case.to_string(),
        grant_id: grant_id(case),
        recipients: to.iter().map(|p| Recipient { who: Some(Who::PostId(p.id().to_string())) }).collect(),
        classes: classes.iter().map(|c| *c as i32).collect(),
        ..GrantChange::default()
    }
}

pub fn joins(case: Uuid, posts: &[(Post, Relation)]) -> Effects {
    let change = |(post, relation): &(Post, Relation)| CircleChange {
        case_id: case.to_string(),
        post_id: post.id().to_string(),
        relation: *relation as i32,
        ends: false,
    };
    Effects { circle: posts.iter().map(change).collect(), ..Effects::default() }
}

pub fn holders(post: Post, holder_subjects: Vec<String>) -> Event {
    PostHolderChanged { post_id: post.id().to_string(), holder_subjects }.into()
}

pub fn text(key: &str, value: &str) -> Fact {
    Fact { key: key.into(), value: Some(Value::Text(value.into())), ..Fact::default() }
}

/// Waits for something, but not for ever.
pub async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| panic!("{what} did not come"))
}

/// Waits until a condition holds.
pub async fn until<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    let met = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    within(what, met).await;
}

/// The next item of a stream; heartbeats are passed over.
pub async fn next_item(stream: &mut Stream) -> Result<pb::FeedItem, Status> {
    let next = async {
        loop {
            match stream.next().await.expect("the stream ended without a word")?.message.unwrap() {
                Message::Item(item) => return Ok(item),
                Message::Heartbeat(_) => {}
            }
        }
    };
    within("an item", next).await
}

/// Everything up to the word that the client is caught up.
pub async fn history_of(stream: &mut Stream) -> Vec<pb::FeedItem> {
    let mut items = Vec::new();
    let all = async {
        loop {
            match stream.next().await.unwrap().unwrap().message.unwrap() {
                Message::Item(item) => items.push(item),
                Message::Heartbeat(beat) if beat.caught_up => return,
                Message::Heartbeat(_) => {}
            }
        }
    };
    within("the end of history", all).await;
    items
}

/// The stable reason of an error.
pub fn reason(status: &Status) -> String {
    use tonic_types::StatusExt as _;
    status.get_error_details().error_info().map(|info| info.reason.clone()).unwrap_or_default()
}
