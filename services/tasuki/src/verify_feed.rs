//! `tasuki verify-feed`: what a post keeps of its feed, outside, and what has become of it since.
//!
//! Needs nothing but the post's own token. The file holds digests and a signed head, no content: even who holds the
//! signing key cannot rewrite history so that it fits every file that posts have kept.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use tasuki_contract::timeline::v1 as pb;
use tasuki_contract::timeline::v1::timeline_service_client::TimelineServiceClient;
use tasuki_domain::ids::PostId;
use tasuki_log::audit::is_signed;
use tasuki_timeline::head_message;
use tasuki_views::{FeedEnd, link};
use tonic::Request;
use tonic::transport::Channel;

use crate::Error;
use crate::up::StateArgs;

const FIRST_LINE: &str = "tasuki feed 1";
const PAGE: i32 = 200;

/// Whose feed, and where it is kept.
#[derive(Args, Clone, Debug)]
pub struct VerifyFeedArgs {
    /// The file. Made when it is not there; after a run that found nothing it holds what has come since, too.
    #[arg(long)]
    file: PathBuf,
    /// Address of the server; default: the running `up`.
    #[arg(long, env = "TASUKI_ADDRESS")]
    address: Option<String>,
    /// Bearer token; default: a try-out token for --as.
    #[arg(long, env = "TASUKI_TOKEN")]
    token: Option<String>,
    /// A post of the example region, such as `hospital.discharge`; makes a try-out token.
    #[arg(long = "as", conflicts_with = "token")]
    act_as: Option<String>,
    #[command(flatten)]
    state: StateArgs,
}

/// A feed as it was kept, or as it is: the digest of each item, and the head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feed {
    /// Whose.
    pub post: String,
    /// In which the numbers count.
    pub epoch: u64,
    /// The key that signs its heads, in hex.
    pub public_key: String,
    /// The digests of the items from number 1 on, in hex.
    pub digests: Vec<String>,
}

/// The first thing that is not as it was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// The head is signed with another key, or not well.
    Signature,
    /// It is another post's feed.
    OtherPost,
    /// The feed was begun anew: after a restore, by another program, or to hide something.
    OtherEpoch,
    /// This item is another one than was kept, or its event was altered.
    Altered(u64),
    /// The chain does not follow from the digests here.
    Broken(u64),
    /// The feed ends before this item, which was kept.
    Cut(u64),
}

impl Feed {
    /// As lines of text.
    pub fn to_text(&self) -> String {
        let Self { post, epoch, public_key, digests } = self;
        let mut text = format!("{FIRST_LINE}\npost={post}\nepoch={epoch}\npublic_key={public_key}\n");
        for digest in digests {
            text.push_str(digest);
            text.push('\n');
        }
        text
    }

    /// Reads what [`to_text`](Self::to_text) writes.
    pub fn from_text(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        if lines.next()? != FIRST_LINE {
            return None;
        }
        let mut field = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix('=').map(str::to_owned);
        let (post, epoch, public_key) = (field("post")?, field("epoch")?.parse().ok()?, field("public_key")?);
        Some(Self { post, epoch, public_key, digests: lines.map(str::to_owned).collect() })
    }

    /// The feed as the server gives it; nothing is taken on trust but the key of a feed that was not kept before.
    ///
    /// Errors: what the chain and its head contradict themselves in.
    pub fn of(head: &pb::FeedHead, links: &[pb::FeedLink], kept: Option<&Self>) -> Result<Self, Found> {
        let public_key = kept.map_or_else(|| hex(&head.public_key), |kept| kept.public_key.clone());
        let end = FeedEnd {
            number: head.number,
            chain: head.chain.as_slice().try_into().map_err(|_| Found::Signature)?,
        };
        let post = PostId(uuid::Uuid::try_parse(&head.post_id).map_err(|_| Found::OtherPost)?);
        let at = head.signed_at.unwrap_or_default();
        let message =
            head_message(post, head.epoch, &end, at.seconds * 1_000_000 + i64::from(at.nanos) / 1_000);
        if hex(&head.public_key) != public_key || !is_signed(&head.public_key, &message, &head.signature) {
            return Err(Found::Signature);
        }
        let mut chain = [0; 32];
        for (link_now, number) in links.iter().zip(1..) {
            let digest: [u8; 32] =
                link_now.digest.as_slice().try_into().map_err(|_| Found::Altered(number))?;
            chain = link(&chain, &digest);
            if link_now.number != number || link_now.chain != chain {
                // What was kept says which of the two it is.
                let known = kept.and_then(|kept| kept.digests.get(number as usize - 1));
                let altered = known.is_some_and(|known| *known != hex(&digest));
                return Err(if altered { Found::Altered(number) } else { Found::Broken(number) });
            }
            if number == end.number && chain != end.chain {
                return Err(Found::Broken(number));
            }
        }
        if (links.len() as u64) < end.number {
            return Err(Found::Cut(links.len() as u64 + 1));
        }
        let digests = links.iter().map(|link| hex(&link.digest)).collect();
        Ok(Self { post: head.post_id.clone(), epoch: head.epoch, public_key, digests })
    }

    /// Whether `now` begins with everything that was kept.
    ///
    /// Errors: the first thing that differs.
    pub fn is_kept_by(&self, now: &Self) -> Result<(), Found> {
        if self.post != now.post {
            return Err(Found::OtherPost);
        }
        if self.epoch != now.epoch {
            return Err(Found::OtherEpoch);
        }
        for ((kept, now), number) in self.digests.iter().zip(&now.digests).zip(1..) {
            if kept != now {
                return Err(Found::Altered(number));
            }
        }
        let cut = now.digests.len() < self.digests.len();
        if cut { Err(Found::Cut(now.digests.len() as u64 + 1)) } else { Ok(()) }
    }
}

/// Compares the feed with what was kept, and keeps what has come since.
pub async fn run(args: VerifyFeedArgs) -> Result<(), Error> {
    let address = match &args.address {
        Some(address) => address.clone(),
        None => args.state.running()?.address,
    };
    let token = match (&args.token, &args.act_as) {
        (Some(token), _) => token.clone(),
        (None, Some(post)) => args.state.token(post, None, 3_600)?,
        (None, None) => return Err("give --token or --as POST".into()),
    };
    let kept = match std::fs::read_to_string(&args.file) {
        Ok(text) => Some(Feed::from_text(&text).ok_or("--file: holds no feed that verify-feed kept")?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(error.into()),
    };
    let endpoint = tonic::transport::Endpoint::from_shared(address.clone())?;
    let channel = endpoint.connect().await.map_err(|_| format!("nothing answers at {address}"))?;
    let (head, links) = fetch(channel, &token).await?;
    let now = Feed::of(&head, &links, kept.as_ref()).map_err(|found| words(&found))?;
    let known = kept.as_ref().map_or(0, |kept| kept.digests.len());
    if let Some(kept) = &kept {
        kept.is_kept_by(&now).map_err(|found| words(&found))?;
    }
    write(&args.file, &now.to_text())?;
    let items = now.digests.len();
    writeln!(std::io::stdout(), "verify-feed ok: items={items} kept_before={known}")?;
    Ok(())
}

/// Head first: what comes meanwhile is no less.
async fn fetch(channel: Channel, token: &str) -> Result<(pb::FeedHead, Vec<pb::FeedLink>), Error> {
    let mut client = TimelineServiceClient::new(channel).max_decoding_message_size(16 << 20);
    let head = client.get_feed_head(request(token, pb::GetFeedHeadRequest {})?).await?.into_inner();
    let head = head.head.ok_or("the server gave no head")?;
    let mut links = Vec::new();
    loop {
        let page = pb::ListFeedLinksRequest { after_number: links.len() as u64, page_size: PAGE };
        let page = client.list_feed_links(request(token, page)?).await?.into_inner().links;
        if page.is_empty() {
            return Ok((head, links));
        }
        links.extend(page);
    }
}

fn request<T>(token: &str, message: T) -> Result<Request<T>, Error> {
    let mut request = Request::new(message);
    let metadata = request.metadata_mut();
    metadata.insert("authorization", format!("Bearer {token}").parse()?);
    metadata.insert("x-purpose", "care_coordination".parse()?);
    metadata.insert("x-request-id", uuid::Uuid::now_v7().to_string().parse()?);
    Ok(request)
}

/// All or nothing: a file that was half written would look like a feed that was cut off.
fn write(path: &Path, text: &str) -> Result<(), Error> {
    let fresh = path.with_extension("fresh");
    std::fs::write(&fresh, text)?;
    std::fs::rename(&fresh, path)?;
    Ok(())
}

fn words(found: &Found) -> String {
    let item = |number: &u64, en: &str, ja: &str| format!("verify-feed: item {number}: {en} / {ja}");
    match found {
        Found::Signature => {
            "verify-feed: the head is not signed with the key that was kept / 署名の鍵が保存したものと異なります".into()
        }
        Found::OtherPost => "verify-feed: the file is of another post / 別の窓口のファイルです".into(),
        Found::OtherEpoch => "verify-feed: the feed was begun anew since it was kept; ask the operator why, and keep \
                              the old file / 受信一覧が作り直されています。理由を運営者に確認してください"
            .into(),
        Found::Altered(n) => item(n, "is not what was kept", "保存した内容と異なります"),
        Found::Broken(n) => item(n, "does not fit the chain", "連鎖が一致しません"),
        Found::Cut(n) => item(n, "was kept and is gone", "保存した項目が失われています"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
#[path = "verify_feed_tests.rs"]
mod tests;
