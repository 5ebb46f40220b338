//! Reading the directory: offices are public, families are not listed.

use tasuki_contract::directory::v1 as pb;
use tasuki_domain::directory::{Directory, Post};
use tasuki_domain::ids::PostId;
use tasuki_domain::refusal::Violation;
use tasuki_domain::{codes, codes::Table, municipality};
use tasuki_kit::{Context, Platform, errors, page};
use tonic::Status;
use uuid::Uuid;

/// Kind of a guardian's or a child's agency.
const FAMILY: &str = "family";

pub(crate) fn get(
    directory: &Directory,
    request: &pb::GetPostRequest,
) -> Result<pb::GetPostResponse, Status> {
    let id = Uuid::try_parse(&request.post_id)
        .map_err(|_| errors::invalid_field("post_id", Violation::NOT_A_UUID))?;
    let found = directory.posts.get(&PostId(id)).and_then(|p| shown(directory, p));
    found.map(|post| pb::GetPostResponse { post: Some(post) }).ok_or_else(errors::not_found)
}

pub(crate) fn list(
    platform: &Platform,
    caller: &Context,
    request: &pb::ListPostsRequest,
) -> Result<pb::ListPostsResponse, Status> {
    let size = page::size(request.page_size)?;
    let (code, kind) = (&request.municipality_code, &request.agency_kind);
    if !code.is_empty() && !municipality::is_municipality(code) {
        return Err(errors::invalid_field("municipality_code", Violation::UNKNOWN_CODE));
    }
    if !kind.is_empty() && codes::lookup(Table::AgencyKind, kind).is_none() {
        return Err(errors::unknown_code("agency_kind", codes::place(&[Table::AgencyKind])));
    }
    let bound: [&[u8]; 4] = [
        b"ListPosts",
        caller.actor.post.0.as_bytes(),
        request.municipality_code.as_bytes(),
        request.agency_kind.as_bytes(),
    ];
    let place = page::place(platform.keyring(), &bound, &request.page_token)?;
    let after = place.and_then(|p| Uuid::from_slice(&p).ok()).map(PostId);
    let directory = platform.directory();
    let mut posts: Vec<pb::Post> = directory
        .posts
        .values()
        .filter(|p| after.is_none_or(|a| p.id > a))
        .filter_map(|p| shown(&directory, p))
        .filter(|p| request.municipality_code.is_empty() || p.municipality_code == request.municipality_code)
        .filter(|p| request.agency_kind.is_empty() || p.agency_kind == request.agency_kind)
        .take(size + 1)
        .collect();
    let more = posts.len() > size;
    posts.truncate(size);
    let next_page_token = match posts.last().filter(|_| more) {
        Some(last) => {
            let id = Uuid::try_parse(&last.post_id).unwrap_or_default();
            page::token(platform.keyring(), &bound, id.as_bytes())
        }
        None => String::new(),
    };
    Ok(pb::ListPostsResponse { posts, next_page_token })
}

fn shown(directory: &Directory, post: &Post) -> Option<pb::Post> {
    let agency = directory.agencies.get(&post.agency).filter(|a| a.kind != FAMILY)?;
    let is_intake = directory.municipalities.values().any(|m| m.intake_post == post.id);
    Some(pb::Post {
        post_id: post.id.to_string(),
        agency_id: agency.id.to_string(),
        agency_kind: agency.kind.clone(),
        agency_name_ja: agency.name_ja.clone(),
        agency_name_en: agency.name_en.clone(),
        label_ja: post.label_ja.clone(),
        label_en: post.label_en.clone(),
        municipality_code: agency.municipality_code.clone(),
        telephone: agency.telephone.clone(),
        calendar: agency.calendar.clone(),
        active: post.active,
        is_intake,
    })
}
