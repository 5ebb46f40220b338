//! A subscriber that stays: it follows a post's feed live and goes on from its cursor when a stream ends.
//!
//! Keeps what it got, as it got it; judges nothing. A test looks at it with [`Live::messages`].

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tasuki_contract::timeline::v1::subscribe_response::Message;
use tasuki_contract::timeline::v1::{FeedItem, SubscribeRequest, SubscribeResponse, TimelineItem};
use tokio::task::JoinHandle;

use crate::Caller;

/// What it has got so far.
#[derive(Clone, Debug, Default)]
pub struct Got {
    /// Every message, heartbeats too.
    pub messages: Vec<SubscribeResponse>,
    /// How often it opened the stream anew.
    pub resumed: usize,
    /// Every error with which a stream ended, as a client sees it.
    pub ends: Vec<String>,
}

/// A running subscriber; ends when dropped.
pub struct Live {
    got: Arc<Mutex<Got>>,
    task: JoinHandle<()>,
}

impl Live {
    /// Subscribes from the beginning; with several callers, each new stream is opened at the next one of them.
    pub fn start(callers: Vec<Caller>) -> Self {
        let got = Arc::new(Mutex::new(Got::default()));
        let task = tokio::spawn(follow(callers, got.clone()));
        Self { got, task }
    }

    /// A copy of what it has got.
    pub fn got(&self) -> Got {
        self.got.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The items, in the order in which they came.
    pub fn items(&self) -> Vec<TimelineItem> {
        items(self.got().messages).collect()
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn items(messages: Vec<SubscribeResponse>) -> impl Iterator<Item = TimelineItem> {
    messages.into_iter().filter_map(|message| match message.message {
        Some(Message::Item(FeedItem { item, .. })) => item,
        _ => None,
    })
}

async fn follow(callers: Vec<Caller>, got: Arc<Mutex<Got>>) {
    let mut cursor = String::new();
    let note =
        |change: &mut dyn FnMut(&mut Got)| change(&mut got.lock().unwrap_or_else(PoisonError::into_inner));
    for caller in callers.iter().cycle() {
        let request = caller.request(SubscribeRequest { cursor: cursor.clone() });
        let end = match caller.timeline().subscribe(request).await {
            Ok(stream) => {
                let mut stream = stream.into_inner();
                loop {
                    match stream.message().await {
                        Ok(Some(message)) => {
                            if let Some(Message::Item(item)) = &message.message {
                                cursor.clone_from(&item.cursor);
                            }
                            note(&mut |got| got.messages.push(message.clone()));
                        }
                        Ok(None) => break String::new(),
                        Err(status) => break format!("{status:?}"),
                    }
                }
            }
            Err(status) => format!("{status:?}"),
        };
        note(&mut |got| {
            got.resumed += 1;
            got.ends.push(end.clone());
        });
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
