//! What a measurement runs on: private servers, keys, and the program with all roles as a process of its own.

use std::path::PathBuf;

use serde::de::DeserializeOwned;
use tasuki_bus::BusOptions;
use tasuki_standalone::{Stack, StackOptions};
use uuid::Uuid;

use super::load::{Job, Seat, Work};
use super::process::{self, Program};
use super::remark;
use crate::Error;
use crate::region::{self, Post, Region};
use crate::secrets::Secrets;
use crate::token;

/// Agencies that discharge or refer on.
const SENDERS: [&str; 4] = ["hospital", "homedoctor", "health", "planner2"];
/// Agencies that take up.
const RECEIVERS: [&str; 4] = ["coordinator", "nursing", "planner1", "provider1"];
/// How long the tokens of a measurement hold.
const TOKEN_S: i64 = 4 * 3_600;

/// Servers, keys and the example region.
pub(super) struct World {
    /// The program.
    pub program: Program,
    /// PostgreSQL and nats-server.
    pub stack: Stack,
    /// Connection string of the log's database.
    pub database_url: String,
    /// How many posts send, and how many receive.
    posts: usize,
    secrets: Secrets,
    directory: Directory,
}

/// Removed with the measurement.
struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl World {
    /// Starts the servers and the program, and registers the example region, with so many more posts that send and
    /// that receive.
    pub async fn start(posts: usize) -> Result<Self, Error> {
        remark(machine())?;
        let directory = Directory(std::env::temp_dir().join(format!("tasuki-bench-{}", Uuid::now_v7())));
        let secrets = Secrets::open_or_create(&directory.0)?;
        let (Some(issuer), Some(operator)) = (&secrets.issuer, &secrets.operator) else {
            return Err("fresh secrets hold an issuer and an operator".into());
        };
        let mut options = StackOptions::throw_away();
        options.nats.extra = operator.server_config()?;
        let stack = Stack::start(options).await?;
        let database_url = stack.postgres.create_database("tasuki").await?;
        let environment = [
            ("TASUKI_DATABASE_URL", database_url.as_str()),
            ("TASUKI_NATS_URL", &stack.nats.url()),
            ("TASUKI_SECRETS_DIR", &directory.0.display().to_string()),
            ("TASUKI_LISTEN", "127.0.0.1:0"),
            ("TASUKI_ROLES", "all"),
        ];
        let program = Program::serve(&environment, &directory.0.join("program.log")).await?;
        with_posts(Region::parse(region::EXAMPLE)?, posts)
            .register(program.channel().await?, &token::for_operator(issuer, TOKEN_S)?)
            .await?;
        Ok(Self { program, stack, database_url, posts, secrets, directory })
    }

    /// Has another process make the load on the program, and reads what it measured.
    pub async fn load<R: DeserializeOwned>(&self, work: Work) -> Result<R, Error> {
        let seats = |agencies: &[&str]| -> Result<Vec<Seat>, Error> {
            places(agencies, self.posts).map(|(agency, post)| self.seat(agency, &post)).collect()
        };
        let address = self.program.address().to_owned();
        let job = Job { address, work, senders: seats(&SENDERS)?, receivers: seats(&RECEIVERS)? };
        process::load(&job).await.inspect_err(|_| drop(remark(self.last_words())))
    }

    fn seat(&self, agency: &str, post: &str) -> Result<Seat, Error> {
        let issuer = self.secrets.issuer.as_ref().ok_or("no issuer")?;
        let post = region::post_id(&format!("{agency}.{post}"));
        let token = token::for_post(issuer, region::agency_id(agency), post, TOKEN_S)?;
        Ok(Seat { post: post.to_string(), token })
    }

    /// How to reach nats-server as one of our own processes.
    pub fn bus_options(&self) -> Result<BusOptions, Error> {
        let operator = self.secrets.operator.as_ref().ok_or("no operator")?;
        Ok(BusOptions::service(self.stack.nats.url(), Some(operator.service_creds()?), "tasuki-bench"))
    }

    /// What the program wrote to standard error, its last lines.
    fn last_words(&self) -> String {
        let text = std::fs::read_to_string(self.directory.0.join("program.log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(5)..].join("\n")
    }

    /// Ends the program in an orderly way, then the servers.
    pub async fn stop(mut self) -> Result<(), Error> {
        self.program.terminate().await?;
        self.stack.stop().await?;
        Ok(())
    }
}

/// Agency and post, in the order in which they take part: the agencies in turn.
fn places<'a>(agencies: &'a [&'a str], posts: usize) -> impl Iterator<Item = (&'a str, String)> {
    let place = |n| (agencies[n % agencies.len()], format!("measured-{n}"));
    (0..posts).map(place)
}

fn with_posts(mut region: Region, posts: usize) -> Region {
    for (agency, slug) in places(&SENDERS, posts).chain(places(&RECEIVERS, posts)) {
        let post = Post { label_ja: "測定用".to_owned(), label_en: "Measured".to_owned(), slug };
        let found = region.agencies.iter_mut().find(|known| known.slug == agency);
        found.expect("invariant: an agency of the example region").posts.push(post);
    }
    region
}

/// Without this a figure cannot be compared with another day's.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let busy = load.split(' ').next().unwrap_or("?");
    let profile = if cfg!(debug_assertions) { "WITHOUT OPTIMISATION" } else { "release build" };
    format!("{cores} cores, load average {busy} before the start, {profile}")
}
