//! After the commit: streams of this process, streams of the others, posts. Hints all of them, so no error here ends
//! anything; who misses one finds the feed as it is.

use std::collections::BTreeMap;

use tasuki_bus::{Bus, Grown, Notice, Ping, ViewsMoved, publish_notice, publish_ping, publish_views_moved};
use tasuki_kit::ViewSignals;
use tasuki_views::{Applied, FeedNews};

/// Everyone looks again: the views may have been rebuilt, or have moved while nobody led.
pub(crate) async fn everyone(bus: Option<&Bus>, signals: &ViewSignals, position: u64) {
    signals.tell_everyone(position);
    let Some(bus) = bus else { return };
    if let Err(error) = publish_ping(bus, Ping::Views, position).await {
        tracing::debug!(%error, "ping not sent");
    }
}

/// The posts learn what a batch brought them, streams first.
pub(crate) async fn news(bus: Option<&Bus>, signals: &ViewSignals, applied: &Applied) {
    let mut grown = BTreeMap::new();
    for news in &applied.news {
        let number = grown.entry(news.post).or_insert(news.number);
        *number = news.number.max(*number);
    }
    signals.tell(applied.position, applied.feed_epoch, grown.iter().map(|(post, number)| (*post, *number)));
    let Some(bus) = bus.filter(|bus| bus.is_connected()) else { return };
    let posts = grown.into_iter().map(|(post, number)| (post.0, number)).collect();
    let grown = Some(Grown { epoch: applied.feed_epoch, posts });
    if let Err(error) = publish_views_moved(bus, &ViewsMoved { head: applied.position, grown }).await {
        tracing::debug!(%error, "ping not sent");
    }
    for news in &applied.news {
        if let Err(error) = publish_notice(bus, &notice(news, applied.feed_epoch), news.recorded_at_us).await
        {
            tracing::debug!(%error, "notices not sent");
            return;
        }
    }
}

fn notice(news: &FeedNews, feed_epoch: u64) -> Notice {
    Notice {
        agency: news.agency.to_string(),
        post: news.post.to_string(),
        feed_epoch,
        number: news.number,
        case: news.case.map(|case| case.to_string()),
        event: news.event_id.to_string(),
    }
}
