//! Two worlds with the same keys, the same directory and, of each bundle, a history of its own; in each the program runs
//! with all roles, on its own PostgreSQL and nats-server.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use tasuki_auth::Verifier;
use tasuki_contract::Event;
use tasuki_contract::attachments::v1::AttachmentAdded;
use tasuki_domain::circle::changes_disclosure;
use tasuki_domain::decision::Kind;
use tasuki_domain::identity;
use tasuki_kit::{Platform, PlatformOptions};
use tasuki_log::attachments::{Begun, NewAttachment, Put};
use tasuki_log::{Append, BlindEntry, Database, NewEvent, WriterOptions};
use tasuki_tests::{Caller, Program, World, eventually};
use tonic::transport::{Channel, Endpoint};
use uuid::Uuid;

use crate::history::{Step, with_versions};

/// Appends that are under way at once.
const APPENDS_MAX: usize = 128;
/// Events of one append.
const CHUNK: usize = 100;
const CONNECTIONS: usize = 4;
const NOTICES_LIMIT: Duration = Duration::from_secs(60);
const VIEWS_LIMIT: Duration = Duration::from_secs(600);

/// One of the two.
pub struct Side {
    pub world: World,
    views: tasuki_views::Views,
    notices: Notices,
    _program: Program,
    channels: Vec<Channel>,
}

impl Side {
    /// Lays the histories down, then starts the program on them.
    pub async fn start(world: World, directory: &[Step], bundles: &[Vec<Step>]) -> Self {
        let platform = platform(&world).await;
        for chunk in chunks(directory) {
            append(&platform, &chunk).await;
        }
        let all: Vec<_> = bundles.iter().flat_map(|steps| chunks_in_turn(steps)).collect();
        futures::stream::iter(all)
            .for_each_concurrent(APPENDS_MAX, |bundle| {
                let platform = &platform;
                async move {
                    for chunk in bundle {
                        append(platform, &chunk).await;
                    }
                }
            })
            .await;
        at_their_times(&world, directory.iter().chain(bundles.iter().flatten())).await;
        drop(platform);
        let notices = listen(&world).await;
        let program = world.serve("all").await.unwrap();
        let head = world.reader().unwrap().head().await.unwrap().0;
        let views = world.views().unwrap();
        eventually("the views hold the histories", VIEWS_LIMIT, || async {
            views.position().await.is_ok_and(|at| at.position >= head)
        })
        .await;
        let endpoint = Endpoint::from_shared(program.address().to_owned()).unwrap();
        let connect = |_| endpoint.connect();
        let channels = futures::stream::iter(0..CONNECTIONS).then(connect).try_collect().await.unwrap();
        Self { world, views, notices, _program: program, channels }
    }

    /// What the post was told on NATS, in its order, once it was told of all that is in its feed.
    pub async fn told(&self, viewer: &tasuki_privacy::Viewer) -> Vec<(String, Vec<u8>)> {
        let in_feed = self.views.feed_head(viewer.post).await.unwrap() as usize;
        let subject = format!("tasuki.feed.{}.{}", viewer.agency, viewer.post);
        let told = || self.notices.lock().unwrap().get(&subject).cloned().unwrap_or_default();
        eventually("the post is told of its feed", NOTICES_LIMIT, || async { told().len() >= in_feed }).await;
        told()
    }

    /// Somebody who calls for a post.
    pub fn caller(&self, viewer: &tasuki_privacy::Viewer, bundle: usize) -> Caller {
        let issuer = self.world.secrets.issuer.as_ref().unwrap();
        let token = tasuki::token::for_post(issuer, viewer.agency, viewer.post, 7_200).unwrap();
        Caller { channel: self.channels[bundle % CONNECTIONS].clone(), token, post: viewer.post }
    }
}

/// Headers and body of what came on each subject.
type Notices = Arc<Mutex<BTreeMap<String, Vec<(String, Vec<u8>)>>>>;

/// Listens to the notices of every post.
async fn listen(world: &World) -> Notices {
    let creds = world.secrets.operator.as_ref().unwrap().service_creds().unwrap();
    let options = async_nats::ConnectOptions::with_credentials(&creds).unwrap();
    let client = options.connect(world.stack.nats.url()).await.unwrap();
    let mut stream = client.subscribe("tasuki.feed.>").await.unwrap();
    client.flush().await.unwrap();
    let notices = Notices::default();
    let into = notices.clone();
    tokio::spawn(async move {
        let _client = client;
        while let Some(message) = stream.next().await {
            let headers = message.headers.iter().flat_map(async_nats::HeaderMap::iter);
            let mut headers: Vec<String> =
                headers.map(|(name, values)| format!("{name} {values:?}")).collect();
            headers.sort();
            let told = (headers.join(";"), message.payload.to_vec());
            into.lock().unwrap().entry(message.subject.to_string()).or_default().push(told);
        }
    });
    notices
}

async fn platform(world: &World) -> Platform {
    let database = Database::new(&world.database_url, 8).unwrap();
    tasuki_log::migrate(&database).await.unwrap();
    let issuer = world.secrets.issuer.as_ref().unwrap();
    let verifier = Arc::new(Verifier::new(vec![issuer.trust("tasuki").unwrap()]).unwrap());
    let keyring = world.secrets.keyring.clone();
    let writer = WriterOptions { patience: Duration::from_secs(60), ..WriterOptions::default() };
    let keys = database.for_keys(None, 4).unwrap();
    tasuki_log::begin(&database, &keys, &keyring).await.unwrap();
    let clock = tasuki_kit::clock::Clock::default();
    Platform::start(PlatformOptions { database, keys, keyring, verifier, writer, clock }).await.unwrap()
}

/// Steps with their versions.
type Chunk = Vec<(Step, u64)>;

fn chunks(steps: &[Step]) -> Vec<Chunk> {
    let all: Vec<(Step, u64)> = with_versions(steps).map(|(step, version)| (step.clone(), version)).collect();
    all.chunks(CHUNK).map(<[_]>::to_vec).collect()
}

fn chunks_in_turn(steps: &[Step]) -> Option<Vec<Chunk>> {
    (!steps.is_empty()).then(|| chunks(steps))
}

async fn append(platform: &Platform, chunk: &[(Step, u64)]) {
    let events = chunk
        .iter()
        .map(|(step, version)| NewEvent { header: step.header(*version), event: step.decided.event.clone() });
    let moves =
        |step: &Step| changes_disclosure(&step.decided.effects) || !step.decided.effects.items.is_empty();
    let moved = chunk.iter().filter(|(step, _)| moves(step)).flat_map(|(step, _)| step.decided.cases.clone());
    // The rules of a municipality are held by every read of its cases.
    let of_rules = chunk.iter().filter(|(step, _)| step.decided.stream.kind == Kind::Municipality);
    let disclosures = moved.chain(of_rules.map(|(step, _)| step.decided.stream.id));
    let append = Append {
        agency: chunk[0].0.actor.agency.0,
        request_id: Uuid::now_v7().to_string(),
        digest: vec![0; 32],
        events: events.collect(),
        relied_on: Vec::new(),
        disclosures: disclosures.collect(),
        reply: Vec::new(),
        urgent: false,
    };
    let said = chunk.iter().flat_map(|(step, _)| {
        let clues = identity::clues_of(std::slice::from_ref(&step.decided), step.actor.agency);
        clues.into_iter().map(|(_, case, clue)| BlindEntry {
            case: case.0,
            kind: clue.kind.number(),
            token: platform.keyring().blind_token(clue.kind.number(), &clue.text),
            event: step.id,
        })
    });
    platform.writer().append_indexed(append, said.collect()).await.unwrap();
    for (step, _) in chunk {
        if let Event::AttachmentAdded(added) = &step.decided.event {
            put(platform, step, added).await;
        }
    }
}

/// The bytes of a document: its title again and again, so that whoever gets others gets another title.
async fn put(platform: &Platform, step: &Step, added: &AttachmentAdded) {
    let [attachment, case] = [&added.attachment_id, &added.case_id].map(|id| Uuid::try_parse(id).unwrap());
    let new = NewAttachment {
        attachment,
        case,
        agency: step.actor.agency.0,
        post: step.actor.post.0,
        request_id: added.attachment_id.clone(),
        request_digest: Vec::new(),
        about: Vec::new(),
    };
    let attachments = platform.attachments();
    match attachments.begin(&new, i64::MAX).await {
        Ok(begun) => assert_eq!(begun, Begun::As(attachment)),
        // Nothing of what was said about the case is left in this history, hence no key.
        Err(_) => return,
    }
    let bytes: Vec<u8> = added.title.bytes().cycle().take(added.size_bytes as usize).collect();
    assert_eq!(attachments.put(attachment, case, &added.sha256, 0, &bytes).await.unwrap(), Put::Kept);
    attachments.settle(attachment).await.unwrap();
}

/// The database says when an event is recorded; two histories can only be equal when it says the same twice.
async fn at_their_times(world: &World, steps: impl Iterator<Item = &Step>) {
    let (ids, times): (Vec<Uuid>, Vec<i64>) = steps.map(|step| (step.id, step.at_us)).unzip();
    let client = Database::new(&world.database_url, 1).unwrap().connect().await.unwrap();
    let update = "UPDATE log.events AS e SET recorded_at = t.at \
                  FROM unnest($1::uuid[], $2::int8[]) AS t(id, at) WHERE e.event_id = t.id";
    client.execute(update, &[&ids, &times]).await.unwrap();
}
