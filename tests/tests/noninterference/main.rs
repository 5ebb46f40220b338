//! P4, non-interference: two histories that are equal for a viewer, once filtered by audience and reduced, give it the same
//! answers, byte for byte: every query with its pages, every stream with its cursors, every notice, every error. Commands
//! are taken or refused alike.
//!
//! `TASUKI_PAIRS` says how many pairs of histories are tried at least; `./dev prove` tries more.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../edges/answer.rs"]
#[allow(dead_code)]
mod answer;
mod asking;
mod declassified;
mod history;
mod mutate;
mod people;
mod perceive;
#[path = "../edges/samples.rs"]
#[allow(dead_code)]
mod samples;
mod twin;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt as _;
use prost_reflect::DescriptorPool;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{RngExt as _, SeedableRng as _};
use tasuki_domain::directory::Directory;
use tasuki_privacy::Viewer;
use tasuki_tests::{Seed, World};
use uuid::Uuid;

use crate::asking::{About, Pair, Question};
use crate::declassified::Declassified;
use crate::history::{Author, Step, Things, fold_directory, today};
use crate::people::{KINDS, person};
use crate::perceive::{perceived, perceives_something};
use crate::twin::Side;

const PROGRAM: &str = env!("CARGO_BIN_EXE_tasuki-program");
/// Where a run begins unless told otherwise; `./dev prove` begins elsewhere each time.
const SEED: u64 = 20_261_121;
/// Pairs of histories, each with its viewer, that a run tries unless told otherwise.
const PAIRS: usize = 10_000;
/// Viewers of a bundle for whom its two histories turn out to be equal, as they do on average, seen over many runs.
const VIEWERS_OF_A_BUNDLE: usize = 3;
/// Parties of a bundle for whom no change is to be seen.
const PARTIES_OF_A_BUNDLE: usize = 2;
/// Changes that are tried on a history.
const CHANGES: usize = 8;
/// Commands that are given about a bundle.
const COMMANDS_OF_A_BUNDLE: usize = 6;
/// How long both answers may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(120);
/// Bundles that are asked about at once.
const AT_ONCE: usize = 16;

/// Two histories, and for whom they are equal.
struct Bundle {
    number: usize,
    steps: [Vec<Step>; 2],
    things: [Things; 2],
    viewers: Vec<Viewer>,
}

impl Bundle {
    fn make(pool: &DescriptorPool, directory: &Directory, number: usize, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let (base, extra) = (rng.random_range(2..9), rng.random_range(1..4));
        let written = Author::new(directory, number, rng.random()).write(base);
        let beside = Author::new(directory, number, rng.random()).write(extra);
        let mut spare = beside.steps;
        let day = today();
        let everybody: Vec<Viewer> = (0..KINDS.len()).map(|place| person(number, place)).collect();
        let before: Vec<u64> =
            everybody.iter().map(|viewer| perceived(viewer, &written.steps, day)).collect();
        let nothing = perceived(&everybody[0], &[], day);
        let parties: Vec<usize> = (0..KINDS.len()).filter(|place| before[*place] != nothing).collect();
        // Some of the parties for whom nothing may change; whoever else notices nothing is a viewer too.
        let chosen: Vec<usize> = parties.sample(&mut rng, PARTIES_OF_A_BUNDLE).copied().collect();
        let mut steps = written.steps.clone();
        for _ in 0..CHANGES {
            let mut left = spare.clone();
            let Some(changed) = mutate::changed(pool, &mut rng, number, &steps, &mut left) else { continue };
            let equal = |place: &usize| perceived(&everybody[*place], &changed, day) == before[*place];
            if !changed.is_empty() && chosen.iter().all(equal) {
                (steps, spare) = (changed, left);
            }
        }
        let viewers = if mutate::same(&written.steps, &steps) {
            Vec::new()
        } else {
            let equal = |place: &usize| perceived(&everybody[*place], &steps, day) == before[*place];
            let (mut viewers, outsiders): (Vec<usize>, Vec<usize>) =
                (0..KINDS.len()).filter(equal).partition(|place| before[*place] != nothing);
            viewers.extend(outsiders.choose(&mut rng));
            viewers.into_iter().map(|place| everybody[place].clone()).collect()
        };
        Self { number, steps: [written.steps, steps], things: [written.things, beside.things], viewers }
    }
}

impl Bundle {
    /// Ids of the events of both histories.
    fn events(&self) -> Vec<Uuid> {
        self.steps.iter().flatten().map(|step| step.id).collect()
    }

    /// Both histories in a few words.
    fn told(&self) -> String {
        let step = |step: &Step| {
            let at = if step.decided.cases.is_empty() { "in no case" } else { "" };
            format!("    {} by {} {at}\n", step.decided.event.rule().type_name, step.actor.post)
        };
        let histories = self.steps.each_ref().map(|steps| steps.iter().map(step).collect::<String>());
        histories.join("  and:\n")
    }
}

#[derive(Default)]
struct Tally {
    pairs: usize,
    /// Pairs of which the viewer perceives something.
    of_parties: usize,
    asked: BTreeMap<String, [usize; 2]>,
    complaints: Vec<String>,
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_histories_that_are_equal_for_a_viewer_are_answered_alike() {
    let mut seed = Seed::given_or("noninterference", || SEED);
    let pairs: usize = std::env::var("TASUKI_PAIRS").ok().and_then(|n| n.parse().ok()).unwrap_or(PAIRS);
    let pool = asking::pool();
    let count = pairs.div_ceil(VIEWERS_OF_A_BUNDLE);
    let registered = people::directory(count);
    let directory = Arc::new(fold_directory(&registered));
    let seeds: Vec<u64> = (0..count).map(|_| seed.0.random()).collect();
    let bundles = made(&pool, &directory, &seeds).await;
    println!("{count} bundles with {} events", bundles.iter().map(|b| b.steps[0].len()).sum::<usize>());

    let world = World::start(PROGRAM).await.unwrap();
    let twin = world.twin().await.unwrap();
    let histories = |n: usize| -> Vec<Vec<Step>> { bundles.iter().map(|b| b.steps[n].clone()).collect() };
    let (one, other) = (histories(0), histories(1));
    let (one, other) =
        tokio::join!(Side::start(world, &registered, &one), Side::start(twin, &registered, &other),);

    let questions = asking::questions(&pool);
    let declassified = Declassified::read();
    let tally = Mutex::new(Tally::default());
    let asking =
        Asking { sides: [&one, &other], questions: &questions, declassified: &declassified, tally: &tally };
    // What is made by a command may be seen by others: first everything that changes nothing.
    futures::stream::iter(&bundles)
        .for_each_concurrent(AT_ONCE, |bundle| asking.read(bundle, seeds[bundle.number]))
        .await;
    futures::stream::iter(&bundles)
        .for_each_concurrent(AT_ONCE, |bundle| asking.command(bundle, seeds[bundle.number]))
        .await;

    let tally = tally.into_inner().unwrap();
    println!("{} pairs, in {} of them the viewer perceives something", tally.pairs, tally.of_parties);
    for (method, [asked, answered]) in &tally.asked {
        println!("  {method}: asked {asked}, answered {answered}");
    }
    for complaint in tally.complaints.iter().take(5) {
        println!("{complaint}");
    }
    assert!(tally.complaints.is_empty(), "{} differences; the first are above", tally.complaints.len());
    assert!(tally.pairs >= pairs, "only {} pairs", tally.pairs);
    assert!(tally.of_parties * 4 > tally.pairs, "too few pairs in which the viewer perceives anything");
    for question in &questions {
        assert!(
            tally.asked.contains_key(question.method.full_name()),
            "{} was never asked",
            question.method.full_name()
        );
    }
}

/// All bundles, on all cores.
async fn made(pool: &DescriptorPool, directory: &Arc<Directory>, seeds: &[u64]) -> Vec<Bundle> {
    let numbered = seeds.iter().copied().enumerate();
    let make = |(number, seed): (usize, u64)| {
        let (pool, directory) = (pool.clone(), directory.clone());
        tokio::task::spawn_blocking(move || Bundle::make(&pool, &directory, number, seed))
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    futures::stream::iter(numbered).map(make).buffered(cores).map(Result::unwrap).collect().await
}

/// An answer that does not come is a difference too.
async fn in_time(
    question: &Question,
    asked: impl Future<Output = Result<usize, String>>,
) -> Result<usize, String> {
    let answered = tokio::time::timeout(ANSWER_LIMIT, asked).await;
    answered.unwrap_or_else(|_| Err(format!("{}: no answer", question.method.full_name())))
}

struct Asking<'a> {
    sides: [&'a Side; 2],
    questions: &'a [Question],
    declassified: &'a Declassified,
    tally: &'a Mutex<Tally>,
}

impl Asking<'_> {
    /// Every query and stream, for every viewer of the bundle.
    async fn read(&self, bundle: &Bundle, seed: u64) {
        let mut rng = StdRng::seed_from_u64(seed ^ 1);
        let (events, things) = (bundle.events(), bundle.things.each_ref());
        let about = About { bundle: bundle.number, things, events: &events };
        for viewer in &bundle.viewers {
            let pair = self.pair(bundle, viewer);
            for question in self.questions.iter().filter(|question| question.reads) {
                // The directory is everybody's, and long.
                let open = question.method.parent_service().name() == "DirectoryService";
                if open && !rng.random_bool(0.02) {
                    continue;
                }
                let outcome = in_time(question, pair.read(question, &about, &mut rng)).await;
                self.note(bundle, viewer, question, outcome);
            }
            let (one, other) = tokio::join!(self.sides[0].told(viewer), self.sides[1].told(viewer));
            let mut tally = self.tally.lock().unwrap();
            if one != other {
                let told = bundle.told();
                tally
                    .complaints
                    .push(format!("{} of bundle {}: notices\n{told}", viewer.kind, bundle.number));
            }
            tally.pairs += 1;
            tally.of_parties += usize::from(perceives_something(viewer, &bundle.steps[0], today()));
        }
    }

    /// Some commands of one of them.
    async fn command(&self, bundle: &Bundle, seed: u64) {
        let mut rng = StdRng::seed_from_u64(seed ^ 2);
        let Some(viewer) = bundle.viewers.choose(&mut rng) else { return };
        let (events, things) = (bundle.events(), bundle.things.each_ref());
        let about = About { bundle: bundle.number, things, events: &events };
        let pair = self.pair(bundle, viewer);
        let mut commands: Vec<&Question> = self.questions.iter().filter(|question| !question.reads).collect();
        commands.shuffle(&mut rng);
        for question in commands.into_iter().take(COMMANDS_OF_A_BUNDLE) {
            let outcome =
                in_time(question, pair.command(question, &about, &mut rng, self.declassified)).await;
            let made = matches!(outcome, Ok(1..));
            self.note(bundle, viewer, question, outcome);
            // What was made has ids of its own in each world.
            if made {
                break;
            }
        }
    }

    fn pair(&self, bundle: &Bundle, viewer: &Viewer) -> Pair {
        Pair { callers: self.sides.map(|side| side.caller(viewer, bundle.number)) }
    }

    fn note(&self, bundle: &Bundle, viewer: &Viewer, question: &Question, outcome: Result<usize, String>) {
        let mut tally = self.tally.lock().unwrap();
        let asked = tally.asked.entry(question.method.full_name().to_owned()).or_default();
        asked[0] += 1;
        match outcome {
            Ok(answered) => asked[1] += answered.min(1),
            Err(complaint) => {
                let told = bundle.told();
                tally
                    .complaints
                    .push(format!("{} of bundle {}: {complaint}\n{told}", viewer.kind, bundle.number));
            }
        }
    }
}
