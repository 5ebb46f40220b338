//! Callers that call again as soon as they are answered: what a number of them gets done.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tonic::Status;

use super::stats::percentile;
use crate::Error;

/// When callers stop.
#[derive(Clone, Copy, Debug)]
pub(super) enum Until {
    /// Answers count that arrive within the window, which opens after the warm-up.
    Elapsed { warm: Duration, window: Duration },
    /// After so many calls; all count.
    Done(u64),
}

/// So many callers.
pub(super) struct ClosedLoop {
    /// How many.
    pub callers: usize,
    /// When they stop.
    pub until: Until,
}

/// What they got done.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(super) struct Measured {
    /// Answers that count.
    pub done: u64,
    /// In this time, seconds.
    pub seconds: f64,
    /// Half of the answers took no longer, microseconds.
    pub p50_us: u32,
    /// All but one in a hundred took no longer, microseconds.
    pub p99_us: u32,
}

impl Measured {
    /// Answers a second.
    pub fn per_s(&self) -> f64 {
        self.done as f64 / self.seconds.max(1e-9)
    }
}

impl ClosedLoop {
    /// Makes the `n`th call, from 0, again and again.
    ///
    /// Errors: the first call that fails ends the measurement: a figure over failures means nothing.
    pub async fn run<F, C>(self, call: F) -> Result<Measured, Error>
    where
        F: Fn(usize) -> C + Send + Sync + 'static,
        C: Future<Output = Result<(), Status>> + Send,
    {
        let call = Arc::new(call);
        let next = Arc::new(AtomicU64::new(0));
        let begun = Instant::now();
        let (opens, closes, calls_max) = match self.until {
            Until::Elapsed { warm, window } => (begun + warm, Some(begun + warm + window), u64::MAX),
            Until::Done(calls) => (begun, None, calls),
        };
        let mut callers = JoinSet::new();
        for _ in 0..self.callers {
            let (call, next) = (call.clone(), next.clone());
            callers.spawn(async move {
                let mut latencies_us = Vec::new();
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    let started = Instant::now();
                    if n >= calls_max || closes.is_some_and(|closes| started >= closes) {
                        return Ok(latencies_us);
                    }
                    call(n as usize).await?;
                    let answered = Instant::now();
                    if opens <= answered && closes.is_none_or(|closes| answered < closes) {
                        latencies_us.push(micros(answered - started));
                    }
                }
            });
        }
        let mut latencies_us = Vec::new();
        while let Some(caller) = callers.join_next().await {
            let of_one = caller?.map_err(|status: Status| crate::call::explain(&status))?;
            latencies_us.extend(of_one);
        }
        latencies_us.sort_unstable();
        let window = match self.until {
            Until::Elapsed { window, .. } => window,
            Until::Done(_) => begun.elapsed(),
        };
        Ok(Measured {
            done: latencies_us.len() as u64,
            seconds: window.as_secs_f64(),
            p50_us: percentile(&latencies_us, 50),
            p99_us: percentile(&latencies_us, 99),
        })
    }
}

/// Whole microseconds; more than an hour is an hour.
pub(super) fn micros(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn a_number_of_calls_is_made_no_more_and_no_less() {
        let made = Arc::new(AtomicU64::new(0));
        let counted = made.clone();
        let measured = ClosedLoop { callers: 7, until: Until::Done(100) }.run(move |_| {
            let counted = counted.clone();
            async move {
                counted.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
        });
        assert_eq!(measured.await.unwrap().done, 100);
        assert_eq!(made.load(Ordering::Relaxed), 100);
    }

    #[tokio::test]
    async fn a_failed_call_ends_the_measurement() {
        let until = Until::Elapsed { warm: Duration::ZERO, window: Duration::from_secs(60) };
        let call = |n| async move { if n == 3 { Err(Status::aborted("moved on")) } else { Ok(()) } };
        let error = ClosedLoop { callers: 1, until }.run(call).await.unwrap_err().to_string();
        assert!(error.contains("moved on"), "{error}");
    }
}
