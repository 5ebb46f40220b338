//! Doing something again and again, for what a node can do without for a while.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::Error;

const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// Does `work` until it ends well or is cancelled; after an error once more, later and later, with a warning.
///
/// `what` says in the warning what goes without it.
pub(crate) async fn again<F: Future<Output = Result<(), Error>>>(
    what: &str,
    cancel: &CancellationToken,
    mut work: impl FnMut() -> F,
) {
    let mut pause = PAUSE_FIRST;
    loop {
        let started = Instant::now();
        let error = match cancel.run_until_cancelled(work()).await {
            Some(Err(error)) => error,
            Some(Ok(())) | None => return,
        };
        if started.elapsed() > PAUSE_MAX {
            pause = PAUSE_FIRST;
        }
        tracing::warn!(%error, retry_ms = pause.as_millis() as u64, "{what}");
        if cancel.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            return;
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn what_fails_is_done_again_until_it_ends_well() {
        let tries = Cell::new(0);
        again("nothing goes without it", &CancellationToken::new(), || async {
            tries.set(tries.get() + 1);
            if tries.get() < 3 { Err("not yet".into()) } else { Ok(()) }
        })
        .await;
        assert_eq!(tries.get(), 3);
    }

    #[tokio::test]
    async fn cancelling_ends_what_fails_for_ever() {
        let cancel = CancellationToken::new();
        again("nothing goes without it", &cancel, || async {
            cancel.cancel();
            Err("never".into())
        })
        .await;
    }
}
