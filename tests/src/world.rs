//! Private servers, secrets and a region for one test.

use std::path::PathBuf;
use std::time::Duration;

use tasuki::region::{self, Region};
use tasuki::secrets::Secrets;
use tasuki::token;
use tasuki_domain::ids::{AgencyId, PostId};
use tasuki_log::{Database, Reader};
use tasuki_standalone::{Stack, StackOptions};
use tasuki_views::Views;

use crate::program::Program;
use crate::{Caller, Error, eventually};

const VIEWS_LIMIT: Duration = Duration::from_secs(60);

/// Servers, keys and the example region; no program runs yet.
pub struct World {
    /// PostgreSQL and nats-server.
    pub stack: Stack,
    /// Keys of the installation.
    pub secrets: Secrets,
    /// Where they are kept.
    pub directory: PathBuf,
    /// Connection string of the log's database.
    pub database_url: String,
    program: PathBuf,
}

impl World {
    /// Starts the servers; `program` is the binary that [`serve`](Self::serve) runs.
    pub async fn start(program: &str) -> Result<Self, Error> {
        Self::start_with(program, |_| ()).await
    }

    /// The same with servers that are set up otherwise.
    pub async fn start_with(program: &str, change: impl FnOnce(&mut StackOptions)) -> Result<Self, Error> {
        let directory = std::env::temp_dir().join(format!("tasuki-test-{}", uuid::Uuid::now_v7()));
        Self::on(directory, program.into(), change).await
    }

    async fn on(
        directory: PathBuf,
        program: PathBuf,
        change: impl FnOnce(&mut StackOptions),
    ) -> Result<Self, Error> {
        let secrets = Secrets::open_or_create(&directory)?;
        let operator = secrets.operator.as_ref().ok_or("no operator")?;
        let mut options = StackOptions::throw_away();
        options.nats.extra = operator.server_config()?;
        change(&mut options);
        let stack = Stack::start(options).await?;
        let database_url = stack.postgres.create_database("tasuki").await?;
        Ok(Self { stack, secrets, directory, database_url, program })
    }

    /// Other servers with the same keys.
    pub async fn twin(&self) -> Result<Self, Error> {
        let directory = std::env::temp_dir().join(format!("tasuki-test-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir_all(&directory)?;
        for entry in std::fs::read_dir(&self.directory)? {
            let entry = entry?;
            std::fs::copy(entry.path(), directory.join(entry.file_name()))?;
        }
        Self::on(directory, self.program.clone(), |_| ()).await
    }

    /// Starts the program with the given roles and waits until it listens.
    pub async fn serve(&self, roles: &str) -> Result<Program, Error> {
        self.serve_with(roles, &[]).await
    }

    /// The same with more environment.
    pub async fn serve_with(&self, roles: &str, environment: &[(&str, &str)]) -> Result<Program, Error> {
        let nats = self.stack.nats.url();
        let directory = self.directory.display().to_string();
        let mut all = vec![
            ("TASUKI_DATABASE_URL", self.database_url.as_str()),
            ("TASUKI_NATS_URL", nats.as_str()),
            ("TASUKI_SECRETS_DIR", directory.as_str()),
            ("TASUKI_LISTEN", "127.0.0.1:0"),
            ("TASUKI_ROLES", roles),
        ];
        all.extend_from_slice(environment);
        Program::start(&self.program, &["serve", "--insecure-dev-issuer"], &all).await
    }

    /// Starts the program with all roles and registers the example region.
    pub async fn ready(&self) -> Result<Program, Error> {
        let program = self.serve("all").await?;
        self.register(&program).await?;
        Ok(program)
    }

    /// Registers the example region through a running program.
    pub async fn register(&self, program: &Program) -> Result<(), Error> {
        self.register_through(program.channel().await?).await
    }

    /// The same over a connection of one's own.
    pub async fn register_through(&self, channel: tonic::transport::Channel) -> Result<(), Error> {
        let issuer = self.secrets.issuer.as_ref().ok_or("no issuer")?;
        let token = token::for_operator(issuer, 3_600)?;
        Region::parse(region::EXAMPLE)?.register(channel, &token).await
    }

    /// Runs a command of the program that ends by itself, such as `verify`, against this world.
    pub async fn command(&self, args: &[&str]) -> Result<std::process::Output, Error> {
        let mut command = tokio::process::Command::new(&self.program);
        command.args(args).env("TASUKI_DATABASE_URL", &self.database_url);
        command.env("TASUKI_SECRETS_DIR", &self.directory).kill_on_drop(true);
        Ok(command.output().await?)
    }

    /// Reads the log.
    pub fn reader(&self) -> Result<Reader, Error> {
        Ok(Reader::new(Database::new(&self.database_url, 2)?))
    }

    /// Reads the views.
    pub fn views(&self) -> Result<Views, Error> {
        Ok(Views::new(&self.database_url, 2)?)
    }

    /// Waits until the views hold everything that is in the log now.
    pub async fn views_reach_the_log(&self) -> Result<u64, Error> {
        let head = self.reader()?.head().await?.0;
        let views = self.views()?;
        eventually("the views hold what is in the log", VIEWS_LIMIT, || async {
            views.position().await.is_ok_and(|at| at.position >= head)
        })
        .await;
        Ok(head)
    }

    /// Agency and post of `agency.post` in the example region.
    pub fn post(&self, slug: &str) -> (AgencyId, PostId) {
        let agency = slug.split_once('.').map_or(slug, |(agency, _)| agency);
        (region::agency_id(agency), region::post_id(slug))
    }

    /// A token of whoever holds the post.
    pub fn token(&self, slug: &str) -> Result<String, Error> {
        let (agency, post) = self.post(slug);
        token::for_post(self.secrets.issuer.as_ref().ok_or("no issuer")?, agency, post, 3_600)
    }

    /// Somebody who calls for the post through the program.
    pub async fn caller(&self, program: &Program, slug: &str) -> Result<Caller, Error> {
        Ok(Caller { channel: program.channel().await?, token: self.token(slug)?, post: self.post(slug).1 })
    }

    /// The operator, who keeps the directory.
    pub async fn operator(&self, program: &Program) -> Result<Caller, Error> {
        self.operator_named(program, "operator:bootstrap").await
    }

    /// An operator by the token's subject, so that there can be two.
    pub async fn operator_named(&self, program: &Program, subject: &str) -> Result<Caller, Error> {
        let issuer = self.secrets.issuer.as_ref().ok_or("no issuer")?;
        let token = issuer.issue(&tasuki_auth::DevGrant {
            subject: subject.to_owned(),
            audience: token::AUDIENCE.to_owned(),
            agency: uuid::Uuid::nil(),
            posts: Vec::new(),
            operator: true,
            issued_at_s: jiff::Timestamp::now().as_second(),
            lifetime_s: 3_600,
        })?;
        Ok(Caller { channel: program.channel().await?, token, post: PostId(uuid::Uuid::nil()) })
    }

    /// A caller that connects when it calls, so that the program may be away meanwhile.
    pub fn lazy_caller(&self, address: &str, slug: &str) -> Result<Caller, Error> {
        let channel = tonic::transport::Endpoint::from_shared(address.to_owned())?.connect_lazy();
        Ok(Caller { channel, token: self.token(slug)?, post: self.post(slug).1 })
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
