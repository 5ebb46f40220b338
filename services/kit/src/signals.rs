//! Signals of one process: how far the views reach, and which posts' feeds have grown.
//!
//! Whoever commits the views here, or hears of it from another process, tells; streams and queries that wait are
//! woken. A signal is a hint: it may be lost, doubled, late or wrong, so whoever waits marks, looks at the views,
//! then waits for what was told since the mark, and looks by itself after a while whatever was told. Nothing is kept
//! for a post that nobody waits for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tasuki_domain::ids::PostId;
use tokio::sync::watch;

/// Tells those who wait for the views. Cheap to clone; clones share everything.
#[derive(Clone, Debug, Default)]
pub struct ViewSignals(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    position: watch::Sender<u64>,
    posts: Mutex<HashMap<PostId, Slot>>,
}

/// A post that somebody waits for.
#[derive(Debug, Default)]
struct Slot {
    told: watch::Sender<Told>,
    listeners: usize,
}

/// What was last said about a feed.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    /// Epoch of `number`.
    epoch: u64,
    /// The last item, as far as it was told.
    number: u64,
    /// How often everyone was told to look.
    rounds: u64,
}

impl ViewSignals {
    /// The views were committed: they reach `position`, and each of the posts has items up to a number of `epoch`.
    ///
    /// The position never goes back; a number of the same epoch neither. Who has been told of as much is not woken.
    pub fn tell(&self, position: u64, epoch: u64, grown: impl IntoIterator<Item = (PostId, u64)>) {
        let mut posts = self.0.posts();
        for (post, number) in grown {
            if let Some(slot) = posts.get_mut(&post) {
                slot.told.send_if_modified(|told| {
                    let news = told.epoch != epoch || told.number < number;
                    if news {
                        (told.epoch, told.number) = (epoch, number);
                    }
                    news
                });
            }
        }
        drop(posts);
        self.0.position.send_if_modified(|reached| {
            let further = position > *reached;
            *reached = position.max(*reached);
            further
        });
    }

    /// Anything may have happened up to `position`: wakes everyone, also where the position is not new.
    pub fn tell_everyone(&self, position: u64) {
        for slot in self.0.posts().values() {
            slot.told.send_modify(|told| told.rounds += 1);
        }
        self.0.position.send_modify(|reached| *reached = position.max(*reached));
    }

    /// Hears of the position, from now on.
    pub fn reach(&self) -> Reach {
        Reach(self.0.position.subscribe())
    }

    /// Hears of the feed of a post, from now on, until dropped. To be had before the first look.
    pub fn listen(&self, post: PostId) -> Listener {
        let mut posts = self.0.posts();
        let slot = posts.entry(post).or_default();
        slot.listeners += 1;
        let told = slot.told.subscribe();
        let rounds = told.borrow().rounds;
        Listener { inner: self.0.clone(), post, told, rounds, reach: self.reach() }
    }

    /// How many posts are waited for.
    pub fn posts_heard(&self) -> usize {
        self.0.posts().len()
    }
}

impl Inner {
    fn posts(&self) -> MutexGuard<'_, HashMap<PostId, Slot>> {
        self.posts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hears how far the views reach.
#[derive(Clone, Debug)]
pub struct Reach(watch::Receiver<u64>);

impl Reach {
    /// The last position that was told; 0 before the first.
    pub fn position(&self) -> u64 {
        *self.0.borrow()
    }

    /// To be called before each look: what is told from here on ends the wait that follows it.
    pub fn mark(&mut self) {
        self.0.mark_unchanged();
    }

    /// Completes when, since the mark, it was told that the views reach `position`; never without a word.
    pub async fn reaches(&mut self, position: u64) {
        loop {
            if self.0.changed().await.is_err() {
                // Nobody tells any more: only the caller's clock is left.
                return std::future::pending().await;
            }
            if *self.0.borrow_and_update() >= position {
                return;
            }
        }
    }
}

/// Hears of the feed of one post.
#[derive(Debug)]
pub struct Listener {
    inner: Arc<Inner>,
    post: PostId,
    told: watch::Receiver<Told>,
    /// The rounds that the look after the mark covers.
    rounds: u64,
    reach: Reach,
}

impl Listener {
    /// To be called before each look: what is told from here on ends the wait that follows it.
    pub fn mark(&mut self) {
        self.reach.mark();
        self.told.mark_unchanged();
        self.rounds = self.told.borrow().rounds;
    }

    /// Completes when, since the mark, everyone was told to look, or that the feed goes beyond item `number` of
    /// `epoch`, or is of another epoch, or that the views reach `position`, where one is waited for.
    pub async fn news(&mut self, epoch: u64, number: u64, position: Option<u64>) {
        let Self { told, rounds, reach, .. } = self;
        let reached = async {
            match position {
                Some(position) => reach.reaches(position).await,
                None => std::future::pending().await,
            }
        };
        let grown = async {
            while told.changed().await.is_ok() {
                let now = *told.borrow_and_update();
                let beyond = now.number > 0 && (now.epoch != epoch || now.number > number);
                if beyond || now.rounds != *rounds {
                    return;
                }
            }
            std::future::pending().await
        };
        tokio::select! {
            () = grown => {}
            () = reached => {}
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut posts = self.inner.posts();
        if let Some(slot) = posts.get_mut(&self.post) {
            slot.listeners -= 1;
            if slot.listeners == 0 {
                posts.remove(&self.post);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use uuid::Uuid;

    use super::*;

    const HERE: PostId = PostId(Uuid::from_u128(1));
    const THERE: PostId = PostId(Uuid::from_u128(2));

    /// Whether somebody who has items up to `number` of epoch 1 would look.
    fn looks(listener: &mut Listener, number: u64) -> bool {
        listener.news(1, number, None).now_or_never().is_some()
    }

    #[test]
    fn only_the_posts_that_have_news_are_woken() {
        let signals = ViewSignals::default();
        let (mut here, mut there) = (signals.listen(HERE), signals.listen(THERE));
        signals.tell(5, 1, [(HERE, 3)]);
        assert!(!looks(&mut there, 0));
        assert!(looks(&mut here, 2));
    }

    #[test]
    fn what_is_told_between_the_mark_and_the_wait_is_not_lost() {
        let signals = ViewSignals::default();
        let mut listener = signals.listen(HERE);
        listener.mark();
        // The look happens here and finds nothing.
        signals.tell(5, 1, [(HERE, 3)]);
        assert!(looks(&mut listener, 2));
        listener.mark();
        signals.tell_everyone(5);
        assert!(looks(&mut listener, 3));
        listener.mark();
        assert!(!looks(&mut listener, 3), "the look covers the round");
    }

    #[test]
    fn who_has_the_item_already_need_not_look() {
        let signals = ViewSignals::default();
        let mut listener = signals.listen(HERE);
        listener.mark();
        signals.tell(5, 1, [(HERE, 2), (HERE, 3)]);
        assert!(!looks(&mut listener, 3));
        // The same again, and late news, of whoever told it.
        signals.tell(5, 1, [(HERE, 3)]);
        signals.tell(4, 1, [(HERE, 1)]);
        assert!(!looks(&mut listener, 2), "told once");
        signals.tell(6, 1, [(HERE, 4)]);
        assert!(looks(&mut listener, 3));
    }

    #[test]
    fn numbers_of_another_epoch_are_always_looked_at() {
        let signals = ViewSignals::default();
        let mut listener = signals.listen(HERE);
        listener.mark();
        signals.tell(5, 2, [(HERE, 1)]);
        assert!(looks(&mut listener, 7));
    }

    #[test]
    fn a_wrong_word_costs_one_look() {
        let signals = ViewSignals::default();
        let mut listener = signals.listen(HERE);
        signals.tell(1_000, 1, [(HERE, 1_000)]);
        assert!(looks(&mut listener, 3));
        listener.mark();
        assert!(!looks(&mut listener, 3), "found nothing, and does not go round and round");
        listener.mark();
        assert!(listener.news(1, 3, Some(10)).now_or_never().is_none());
    }

    #[test]
    fn who_waits_for_a_position_hears_of_it_and_of_no_earlier_one() {
        let signals = ViewSignals::default();
        let (mut listener, mut reach) = (signals.listen(HERE), signals.reach());
        listener.mark();
        reach.mark();
        signals.tell(4, 1, []);
        assert!(listener.news(1, 0, Some(5)).now_or_never().is_none());
        assert!(reach.reaches(5).now_or_never().is_none());
        signals.tell(6, 1, []);
        assert!(listener.news(1, 0, Some(5)).now_or_never().is_some());
        assert!(reach.reaches(5).now_or_never().is_some());
        signals.tell(2, 1, []);
        assert_eq!(reach.position(), 6, "never goes back");
        reach.mark();
        signals.tell_everyone(2);
        assert!(reach.reaches(5).now_or_never().is_some());
    }

    #[test]
    fn posts_that_nobody_waits_for_are_forgotten() {
        let signals = ViewSignals::default();
        let (first, second) = (signals.listen(HERE), signals.listen(HERE));
        signals.tell(1, 1, [(HERE, 1), (THERE, 1)]);
        assert_eq!(signals.posts_heard(), 1);
        drop(first);
        assert_eq!(signals.posts_heard(), 1);
        drop(second);
        assert_eq!(signals.posts_heard(), 0);
    }
}
