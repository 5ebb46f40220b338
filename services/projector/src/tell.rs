//! After the commit: streams of this process, streams of the others, posts. Hints all of them, so no error here ends
//! anything; who misses one finds the feed as it is.

use tasuki_bus::{Bus, Notice, Ping, publish_notice, publish_ping};
use tasuki_views::{Applied, FeedNews};
use tokio::sync::watch;

/// Streams of this process learn where the views are. Never goes back.
fn position(head: &watch::Sender<u64>, position: u64) {
    head.send_if_modified(|head| {
        let further = position > *head;
        *head = position.max(*head);
        further
    });
}

/// Everyone learns what a batch brought, streams first.
pub(crate) async fn everyone(bus: Option<&Bus>, head: &watch::Sender<u64>, applied: &Applied) {
    position(head, applied.position);
    let Some(bus) = bus.filter(|bus| bus.is_connected()) else { return };
    let pinged = publish_ping(bus, Ping::Views, applied.position).await;
    if let Err(error) = pinged {
        tracing::debug!(%error, "ping not sent");
    }
    for news in &applied.news {
        if let Err(error) = publish_notice(bus, &notice(news, applied.epoch), news.recorded_at_us).await {
            tracing::debug!(%error, "notices not sent");
            return;
        }
    }
}

fn notice(news: &FeedNews, epoch: u64) -> Notice {
    Notice {
        agency: news.agency.to_string(),
        post: news.post.to_string(),
        feed_epoch: epoch,
        number: news.number,
        case: news.case.map(|case| case.to_string()),
        event: news.event_id.to_string(),
    }
}
