//! Two worlds with the same keys, the same directory and, of each bundle, a history of its own; in each the program runs
//! with all roles, on its own PostgreSQL and nats-server.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use tasuki_auth::Verifier;
use tasuki_domain::circle::changes_disclosure;
use tasuki_domain::identity;
use tasuki_kit::{Platform, PlatformOptions};
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
const VIEWS_LIMIT: Duration = Duration::from_secs(600);

/// One of the two.
pub struct Side {
    pub world: World,
    _program: Program,
    channels: Vec<Channel>,
}

impl Side {
    /// Lays the histories down, then starts the program on them.
    pub async fn start(world: World, program: &str, directory: &[Step], bundles: &[Vec<Step>]) -> Self {
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
        let program = {
            let _ = program;
            world.serve("all").await.unwrap()
        };
        let head = world.reader().unwrap().head().await.unwrap().0;
        let views = world.views().unwrap();
        eventually("the views hold the histories", VIEWS_LIMIT, || async {
            views.position().await.is_ok_and(|at| at.position >= head)
        })
        .await;
        let endpoint = Endpoint::from_shared(program.address().to_owned()).unwrap();
        let connect = |_| endpoint.connect();
        let channels = futures::stream::iter(0..CONNECTIONS).then(connect).try_collect().await.unwrap();
        Self { world, _program: program, channels }
    }

    /// Somebody who calls for a post.
    pub fn caller(&self, viewer: &tasuki_privacy::Viewer, bundle: usize) -> Caller {
        let issuer = self.world.secrets.issuer.as_ref().unwrap();
        let token = tasuki::token::for_post(issuer, viewer.agency, viewer.post, 7_200).unwrap();
        Caller { channel: self.channels[bundle % CONNECTIONS].clone(), token, post: viewer.post }
    }
}

async fn platform(world: &World) -> Platform {
    let database = Database::new(&world.database_url, 8).unwrap();
    tasuki_log::migrate(&database).await.unwrap();
    let issuer = world.secrets.issuer.as_ref().unwrap();
    let verifier = Arc::new(Verifier::new(vec![issuer.trust("tasuki").unwrap()]).unwrap());
    let keyring = world.secrets.keyring.clone();
    let writer = WriterOptions { patience: Duration::from_secs(60), ..WriterOptions::default() };
    Platform::start(PlatformOptions { database, keyring, verifier, writer }).await.unwrap()
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
    let disclosures = chunk.iter().filter(|(step, _)| moves(step)).flat_map(|(step, _)| &step.decided.cases);
    let append = Append {
        agency: chunk[0].0.actor.agency.0,
        request_id: Uuid::now_v7().to_string(),
        digest: vec![0; 32],
        events: events.collect(),
        relied_on: Vec::new(),
        disclosures: disclosures.copied().collect(),
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
}

/// The database says when an event is recorded; two histories can only be equal when it says the same twice.
async fn at_their_times(world: &World, steps: impl Iterator<Item = &Step>) {
    let (ids, times): (Vec<Uuid>, Vec<i64>) = steps.map(|step| (step.id, step.at_us)).unzip();
    let client = Database::new(&world.database_url, 1).unwrap().connect().await.unwrap();
    let update = "UPDATE log.events AS e SET recorded_at = t.at \
                  FROM unnest($1::uuid[], $2::int8[]) AS t(id, at) WHERE e.event_id = t.id";
    client.execute(update, &[&ids, &times]).await.unwrap();
}
