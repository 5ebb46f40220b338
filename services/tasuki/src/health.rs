//! What the health service says of a node: serving until it drains or one of its roles cannot go on.

use tasuki_contract::attachments::v1::attachment_service_server;
use tasuki_contract::consent::v1::consent_service_server;
use tasuki_contract::directory::v1::directory_service_server;
use tasuki_contract::handoff::v1::handoff_service_server;
use tasuki_contract::intake::v1::{consultation_service_server, referral_service_server};
use tasuki_contract::minutes::v1::minutes_service_server;
use tasuki_contract::timeline::v1::timeline_service_server;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::{Health as HealthService, HealthServer};
use tonic_health::server::HealthReporter;

use crate::node::Role;

/// Tells balancers and probes, of the node as a whole (the empty name) and of each of its services alike.
#[derive(Clone, Debug)]
pub(crate) struct Health {
    reporter: HealthReporter,
    services: Vec<&'static str>,
}

impl Health {
    /// Everything that the roles serve is serving.
    pub(crate) async fn serving(roles: &[Role]) -> (Self, HealthServer<impl HealthService + use<>>) {
        let (reporter, service) = tonic_health::server::health_reporter();
        let services = [""].into_iter().chain(roles.iter().flat_map(|role| services(*role)).copied());
        let health = Self { reporter, services: services.collect() };
        health.say(ServingStatus::Serving).await;
        (health, service)
    }

    /// Nothing is any more, and will not be again.
    pub(crate) async fn not_serving(&self) {
        self.say(ServingStatus::NotServing).await;
    }

    async fn say(&self, status: ServingStatus) {
        for service in &self.services {
            self.reporter.set_service_status(service, status).await;
        }
    }
}

fn services(role: Role) -> &'static [&'static str] {
    match role {
        Role::Intake => &[consultation_service_server::SERVICE_NAME, referral_service_server::SERVICE_NAME],
        Role::Handoff => &[handoff_service_server::SERVICE_NAME],
        Role::Minutes => &[minutes_service_server::SERVICE_NAME],
        Role::Directory => &[directory_service_server::SERVICE_NAME, consent_service_server::SERVICE_NAME],
        Role::Timeline => &[timeline_service_server::SERVICE_NAME],
        Role::Attachments => &[attachment_service_server::SERVICE_NAME],
        Role::Relay | Role::Projector => &[],
    }
}
