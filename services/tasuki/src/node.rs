//! A node: any subset of roles in one process, against one database and one broker.
//!
//! Services share the log, the directory and the views; relay and projector are one leader each with standbys on
//! other nodes. Signals between nodes are pings over NATS, hints only: every role also polls slowly.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tasuki_auth::{TrustedIssuer, Verifier};
use tasuki_bus::{Bus, BusOptions, Ping, publish_ping, subscribe_pings};
use tasuki_contract::attachments::v1::attachment_service_server::AttachmentServiceServer;
use tasuki_contract::consent::v1::consent_service_server::ConsentServiceServer;
use tasuki_contract::directory::v1::directory_service_server::DirectoryServiceServer;
use tasuki_contract::erasure::v1::erasure_service_server::ErasureServiceServer;
use tasuki_contract::handoff::v1::handoff_service_server::HandoffServiceServer;
use tasuki_contract::identity::v1::identity_service_server::IdentityServiceServer;
use tasuki_contract::intake::v1::consultation_service_server::ConsultationServiceServer;
use tasuki_contract::intake::v1::referral_service_server::ReferralServiceServer;
use tasuki_contract::minutes::v1::minutes_service_server::MinutesServiceServer;
use tasuki_contract::timeline::v1::timeline_service_server::TimelineServiceServer;
use tasuki_kit::clock::Clock;
use tasuki_kit::{Platform, PlatformOptions, ViewSignals};
use tasuki_log::{Database, Keyring, Reader, WriterOptions, migrate};
use tasuki_transport::server::ServerFiles;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::service::Routes;
use tonic::transport::{Channel, Endpoint, Server};
use tonic_health::pb::health_server::HealthServer;

use crate::Error;
use crate::again::again;
use crate::health::Health;
use crate::jwks::{self, KeySource};
use crate::layer::Observe;
use crate::listen;

/// What a node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Role {
    Intake,
    Handoff,
    Minutes,
    Directory,
    Timeline,
    Attachments,
    Relay,
    Projector,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 8] = [
        Self::Intake,
        Self::Handoff,
        Self::Minutes,
        Self::Directory,
        Self::Timeline,
        Self::Attachments,
        Self::Relay,
        Self::Projector,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Intake => "intake",
            Self::Handoff => "handoff",
            Self::Minutes => "minutes",
            Self::Directory => "directory",
            Self::Timeline => "timeline",
            Self::Attachments => "attachments",
            Self::Relay => "relay",
            Self::Projector => "projector",
        }
    }

    /// Reads names of roles; `all` stands for every one.
    pub fn parse_all(names: &[String]) -> Result<Vec<Self>, Error> {
        if names.iter().any(|n| n == "all") {
            return Ok(Self::ALL.to_vec());
        }
        let find = |name: &String| {
            Self::ALL.into_iter().find(|r| r.name() == name).ok_or_else(|| {
                let all: Vec<&str> = Self::ALL.iter().map(|r| r.name()).collect();
                Error::from(format!("no role {name}; there are: all, {}", all.join(", ")))
            })
        };
        names.iter().map(find).collect()
    }
}

/// What a node runs against.
pub struct NodeOptions {
    /// Connection string of PostgreSQL.
    pub database_url: String,
    /// Connection string of the database for the keys; `None`: on the same server, named as the log's with `_keys`.
    pub keys_url: Option<String>,
    /// Address of nats-server.
    pub nats_url: String,
    /// Credentials for it.
    pub nats_creds: Option<String>,
    /// File with the authorities of its certificate; absent: those of the system.
    pub nats_authorities: Option<PathBuf>,
    /// Keys of the log.
    pub keyring: Keyring,
    /// Who issues tokens.
    pub issuers: Vec<TrustedIssuer>,
    /// Where one of them publishes its keys, which are read again while the node runs.
    pub keys: Option<KeySource>,
    /// What to do.
    pub roles: Vec<Role>,
    /// Connections to PostgreSQL that read the log at most, and as many that read the views; 2 at least. The node's
    /// roles need up to ten besides, each for itself.
    pub pool: usize,
    /// Where to listen, when there is a service among the roles.
    pub listen: SocketAddr,
    /// The certificate to show there; absent: plain text, on a loopback address.
    pub tls: Option<ServerFiles>,
}

/// A running node.
pub struct Node {
    address: Option<SocketAddr>,
    cancel: CancellationToken,
    tasks: TaskTracker,
    health: Health,
    failures: tokio::sync::Mutex<mpsc::Receiver<Error>>,
}

/// Messages larger than this are refused, bytes.
const MESSAGE_MAX: usize = 1 << 20;
/// Calls and streams of one connection that are open at once; a client opens more connections for more.
const STREAMS_MAX: u32 = 1_024;
/// Connections to the store of keys at most.
const KEYS_POOL: usize = 4;
/// How soon a rotation or an erasure is heard of.
const KEYS_AGE_MAX: Duration = Duration::from_millis(500);
/// How old the directory may be when nobody told of a change.
const DIRECTORY_AGE_MAX: Duration = Duration::from_millis(500);

impl Node {
    /// Migrates, starts every role, and listens.
    ///
    /// Errors: among others, a keyring that is not the log's, and plain text on an address that is no loopback address.
    pub async fn start(options: NodeOptions) -> Result<Self, Error> {
        listen::allowed(options.listen, options.tls.as_ref())?;
        let database = Database::new(&options.database_url, options.pool)?;
        migrate(&database).await?;
        let keys = database.for_keys(options.keys_url.as_deref(), KEYS_POOL)?;
        tasuki_log::begin(&database, &keys, &options.keyring).await?;
        tasuki_views::migrate(&options.database_url).await?;
        let views = tasuki_views::Views::new(&options.database_url, options.pool)?;
        let cancel = CancellationToken::new();
        let tasks = TaskTracker::new();
        let (sender, failures) = mpsc::channel(8);
        let (health, health_service) = Health::serving(&options.roles).await;
        let failed = Failed { sender, health: health.clone() };
        let has = |role| options.roles.contains(&role);
        let serves = options.roles.iter().any(|r| !matches!(r, Role::Relay | Role::Projector));

        let bus_options = BusOptions::service(&options.nats_url, options.nats_creds.clone(), "tasuki")
            .trusting(options.nats_authorities.clone());
        let (log_head, log_heads) = watch::channel(0_u64);
        let log_head = Arc::new(log_head);
        let signals = ViewSignals::default();

        let mut address = None;
        if serves {
            let verifier = Arc::new(Verifier::new(options.issuers)?);
            if let Some(source) = options.keys {
                tasks.spawn(jwks::follow(verifier.clone(), source, cancel.clone()));
            }
            let platform = Platform::start(PlatformOptions {
                database: database.clone(),
                keys,
                keyring: options.keyring.clone(),
                verifier,
                writer: WriterOptions::default(),
                clock: Clock::default(),
            })
            .await?;
            let (following, ending) = (platform.clone(), cancel.clone());
            self::role(&tasks, &failed, async move {
                following.follow_directory(DIRECTORY_AGE_MAX, ending).await;
                Ok(())
            });
            let (sealer, ending) = (platform.sealer().clone(), cancel.clone());
            self::role(&tasks, &failed, async move {
                match ending.run_until_cancelled(sealer.follow(KEYS_AGE_MAX)).await {
                    Some(Err(error)) => Err(error.into()),
                    Some(Ok(never)) => match never {},
                    None => Ok(()),
                }
            });
            let (watched, ending) = (platform.clone(), cancel.clone());
            self::role(&tasks, &failed, async move {
                match ending.run_until_cancelled(watched.failed()).await {
                    Some(what) => Err(what.into()),
                    None => Ok(()),
                }
            });
            if has(Role::Attachments) {
                tasks.spawn(tasuki_attachments::sweep(platform.clone(), cancel.clone()));
            }
            tasks.spawn(forward(platform.writer().head(), log_head.clone(), cancel.clone()));
            tasks.spawn(announce(bus_options.clone(), platform.writer().head(), cancel.clone()));
            let listener = TcpListener::bind(options.listen).await?;
            address = Some(listener.local_addr()?);
            let routes = routes(&options.roles, &platform, &views, &signals, &cancel, health_service)?;
            let server = Server::builder()
                .layer(Observe(platform.clone()))
                .max_concurrent_streams(Some(STREAMS_MAX))
                .tcp_nodelay(true)
                .http2_keepalive_interval(Some(Duration::from_secs(30)))
                .initial_stream_window_size(256 * 1024)
                .add_routes(routes);
            let ending = cancel.clone().cancelled_owned();
            match options.tls {
                Some(files) => {
                    let incoming = listen::secured(listener, files, &tasks, &cancel)?;
                    let serving = server.serve_with_incoming_shutdown(incoming, ending);
                    self::role(&tasks, &failed, async move { Ok(serving.await?) });
                }
                None => {
                    let incoming =
                        tonic::transport::server::TcpIncoming::from(listener).with_nodelay(Some(true));
                    let serving = server.serve_with_incoming_shutdown(incoming, ending);
                    self::role(&tasks, &failed, async move { Ok(serving.await?) });
                }
            }
        }
        tasks.spawn(listen(bus_options.clone(), log_head.clone(), cancel.clone()));
        tasks.spawn(hear(bus_options.clone(), signals.clone(), cancel.clone()));
        if has(Role::Relay) {
            let (database, heads, bus, ending) =
                (database.clone(), log_heads.clone(), bus_options.clone(), cancel.clone());
            let reader = Reader::new(database.clone());
            self::role(&tasks, &failed, async move {
                let Some(bus) = ending.run_until_cancelled(Bus::connect(&bus)).await else { return Ok(()) };
                let options = tasuki_relay::RelayOptions::default();
                tasuki_relay::run(database, reader, bus?, heads, options, ending).await;
                Ok(())
            });
        }
        if has(Role::Projector) {
            let (url, signals, bus, ending) =
                (options.database_url.clone(), signals.clone(), bus_options.clone(), cancel.clone());
            let reader = Reader::new(database.clone());
            self::role(&tasks, &failed, async move {
                Ok(tasuki_projector::run_connecting(url, reader, bus, signals, ending).await?)
            });
        }
        tasks.close();
        Ok(Self { address, cancel, tasks, health, failures: tokio::sync::Mutex::new(failures) })
    }

    /// Where it listens; `None` without a service role.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// A client's channel to it.
    pub async fn channel(&self) -> Result<Channel, Error> {
        let address = self.address.ok_or("no service role")?;
        Ok(Endpoint::from_shared(format!("http://{address}"))?.tcp_nodelay(true).connect().await?)
    }

    /// Completes with the error of a role that cannot go on.
    pub async fn failed(&self) -> Error {
        match self.failures.lock().await.recv().await {
            Some(error) => error,
            None => std::future::pending().await,
        }
    }

    /// Lets calls that run come to their end, ends streams, then the roles; at most ten seconds.
    pub async fn stop(self) {
        self.health.not_serving().await;
        self.cancel.cancel();
        let _ = tokio::time::timeout(Duration::from_secs(10), self.tasks.wait()).await;
    }
}

/// Where it is told that a role cannot go on.
#[derive(Clone)]
struct Failed {
    sender: mpsc::Sender<Error>,
    health: Health,
}

/// Runs a role; its error ends the node, and so does its panic.
fn role(
    tasks: &TaskTracker,
    failed: &Failed,
    work: impl Future<Output = Result<(), Error>> + Send + 'static,
) {
    let failed = failed.clone();
    let work = tasks.spawn(work);
    tasks.spawn(async move {
        let error = match work.await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error,
            Err(panicked) => panicked.into(),
        };
        failed.health.not_serving().await;
        let _ = failed.sender.send(error).await;
    });
}

fn routes(
    roles: &[Role],
    platform: &Platform,
    views: &tasuki_views::Views,
    signals: &ViewSignals,
    cancel: &CancellationToken,
    health_service: HealthServer<impl tonic_health::pb::health_server::Health>,
) -> Result<Routes, Error> {
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(tasuki_contract::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?;
    let mut routes = Routes::new(health_service).add_service(reflection);
    for role in roles {
        match role {
            Role::Intake => {
                let consultations =
                    ConsultationServiceServer::new(tasuki_intake::Consultations(platform.clone()));
                let referrals = ReferralServiceServer::new(tasuki_intake::Referrals {
                    platform: platform.clone(),
                    views: views.clone(),
                });
                let identity = IdentityServiceServer::new(tasuki_intake::Identity(platform.clone()));
                routes = routes
                    .add_service(identity.max_decoding_message_size(MESSAGE_MAX))
                    .add_service(consultations.max_decoding_message_size(MESSAGE_MAX))
                    .add_service(referrals.max_decoding_message_size(MESSAGE_MAX));
            }
            Role::Handoff => {
                let service = HandoffServiceServer::new(tasuki_handoff::Handoff(platform.clone()));
                routes = routes.add_service(service.max_decoding_message_size(MESSAGE_MAX));
            }
            Role::Minutes => {
                let service = MinutesServiceServer::new(tasuki_minutes::Minutes(platform.clone()));
                routes = routes.add_service(service.max_decoding_message_size(MESSAGE_MAX));
            }
            Role::Directory => {
                let directory = tasuki_directory::Directory(platform.clone());
                routes = routes
                    .add_service(
                        DirectoryServiceServer::new(directory.clone()).max_decoding_message_size(MESSAGE_MAX),
                    )
                    .add_service(
                        ErasureServiceServer::new(directory.clone()).max_decoding_message_size(MESSAGE_MAX),
                    )
                    .add_service(ConsentServiceServer::new(directory).max_decoding_message_size(MESSAGE_MAX));
            }
            Role::Timeline => {
                let options = tasuki_timeline::TimelineOptions::new(signals.clone(), cancel.clone());
                let timeline = tasuki_timeline::Timeline::new(platform.clone(), views.clone(), options);
                routes = routes
                    .add_service(TimelineServiceServer::new(timeline).max_decoding_message_size(MESSAGE_MAX));
            }
            Role::Attachments => {
                let service = tasuki_attachments::AttachmentsService::new(platform.clone());
                let service = AttachmentServiceServer::new(service);
                routes = routes.add_service(service.max_decoding_message_size(MESSAGE_MAX));
            }
            Role::Relay | Role::Projector => {}
        }
    }
    Ok(routes)
}

/// Passes this process's own head on to its own followers.
async fn forward(mut from: watch::Receiver<u64>, to: Arc<watch::Sender<u64>>, cancel: CancellationToken) {
    while let Some(Ok(())) = cancel.run_until_cancelled(from.changed()).await {
        raise(&to, *from.borrow_and_update());
    }
}

/// Tells the other nodes of each flush; pings that would pile up are merged.
async fn announce(options: BusOptions, head: watch::Receiver<u64>, cancel: CancellationToken) {
    again("the other nodes are not told of what is appended here", &cancel, || {
        let (options, mut head) = (options.clone(), head.clone());
        async move {
            let bus = Bus::connect(&options).await?;
            while head.changed().await.is_ok() {
                let position = *head.borrow_and_update();
                if let Err(error) = publish_ping(&bus, Ping::Log, position).await {
                    tracing::debug!(%error, "ping not sent");
                }
            }
            Ok(())
        }
    })
    .await;
}

/// Hears of the other nodes' flushes.
async fn listen(options: BusOptions, to: Arc<watch::Sender<u64>>, cancel: CancellationToken) {
    again("what the other nodes append is found by looking, and later", &cancel, || async {
        let bus = Bus::connect(&options).await?;
        let mut pings = subscribe_pings(&bus, Ping::Log).await?;
        while let Some(position) = pings.next().await {
            raise(&to, position);
        }
        Err("the subscription has ended".into())
    })
    .await;
}

/// Hears of the other nodes' commits of the views.
async fn hear(options: BusOptions, signals: ViewSignals, cancel: CancellationToken) {
    again("what the other nodes project is found by looking, and later", &cancel, || async {
        let bus = Bus::connect(&options).await?;
        tasuki_projector::hear(&bus, &signals).await?;
        Err("the subscription has ended".into())
    })
    .await;
}

/// Raises a head; it never goes back.
pub(crate) fn raise(head: &watch::Sender<u64>, position: u64) {
    head.send_if_modified(|now| {
        let further = position > *now;
        *now = position.max(*now);
        further
    });
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// A broker that lets nobody in, and counts who has tried.
    async fn refusing() -> (String, watch::Receiver<u64>) {
        let broker = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("nats://{}", broker.local_addr().unwrap());
        let (tried, tries) = watch::channel(0);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = broker.accept().await {
                let info = b"INFO {\"server_id\":\"x\",\"version\":\"2.10.0\",\"max_payload\":1048576}\r\n";
                client.write_all(info).await.unwrap();
                let _ = client.read(&mut [0; 1024]).await;
                let _ = client.write_all(b"-ERR 'Authorization Violation'\r\n").await;
                tried.send_modify(|n| *n += 1);
            }
        });
        (url, tries)
    }

    #[tokio::test]
    async fn hints_come_and_go_again_after_the_broker_refused_them() {
        let cancel = CancellationToken::new();
        let heard = Arc::new(watch::channel(0).0);
        let (_appended, head) = watch::channel(0);
        let tasks = TaskTracker::new();
        for telling in [false, true] {
            let (url, mut tries) = refusing().await;
            let options = BusOptions::service(url, None, "test");
            if telling {
                tasks.spawn(announce(options, head.clone(), cancel.clone()));
            } else {
                tasks.spawn(listen(options, heard.clone(), cancel.clone()));
            }
            let again = tries.wait_for(|tries| *tries >= 3);
            tokio::time::timeout(Duration::from_secs(30), again).await.expect("another try").unwrap();
        }
        cancel.cancel();
        tasks.close();
        tasks.wait().await;
    }
}
