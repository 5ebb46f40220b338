//! The other end of `tell`: what the leader of another process says, passed on to the streams of this one.

use tasuki_bus::{Bus, BusError, subscribe_views_moved};
use tasuki_domain::ids::PostId;
use tasuki_kit::ViewSignals;

/// Wakes the streams of this process whenever a leader has committed, its own included, until the client is closed.
///
/// Errors: those of [`subscribe_views_moved`]. Without it streams look slowly by themselves.
pub async fn hear(bus: &Bus, signals: &ViewSignals) -> Result<(), BusError> {
    let mut pings = subscribe_views_moved(bus).await?;
    // What was said while nobody listened here.
    signals.tell_everyone(0);
    while let Some(moved) = pings.next().await {
        match moved.grown {
            Some(grown) => {
                let posts = grown.posts.into_iter().map(|(post, number)| (PostId(post), number));
                signals.tell(moved.head, grown.epoch, posts);
            }
            None => signals.tell_everyone(moved.head),
        }
    }
    Ok(())
}
