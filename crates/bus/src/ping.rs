//! Pings between our own processes: "the head is at least here now".
//!
//! A ping is a hint that saves waiting for the next slow poll. It may be lost, come late or come twice;
//! who gets one looks at the log or the view, and never acts on the number alone.
//!
//! A ping of the views may name the posts whose feeds have grown ([`ViewsMoved`]), so that only their streams look.

use futures::{FutureExt, StreamExt};

use uuid::Uuid;

use crate::{Bus, BusError};

/// Posts that one ping names; of more it says that it may be anyone.
const POSTS_MAX: usize = 128;

/// Which head has moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ping {
    /// The log: something was appended.
    Log,
    /// The views: the projector has committed.
    Views,
}

impl Ping {
    /// The subject.
    pub fn subject(self) -> &'static str {
        match self {
            Self::Log => "tasuki.ping.log",
            Self::Views => "tasuki.ping.views",
        }
    }
}

/// Tells the others that the head is at position `head`. Says nothing while the connection is down: a
/// late hint is worth less than the poll that has happened meanwhile.
///
/// Errors: [`BusError::Disconnected`], [`BusError::Client`]; safe to ignore.
#[tracing::instrument(level = "trace", skip(bus))]
pub async fn publish_ping(bus: &Bus, ping: Ping, head: u64) -> Result<(), BusError> {
    if !bus.is_connected() {
        return Err(BusError::Disconnected);
    }
    bus.send(ping.subject().into(), None, head.to_string().into()).await
}

/// Pings from now on.
#[derive(Debug)]
pub struct PingStream {
    subscriber: async_nats::Subscriber,
}

/// Listens to pings, across reconnections. Returns when the server has seen it.
///
/// Errors: [`BusError::Client`], [`BusError::Disconnected`].
pub async fn subscribe_pings(bus: &Bus, ping: Ping) -> Result<PingStream, BusError> {
    let subscribed = bus.client().subscribe(ping.subject()).await;
    let subscriber = subscribed.map_err(|e| BusError::Client(e.to_string()))?;
    bus.sync().await?;
    Ok(PingStream { subscriber })
}

impl PingStream {
    /// The newest head of all pings that have arrived, waiting for one; `None` once the client is
    /// closed. Pings that came in between are merged into it; what is no number is passed over.
    pub async fn next(&mut self) -> Option<u64> {
        let mut head = None;
        loop {
            let message = match head {
                None => self.subscriber.next().await?,
                Some(_) => match self.subscriber.next().now_or_never().flatten() {
                    Some(message) => message,
                    None => return head,
                },
            };
            head = ViewsMoved::read(&message.payload).map(|moved| moved.head).max(head);
        }
    }
}

/// The views have moved, and whose feeds have grown by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewsMoved {
    /// The position that the views have reached at least.
    pub head: u64,
    /// The feeds; `None`: it may be any.
    pub grown: Option<Grown>,
}

/// The feeds that a commit of the views has grown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grown {
    /// The epoch of the numbers.
    pub epoch: u64,
    /// Posts, each once, with the number of the last item of each.
    pub posts: Vec<(Uuid, u64)>,
}

impl ViewsMoved {
    /// The body: the head in decimal; where feeds are named, the epoch, then `<post>.<number>` of each, all with a
    /// space between. Without names when there are more than fit.
    fn text(&self) -> String {
        let mut text = self.head.to_string();
        if let Some(grown) = self.grown.as_ref().filter(|grown| grown.posts.len() <= POSTS_MAX) {
            text += &format!(" {}", grown.epoch);
            for (post, number) in &grown.posts {
                text += &format!(" {post}.{number}");
            }
        }
        text
    }

    /// What a body says. Whatever is not understood behind the head means any feed; without a head it says nothing.
    fn read(body: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(body).ok()?;
        let (head, rest) = text.split_once(' ').map_or((text, None), |(head, rest)| (head, Some(rest)));
        Some(Self { head: head.parse().ok()?, grown: rest.and_then(Grown::read) })
    }

    /// This and an earlier one as one.
    fn after(self, earlier: Self) -> Self {
        let grown = match (earlier.grown, self.grown) {
            (Some(earlier), Some(now)) if earlier.epoch == now.epoch => Some(now.and(earlier)),
            _ => None,
        };
        Self { head: self.head.max(earlier.head), grown }
    }
}

impl Grown {
    fn read(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let epoch = words.next()?.parse().ok()?;
        let post = |word: &str| {
            let (post, number) = word.split_once('.')?;
            Some((Uuid::try_parse(post).ok()?, number.parse().ok()?))
        };
        Some(Self { epoch, posts: words.map(post).collect::<Option<_>>()? })
    }

    fn and(mut self, other: Self) -> Self {
        for (post, number) in other.posts {
            match self.posts.iter_mut().find(|(known, _)| *known == post) {
                Some((_, known)) => *known = number.max(*known),
                None => self.posts.push((post, number)),
            }
        }
        self
    }
}

/// Tells the others where the views are, and whose feeds have grown. As [`publish_ping`].
///
/// Shape: at most 128 posts are named; beyond that, and by [`publish_ping`], it says that it may be anyone.
/// Errors: those of [`publish_ping`].
#[tracing::instrument(level = "trace", skip_all)]
pub async fn publish_views_moved(bus: &Bus, moved: &ViewsMoved) -> Result<(), BusError> {
    if !bus.is_connected() {
        return Err(BusError::Disconnected);
    }
    bus.send(Ping::Views.subject().into(), None, moved.text().into()).await
}

/// Pings of the views from now on, with the posts that they name.
#[derive(Debug)]
pub struct ViewsMovedStream(PingStream);

/// Listens to pings of the views, across reconnections. Returns when the server has seen it.
///
/// Errors: those of [`subscribe_pings`].
pub async fn subscribe_views_moved(bus: &Bus) -> Result<ViewsMovedStream, BusError> {
    subscribe_pings(bus, Ping::Views).await.map(ViewsMovedStream)
}

impl ViewsMovedStream {
    /// All pings that have arrived as one, waiting for one; `None` once the client is closed. What has no head is
    /// passed over.
    pub async fn next(&mut self) -> Option<ViewsMoved> {
        let subscriber = &mut self.0.subscriber;
        let mut all: Option<ViewsMoved> = None;
        loop {
            let message = match all {
                None => subscriber.next().await?,
                Some(_) => match subscriber.next().now_or_never().flatten() {
                    Some(message) => message,
                    None => return all,
                },
            };
            let Some(moved) = ViewsMoved::read(&message.payload) else { continue };
            let known = |all: &ViewsMoved| all.grown.as_ref().map_or(0, |grown| grown.posts.len());
            let full = all.as_ref().is_some_and(|all| known(all) >= POSTS_MAX);
            all = Some(match all {
                None => moved,
                Some(earlier) => moved.after(earlier),
            });
            if full {
                return all;
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const POST: Uuid = Uuid::from_u128(0x01939f3e_7a54_7cc0_8000_0123456789ab);

    fn moved(head: u64, epoch: u64, posts: &[(Uuid, u64)]) -> ViewsMoved {
        ViewsMoved { head, grown: Some(Grown { epoch, posts: posts.to_vec() }) }
    }

    #[test]
    fn a_ping_names_posts_and_is_read_back() {
        for posts in [&[][..], &[(POST, 3)], &[(POST, 3), (Uuid::nil(), u64::MAX)]] {
            let said = moved(7, 2, posts);
            assert_eq!(ViewsMoved::read(said.text().as_bytes()).unwrap(), said);
        }
        assert_eq!(moved(7, 2, &[(POST, 3)]).text(), "7 2 01939f3e-7a54-7cc0-8000-0123456789ab.3");
    }

    #[test]
    fn too_many_posts_are_anyone() {
        let posts = |count| (0..count).map(|n| (Uuid::from_u128(n), 1)).collect::<Vec<_>>();
        let read = |posts: &[(Uuid, u64)]| ViewsMoved::read(moved(7, 1, posts).text().as_bytes()).unwrap();
        assert_eq!(read(&posts(128)).grown.unwrap().posts.len(), 128);
        assert_eq!(read(&posts(129)), ViewsMoved { head: 7, grown: None });
    }

    #[test]
    fn what_is_not_understood_is_anyone_and_nothing_without_a_head() {
        for text in ["7", "7 ", "7 x", "7 1 ", "7 1 post", "7 1 post.3", "7 1 00.3", "7 1  "] {
            assert_eq!(
                ViewsMoved::read(text.as_bytes()),
                Some(ViewsMoved { head: 7, grown: None }),
                "{text:?}"
            );
        }
        for body in [&b""[..], b" ", b"x 1", b"-1", b"\xff"] {
            assert_eq!(ViewsMoved::read(body), None, "{body:?}");
        }
    }

    #[test]
    fn merged_pings_name_everybody_whom_one_of_them_names() {
        let (here, there) = (POST, Uuid::nil());
        let merged = moved(4, 1, &[(here, 2)]).after(moved(5, 1, &[(here, 3), (there, 1)]));
        assert_eq!(merged, moved(5, 1, &[(here, 3), (there, 1)]));
        let anyone = ViewsMoved { head: 6, grown: None };
        assert_eq!(moved(7, 1, &[(here, 2)]).after(anyone.clone()).grown, None);
        assert_eq!(anyone.after(moved(7, 1, &[(here, 2)])), ViewsMoved { head: 7, grown: None });
        assert_eq!(moved(7, 2, &[(here, 1)]).after(moved(6, 1, &[(here, 9)])).grown, None, "another epoch");
    }
}
