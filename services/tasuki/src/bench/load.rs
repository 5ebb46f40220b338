//! Whoever makes the load: a process of its own that reads a [`Job`] from standard input and answers what it measured.
//!
//! It knows the program only by its address, as any client does. Its clock is the client's: latencies hold everything
//! between the call and its answer, this process's own share included.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tasuki_contract::intake::v1::referral_service_client::ReferralServiceClient;
use tasuki_contract::intake::v1::{AcknowledgeReferralRequest, SubmitReferralRequest};
use tonic::Status;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::closed_loop::{ClosedLoop, Until};
use super::paging::Pace;
use super::request::{Bearer, acceptance, authorised, bearer, labelled, referral};
use super::{line, open_loop, paging};
use crate::Error;

/// HTTP/2 connections that all callers of a job share.
const CONNECTIONS: usize = 4;
/// Calls that are made before those that count, seconds.
const WARM_S: f64 = 0.5;

/// A post and a token to act for it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Seat {
    /// The post's id.
    pub post: String,
    /// Bearer token of its holder.
    pub token: String,
}

/// What to do, against whom.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Job {
    /// Address of the program.
    pub address: String,
    /// What to do.
    pub work: Work,
    /// Who sends referrals.
    pub senders: Vec<Seat>,
    /// Who receives them.
    pub receivers: Vec<Seat>,
}

/// One kind of load.
#[derive(Debug, Deserialize, Serialize)]
pub(super) enum Work {
    /// Each caller submits one referral after the other. Answers a [`Measured`](super::closed_loop::Measured).
    Submit { callers: usize, seconds: f64 },
    /// Each caller asks for the server's health again and again. Answers the same.
    Echo { callers: usize, seconds: f64 },
    /// So many cases, each submitted, acknowledged and accepted. Answers the same.
    Cases { callers: usize, cases: u64 },
    /// So many referrals a second, whatever becomes of them, with every post subscribed. Answers one
    /// [`Delivered`](open_loop::Delivered) per round.
    Deliver { per_s: u32, seconds: u32, rounds: u32 },
    /// So many pages a second of so many timelines, and so many referrals beside them. Answers one
    /// [`Paged`](paging::Paged) per round.
    Read { per_s: u32, commands_per_s: u32, seconds: u32, rounds: u32, cases: usize },
}

/// Does one job.
pub(super) async fn run() -> Result<(), Error> {
    let job: Job = serde_json::from_reader(std::io::stdin())?;
    let answer = match job.work {
        Work::Submit { callers, seconds } => {
            let desks = Arc::new(Desks::open(&job).await?);
            let until = Until::Elapsed { warm: secs(WARM_S), window: secs(seconds) };
            let measured = ClosedLoop { callers, until }.run(move |n| {
                let desks = desks.clone();
                async move { desks.submit(n).await.map(drop) }
            });
            serde_json::to_vec(&measured.await?)?
        }
        Work::Echo { callers, seconds } => {
            let channels = connect(&job.address, CONNECTIONS).await?;
            let until = Until::Elapsed { warm: secs(WARM_S), window: secs(seconds) };
            let measured = ClosedLoop { callers, until }.run(move |n| {
                let mut client = HealthClient::new(channels[n % CONNECTIONS].clone());
                async move { client.check(HealthCheckRequest::default()).await.map(drop) }
            });
            serde_json::to_vec(&measured.await?)?
        }
        Work::Cases { callers, cases } => {
            let desks = Arc::new(Desks::open(&job).await?);
            let measured = ClosedLoop { callers, until: Until::Done(cases) }.run(move |n| {
                let desks = desks.clone();
                async move { desks.take_up(n).await }
            });
            serde_json::to_vec(&measured.await?)?
        }
        Work::Deliver { per_s, seconds, rounds } => {
            let desks = Arc::new(Desks::open(&job).await?);
            let streams = connect(&job.address, CONNECTIONS).await?;
            serde_json::to_vec(&open_loop::run(desks, &streams, per_s, seconds, rounds).await?)?
        }
        Work::Read { per_s, commands_per_s, seconds, rounds, cases } => {
            let desks = Arc::new(Desks::open(&job).await?);
            let channels = connect(&job.address, CONNECTIONS).await?;
            let pace = Pace { per_s, commands_per_s, seconds, rounds };
            serde_json::to_vec(&paging::run(desks, channels, cases, pace).await?)?
        }
    };
    let mut out = std::io::stdout();
    out.write_all(&answer)?;
    out.flush()?;
    line("")
}

fn secs(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

async fn connect(address: &str, connections: usize) -> Result<Vec<Channel>, Error> {
    let endpoint = Endpoint::from_shared(address.to_owned())?.tcp_nodelay(true);
    futures::future::try_join_all((0..connections).map(|_| endpoint.connect())).await.map_err(Error::from)
}

/// The posts of a job with the connections that they share.
pub(super) struct Desks {
    clients: Vec<ReferralServiceClient<Channel>>,
    /// The tokens of those who send.
    pub senders: Vec<Bearer>,
    /// The tokens of those who receive.
    pub receivers: Vec<Bearer>,
    /// The referral to each receiver, still without a label.
    templates: Vec<SubmitReferralRequest>,
}

impl Desks {
    async fn open(job: &Job) -> Result<Self, Error> {
        let bearers = |seats: &[Seat]| seats.iter().map(|seat| bearer(&seat.token)).collect::<Result<_, _>>();
        if job.senders.is_empty() || job.receivers.is_empty() {
            return Err("a job needs senders and receivers".into());
        }
        let channels = connect(&job.address, CONNECTIONS).await?;
        Ok(Self {
            clients: channels.into_iter().map(ReferralServiceClient::new).collect(),
            senders: bearers(&job.senders)?,
            receivers: bearers(&job.receivers)?,
            templates: job.receivers.iter().map(|seat| referral(&seat.post)).collect(),
        })
    }

    /// Which sender and which receiver the `n`th referral is between: every pair comes to its turn.
    pub fn pair(&self, n: usize) -> (usize, usize) {
        (n % self.senders.len(), (n / self.senders.len()) % self.receivers.len())
    }

    /// Submits the `n`th referral; ids of the referral and of its last event.
    pub async fn submit(&self, n: usize) -> Result<(String, String), Status> {
        let (sender, receiver) = self.pair(n);
        let request = labelled(self.templates[receiver].clone());
        let mut client = self.clients[n % self.clients.len()].clone();
        let answer = client.submit_referral(authorised(request, &self.senders[sender])).await?.into_inner();
        Ok((answer.referral_id, answer.receipt.unwrap_or_default().event_id))
    }

    /// A case with at least so many events that its receiver reads: the case, and the receiver's number.
    pub async fn long_case(&self, n: usize, events: usize) -> Result<(String, usize), Status> {
        let (sender, receiver) = self.pair(n);
        let mut client = self.clients[n % self.clients.len()].clone();
        let first = labelled(self.templates[receiver].clone());
        let first = client.submit_referral(authorised(first, &self.senders[sender])).await?.into_inner();
        self.accept(n, first.referral_id).await?;
        for _ in 0..events {
            let more = SubmitReferralRequest {
                case_id: first.case_id.clone(),
                municipality_code: String::new(),
                consent_at_source: None,
                ..self.templates[receiver].clone()
            };
            client.submit_referral(authorised(more, &self.senders[sender])).await?;
        }
        Ok((first.case_id, receiver))
    }

    /// Submits the `n`th referral, acknowledges and accepts it.
    async fn take_up(&self, n: usize) -> Result<(), Status> {
        let (referral_id, _) = self.submit(n).await?;
        self.accept(n, referral_id).await
    }

    /// Acknowledges and accepts the `n`th referral.
    async fn accept(&self, n: usize, referral_id: String) -> Result<(), Status> {
        let receiver = &self.receivers[self.pair(n).1];
        let mut client = self.clients[n % self.clients.len()].clone();
        let acknowledge = AcknowledgeReferralRequest { referral_id: referral_id.clone(), context: None };
        client.acknowledge_referral(authorised(acknowledge, receiver)).await?;
        client.accept_referral(authorised(acceptance(referral_id), receiver)).await?;
        Ok(())
    }
}
