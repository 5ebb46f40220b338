//! Pages of timelines at a fixed rate, and commands at another beside them, each sent without waiting for answers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use prost::Message as _;
use serde::{Deserialize, Serialize};
use tasuki_contract::timeline::v1::timeline_service_client::TimelineServiceClient;
use tasuki_contract::timeline::v1::{GetTimelineRequest, GetTimelineResponse};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tonic::Status;
use tonic::transport::Channel;

use super::closed_loop::micros;
use super::load::Desks;
use super::request::authorised;
use super::stats::percentile;
use crate::Error;

/// Items of a page.
pub(super) const PAGE_ITEMS: i32 = 50;
/// How long the round is that does not count, seconds.
pub(super) const WARM_S: u32 = 2;
/// How long the views may take to show what was prepared.
const SHOWN_LIMIT: Duration = Duration::from_secs(120);

/// One round.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(super) struct Paged {
    /// Pages that were answered.
    pub reads: u64,
    /// Items on them.
    pub items: u64,
    /// Encoded answers, bytes.
    pub bytes: u64,
    /// Pages a second, as they were asked for.
    pub per_s: f64,
    /// Duration of a page as its caller sees it, microseconds.
    pub read_p50_us: u32,
    /// The same.
    pub read_p99_us: u32,
    /// Duration of a command as its caller sees it, microseconds.
    pub commit_p50_us: u32,
    /// The same.
    pub commit_p99_us: u32,
}

/// How fast and how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Pages a second.
    pub per_s: u32,
    /// Commands a second.
    pub commands_per_s: u32,
    /// Of each round.
    pub seconds: u32,
    /// Rounds that count.
    pub rounds: u32,
}

/// Prepares so many cases, each with a full page for its reader, then reads them in turn.
///
/// Errors: the first call that fails; a page that is not full.
pub(super) async fn run(
    desks: Arc<Desks>,
    channels: Vec<Channel>,
    cases: usize,
    pace: Pace,
) -> Result<Vec<Paged>, Error> {
    let mut preparing = JoinSet::new();
    for n in 0..cases.max(1) {
        let desks = desks.clone();
        preparing.spawn(async move { desks.long_case(n, PAGE_ITEMS as usize).await });
    }
    let mut long = Vec::new();
    while let Some(case) = preparing.join_next().await {
        long.push(case?.map_err(|status| crate::call::explain(&status))?);
    }
    let reader = Arc::new(Reader { desks: desks.clone(), channels, cases: long });
    tokio::time::timeout(SHOWN_LIMIT, reader.all_full()).await??;
    let mut measured = Vec::new();
    for round in 0..=pace.rounds {
        let seconds = if round == 0 { WARM_S } else { pace.seconds };
        let (reads, commands) = tokio::try_join!(
            at_rate(pace.per_s, seconds, |n| {
                let reader = reader.clone();
                async move { reader.page(n).await.map(|page| (page.items.len(), page.encoded_len())) }
            }),
            at_rate(pace.commands_per_s, seconds, |n| {
                let desks = desks.clone();
                async move { desks.submit(n).await.map(drop) }
            }),
        )?;
        // The first warms both processes and counts for nothing.
        if round > 0 {
            measured.push(evaluate(&reads, &commands, seconds));
        }
    }
    Ok(measured)
}

struct Reader {
    desks: Arc<Desks>,
    channels: Vec<Channel>,
    /// Each with the number of its receiver among the desks.
    cases: Vec<(String, usize)>,
}

impl Reader {
    async fn page(&self, n: usize) -> Result<GetTimelineResponse, Status> {
        let (case, receiver) = &self.cases[n % self.cases.len()];
        let mut client = TimelineServiceClient::new(self.channels[n % self.channels.len()].clone());
        let request =
            GetTimelineRequest { case_id: case.clone(), page_size: PAGE_ITEMS, ..Default::default() };
        let answer = client.get_timeline(authorised(request, &self.desks.receivers[*receiver])).await?;
        Ok(answer.into_inner())
    }

    /// Until every case has a full page.
    async fn all_full(&self) -> Result<(), Error> {
        for n in 0..self.cases.len() {
            loop {
                match self.page(n).await {
                    Ok(page) if page.items.len() == PAGE_ITEMS as usize => break,
                    Ok(_) => {}
                    Err(status) if status.code() == tonic::Code::NotFound => {}
                    Err(status) => return Err(crate::call::explain(&status).into()),
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        Ok(())
    }
}

/// Makes calls at the rate; each answer with the time that it took.
async fn at_rate<T, F, C>(per_s: u32, seconds: u32, call: F) -> Result<Vec<(Duration, T)>, Error>
where
    T: Send + 'static,
    F: Fn(usize) -> C,
    C: Future<Output = Result<T, Status>> + Send + 'static,
{
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / per_s.max(1));
    // A tick that comes late is made up for: the rate holds on average.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut calls = JoinSet::new();
    for n in 0..(per_s * seconds) as usize {
        ticks.tick().await;
        let call = call(n);
        calls.spawn(async move {
            let started = Instant::now();
            let answer = call.await?;
            Ok::<_, Status>((started.elapsed(), answer))
        });
    }
    let mut answers = Vec::new();
    while let Some(call) = calls.join_next().await {
        answers.push(call?.map_err(|status| crate::call::explain(&status))?);
    }
    Ok(answers)
}

fn evaluate(reads: &[(Duration, (usize, usize))], commands: &[(Duration, ())], seconds: u32) -> Paged {
    let ascending = |mut us: Vec<u32>| {
        us.sort_unstable();
        us
    };
    let read_us = ascending(reads.iter().map(|(took, _)| micros(*took)).collect());
    let commit_us = ascending(commands.iter().map(|(took, ())| micros(*took)).collect());
    Paged {
        reads: reads.len() as u64,
        items: reads.iter().map(|(_, (items, _))| *items as u64).sum(),
        bytes: reads.iter().map(|(_, (_, bytes))| *bytes as u64).sum(),
        per_s: reads.len() as f64 / f64::from(seconds.max(1)),
        read_p50_us: percentile(&read_us, 50),
        read_p99_us: percentile(&read_us, 99),
        commit_p50_us: percentile(&commit_us, 50),
        commit_p99_us: percentile(&commit_us, 99),
    }
}
