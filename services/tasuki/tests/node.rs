//! A node as its operator and its balancer see it: what it says of its health, and when it says that it cannot go on.
#![allow(clippy::unwrap_used, missing_docs)]

use std::time::Duration;

use tasuki::node::{Node, NodeOptions, Role};
use tasuki::secrets::Secrets;
use tasuki::token;
use tasuki_standalone::{Stack, StackOptions};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

/// Far beyond what anything here takes.
const LIMIT: Duration = Duration::from_secs(60);
/// As the node as a whole, and as one of its services.
const NAMES: [&str; 2] = ["", "tasuki.intake.v1.ReferralService"];

struct World {
    stack: Stack,
    node: Node,
    _directory: Directory,
}

struct Directory(std::path::PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl World {
    async fn start() -> Self {
        let directory = Directory(std::env::temp_dir().join(format!("tasuki-node-{}", uuid::Uuid::now_v7())));
        let secrets = Secrets::open_or_create(&directory.0).unwrap();
        let operator = secrets.operator.unwrap();
        let mut options = StackOptions::throw_away();
        options.nats.extra = operator.server_config().unwrap();
        let stack = Stack::start(options).await.unwrap();
        let node = Node::start(NodeOptions {
            database_url: stack.postgres.create_database("tasuki").await.unwrap(),
            keys_url: None,
            nats_url: stack.nats.url(),
            nats_creds: Some(operator.service_creds().unwrap()),
            nats_authorities: None,
            keyring: secrets.keyring,
            issuers: vec![secrets.issuer.unwrap().trust(token::AUDIENCE).unwrap()],
            keys: None,
            roles: Role::ALL.to_vec(),
            pool: 4,
            listen: ([127, 0, 0, 1], 0).into(),
            tls: None,
        })
        .await
        .unwrap();
        Self { stack, node, _directory: directory }
    }

    async fn watch(&self, service: &str) -> tonic::Streaming<HealthCheckResponse> {
        let mut client = HealthClient::new(self.node.channel().await.unwrap());
        client.watch(HealthCheckRequest { service: service.into() }).await.unwrap().into_inner()
    }
}

async fn said(watched: &mut tonic::Streaming<HealthCheckResponse>) -> ServingStatus {
    let message = tokio::time::timeout(LIMIT, watched.message()).await.expect("a status");
    message.unwrap().expect("a status").status()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_lost_a_role_says_so_and_is_not_serving_any_more() {
    let world = World::start().await;
    let mut watched = Vec::new();
    for name in NAMES {
        let mut stream = world.watch(name).await;
        assert_eq!(said(&mut stream).await, ServingStatus::Serving, "{name}");
        watched.push(stream);
    }
    // A header that this binary cannot read ends the projector.
    let unreadable = "INSERT INTO log.events VALUES (1, 1, 99, gen_random_uuid(), 1, gen_random_uuid(), 1, '\\xff', \
                                                     '', '')";
    world.stack.postgres.sql("tasuki", unreadable).await.unwrap();
    let failed = tokio::time::timeout(LIMIT, world.node.failed()).await.expect("the failure of a role");
    assert!(failed.to_string().contains("projection stopped"), "{failed}");
    for stream in &mut watched {
        assert_eq!(said(stream).await, ServingStatus::NotServing);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_drains_is_not_serving_any_more() {
    let world = World::start().await;
    let mut watched = Vec::new();
    for name in NAMES {
        let mut stream = world.watch(name).await;
        assert_eq!(said(&mut stream).await, ServingStatus::Serving, "{name}");
        watched.push(stream);
    }
    let told = async {
        // Dropped as soon as they have said it: the node waits for calls that run.
        for mut stream in watched {
            assert_eq!(said(&mut stream).await, ServingStatus::NotServing);
        }
    };
    tokio::join!(told, world.node.stop());
}
