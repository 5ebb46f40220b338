//! Referrals at a fixed rate, with every post of theirs subscribed: when was it acknowledged, when did it arrive.
//!
//! One process sends and receives, so that one clock measures both.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tasuki_contract::timeline::v1::timeline_service_client::TimelineServiceClient;
use tasuki_contract::timeline::v1::{SubscribeRequest, SubscribeResponse, subscribe_response::Message};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use super::closed_loop::micros;
use super::load::Desks;
use super::request::{Bearer, authorised};
use super::stats::percentile;
use crate::Error;

/// What was sent before must have arrived within this time.
const ARRIVAL_LIMIT: Duration = Duration::from_secs(30);
/// How long the round is that does not count, seconds.
pub(super) const WARM_S: u32 = 2;
/// How long a subscriber may take to say that it has everything.
const CAUGHT_UP_LIMIT: Duration = Duration::from_secs(120);

/// One round.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(super) struct Delivered {
    /// Acknowledged commands.
    pub commands: u64,
    /// Of these, how many never arrived.
    pub lost: u64,
    /// Of these, how many were at the receiver before the sender had its answer; they count as 0.
    pub ahead: u64,
    /// Commands a second, as they were sent.
    pub per_s: f64,
    /// Duration of the command as its caller sees it, microseconds.
    pub commit_p50_us: u32,
    /// The same.
    pub commit_p99_us: u32,
    /// From the acknowledgement to the receiver's subscriber, microseconds.
    pub delivery_p50_us: u32,
    /// The same.
    pub delivery_p99_us: u32,
}

/// When which event arrived at which receiver.
type Arrivals = Arc<Mutex<HashMap<(usize, String), Instant>>>;

/// A command that was acknowledged.
struct Acknowledged {
    receiver: usize,
    event_id: String,
    took: Duration,
    at: Instant,
}

/// Sends `per_s` referrals a second in each round.
///
/// Errors: a refused command, a stream that ends.
pub(super) async fn run(
    desks: Arc<Desks>,
    streams: &[Channel],
    per_s: u32,
    seconds: u32,
    rounds: u32,
) -> Result<Vec<Delivered>, Error> {
    let arrivals = Arrivals::default();
    let mut subscribers = JoinSet::new();
    let senders = desks.senders.iter().map(|bearer| (bearer, None));
    let receivers = desks.receivers.iter().enumerate().map(|(n, bearer)| (bearer, Some(n)));
    for (n, (bearer, receiver)) in senders.chain(receivers).enumerate() {
        let mut stream = subscribe(&streams[n % streams.len()], bearer).await?;
        tokio::time::timeout(CAUGHT_UP_LIMIT, caught_up(&mut stream)).await??;
        subscribers.spawn(follow(stream, receiver, arrivals.clone()));
    }
    let mut measured = Vec::new();
    for round in 0..=rounds {
        let seconds = if round == 0 { WARM_S } else { seconds };
        let started = Instant::now();
        let sent = tokio::select! {
            sent = send(&desks, per_s, seconds) => sent?,
            Some(ended) = subscribers.join_next() => return Err(ended?),
        };
        let took = started.elapsed();
        tokio::select! {
            () = all_arrived(&sent, &arrivals) => {}
            Some(ended) = subscribers.join_next() => return Err(ended?),
        }
        let arrived = std::mem::take(&mut *arrivals.lock().unwrap_or_else(PoisonError::into_inner));
        // The first warms both processes and counts for nothing.
        if round > 0 {
            measured.push(evaluate(&sent, &arrived, took));
        }
    }
    Ok(measured)
}

async fn subscribe(channel: &Channel, bearer: &Bearer) -> Result<Streaming<SubscribeResponse>, Error> {
    let mut client = TimelineServiceClient::new(channel.clone());
    let stream = client.subscribe(authorised(SubscribeRequest::default(), bearer)).await;
    Ok(stream.map_err(|status| crate::call::explain(&status))?.into_inner())
}

/// Until the stream says that there is nothing more for now.
async fn caught_up(stream: &mut Streaming<SubscribeResponse>) -> Result<(), Error> {
    loop {
        match stream.message().await?.ok_or("a stream has ended")?.message {
            Some(Message::Heartbeat(heartbeat)) if heartbeat.caught_up => return Ok(()),
            _ => {}
        }
    }
}

/// Notes what arrives; returns why the stream ended.
async fn follow(
    mut stream: Streaming<SubscribeResponse>,
    receiver: Option<usize>,
    arrivals: Arrivals,
) -> Error {
    loop {
        let item = match stream.message().await {
            Ok(Some(SubscribeResponse { message: Some(Message::Item(item)) })) => item,
            Ok(Some(_)) => continue,
            Ok(None) => return "a stream has ended".into(),
            Err(status) => return crate::call::explain(&status).into(),
        };
        let now = Instant::now();
        if let (Some(receiver), Some(item)) = (receiver, item.item) {
            let mut arrivals = arrivals.lock().unwrap_or_else(PoisonError::into_inner);
            arrivals.entry((receiver, item.event_id)).or_insert(now);
        }
    }
}

/// Sends at the rate, without waiting for answers; returns when all are there.
async fn send(desks: &Arc<Desks>, per_s: u32, seconds: u32) -> Result<Vec<Acknowledged>, Error> {
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / per_s.max(1));
    // A tick that comes late is made up for: the rate holds on average.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut calls = JoinSet::new();
    for n in 0..(per_s * seconds) as usize {
        ticks.tick().await;
        let desks = desks.clone();
        calls.spawn(async move {
            let started = Instant::now();
            let (_, event_id) = desks.submit(n).await?;
            let at = Instant::now();
            Ok::<_, Status>(Acknowledged { receiver: desks.pair(n).1, event_id, took: at - started, at })
        });
    }
    let mut acknowledged = Vec::new();
    while let Some(call) = calls.join_next().await {
        acknowledged.push(call?.map_err(|status| crate::call::explain(&status))?);
    }
    Ok(acknowledged)
}

/// Until everything has arrived, or too much time has passed: the round then tells how many were lost.
async fn all_arrived(sent: &[Acknowledged], arrivals: &Arrivals) {
    let mut missing: Vec<(usize, String)> = sent.iter().map(|s| (s.receiver, s.event_id.clone())).collect();
    let started = Instant::now();
    while !missing.is_empty() && started.elapsed() < ARRIVAL_LIMIT {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let arrivals = arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        missing.retain(|key| !arrivals.contains_key(key));
    }
}

fn evaluate(sent: &[Acknowledged], arrived: &HashMap<(usize, String), Instant>, took: Duration) -> Delivered {
    let mut commit_us: Vec<u32> = sent.iter().map(|s| micros(s.took)).collect();
    let (mut delivery_us, mut ahead) = (Vec::new(), 0);
    for s in sent {
        let Some(at) = arrived.get(&(s.receiver, s.event_id.clone())) else { continue };
        ahead += u64::from(*at <= s.at);
        delivery_us.push(micros(at.saturating_duration_since(s.at)));
    }
    commit_us.sort_unstable();
    delivery_us.sort_unstable();
    Delivered {
        commands: sent.len() as u64,
        lost: (sent.len() - delivery_us.len()) as u64,
        ahead,
        per_s: sent.len() as f64 / took.as_secs_f64(),
        commit_p50_us: percentile(&commit_us, 50),
        commit_p99_us: percentile(&commit_us, 99),
        delivery_p50_us: percentile(&delivery_us, 50),
        delivery_p99_us: percentile(&delivery_us, 99),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_arrives_before_its_acknowledgement_took_no_time_and_what_never_arrives_is_lost() {
        let at = Instant::now() + Duration::from_secs(10);
        let ms = Duration::from_millis;
        let sent =
            |event_id: &str| Acknowledged { receiver: 0, event_id: event_id.to_owned(), took: ms(3), at };
        let sent = [sent("before"), sent("after"), sent("never")];
        let arrived = [("before", at - ms(2)), ("after", at + ms(5))];
        let arrived = arrived.map(|(id, at)| ((0, id.to_owned()), at)).into();
        let found = evaluate(&sent, &arrived, Duration::from_secs(1));
        assert_eq!((found.commands, found.lost, found.ahead), (3, 1, 1));
        assert_eq!((found.delivery_p50_us, found.delivery_p99_us, found.commit_p99_us), (0, 5_000, 3_000));
    }
}
