//! `tasuki demo`: story A, played over gRPC on real servers, with nine posts following live.
//!
//! Starts the embedded default in a state directory of its own, subscribes, plays what has a typed command, waits
//! until every subscriber has what its feed holds, and prints the timelines of four posts side by side with what
//! each does not get. What it prints comes from what the subscribers received, never from the story or the log.

mod card;
mod lead;
mod place;
mod play;
mod received;
mod rows;
mod show;
mod story;
pub(crate) mod table;
mod timelines;
mod tokens;
mod watch;
mod withheld;
mod words;

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use tasuki_domain::codes::Lang;
use tasuki_log::{Database, Reader};

use crate::Error;
use crate::up::{self, Embedded, StateArgs, interrupted};

use play::Player;
use story::Story;
use tokens::Desks;
use watch::Watchers;

/// Posts that follow live. The first four of [`SHOWN`] are among them.
pub const SUBSCRIBED: [&str; 9] = [
    "hospital.discharge",
    "ward-welfare.intake",
    "coordinator.desk",
    "nursing.station",
    "planner2.desk",
    "ward-childcare.admission",
    "nursery.head",
    "family-a.guardian",
    "provider1.desk",
];
/// Posts whose timelines are printed.
pub const SHOWN: [&str; 4] = ["hospital.discharge", "coordinator.desk", "nursery.head", "family-a.guardian"];
/// How long subscribers may take to catch up with the last command.
const CATCH_UP: Duration = Duration::from_secs(60);

/// Arguments of `demo`.
#[derive(Args, Clone, Debug)]
pub struct DemoArgs {
    /// Language of what is printed and of the texts that are played.
    #[arg(long, value_enum, default_value_t = Language::Ja)]
    lang: Language,
    /// Directory of the demonstration's own state, made anew each time.
    #[arg(long, default_value = ".tasuki/demo")]
    state_dir: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Language {
    Ja,
    En,
}

/// The three numbers of the last line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Events in the log: its head.
    pub events: u64,
    /// Agencies with a subscriber.
    pub agencies: usize,
    /// Items that subscribers received.
    pub delivered: usize,
}

/// Plays the story and prints it; the state stays for whoever wants to look closer.
///
/// Errors: the state directory is in use or not a demonstration's, a call was refused, a subscriber fell behind.
pub async fn run(args: DemoArgs) -> Result<(), Error> {
    let lang = match args.lang {
        Language::Ja => Lang::Ja,
        Language::En => Lang::En,
    };
    let story = Story::read()?;
    note(lang, "PostgreSQL と nats-server を起動しています", "starting PostgreSQL and nats-server");
    place::fresh(&args.state_dir).await?;
    let state = StateArgs { state_dir: args.state_dir.clone(), region: None };
    let embedded = Embedded::start(&state, ([127, 0, 0, 1], 0).into(), up::POOL).await?;
    let result = tokio::select! {
        result = perform(&embedded, &state, &story, lang) => result,
        () = interrupted() => Err("interrupted".into()),
        which = embedded.stack.ended() => Err(format!("{which} has ended; see its log in {}", args.state_dir.display()).into()),
        failed = embedded.node.failed() => Err(failed),
    };
    let stopped = embedded.stop().await;
    let (text, counts) = result?;
    stopped?;
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    writeln!(
        out,
        "demo ok: events={} agencies={} delivered={}",
        counts.events, counts.agencies, counts.delivered
    )?;
    out.flush()?;
    Ok(())
}

async fn perform(
    embedded: &Embedded,
    state: &StateArgs,
    story: &Story,
    lang: Lang,
) -> Result<(String, Counts), Error> {
    let issuer = embedded.secrets.issuer.as_ref().ok_or("the embedded default has an issuer")?;
    let desks = Desks::new(state.region()?, issuer, lang)?;
    let watchers = Watchers::subscribe(embedded.node.channel().await?, &desks, &SUBSCRIBED).await?;

    let steps = story.steps();
    note(
        lang,
        &format!("{} つの窓口が見ています。{} 件の操作を再生しています", SUBSCRIBED.len(), steps.len()),
        &format!("{} posts are watching; playing {} calls", SUBSCRIBED.len(), steps.len()),
    );
    let mut player = Player::new(embedded.node.channel().await?, &desks)?;
    let mut last = String::new();
    for (event, step) in steps {
        last = player.play(event, step).await?;
    }
    watchers.caught_up(&last, CATCH_UP).await?;

    let database = Database::new(&embedded.running.database_url, 1)?;
    let (events, _) = Reader::new(database).head().await?;
    let received = watchers.received()?;
    for shared in &received.events {
        if let Some((slug, piece)) = shared.unannounced().first() {
            let what = words::piece(piece, Lang::En);
            let event = words::event(&shared.item.r#type, Lang::En);
            return Err(format!(
                "{slug} lacks `{what}` of `{event}` and was not told that its class and key are withheld"
            )
            .into());
        }
    }
    let agencies = SUBSCRIBED.iter().filter_map(|slug| slug.split_once('.')).map(|(agency, _)| agency);
    let counts = Counts {
        events,
        agencies: agencies.collect::<std::collections::BTreeSet<_>>().len(),
        delivered: received.delivered(),
    };
    let cases = card::Cases::read(&watchers, &player).await?;
    let resumed = watchers.resumed();
    if resumed > 0 {
        note(
            lang,
            &format!(
                "サーバーが {resumed} 回、受信を中断しました。カーソルから再開し、欠けも重複もありません"
            ),
            &format!(
                "the server ended a stream {resumed} times; each went on from its cursor, nothing lost or doubled"
            ),
        );
    }
    Ok((show::everything(story, &desks, &received, &cases, counts)?, counts))
}

/// Tells whoever waits what is going on; not part of the result.
fn note(lang: Lang, ja: &str, en: &str) {
    let _ = writeln!(std::io::stderr(), "==> {}", words::pick(lang, ja, en));
}
