//! A document, and how a client adds it to a case.

use ring::digest::{SHA256, digest};
use tasuki_contract::DataClass;
use tasuki_contract::attachments::v1 as pb;
use tonic::Status;

use crate::Caller;

/// Bytes of each chunk but the last one, as the service says.
const CHUNK_BYTES: usize = 512 * 1024;

/// A document that a post may add to a case.
#[derive(Clone, Debug)]
pub struct Paper {
    /// The case.
    pub case_id: String,
    /// Who reads it follows from this.
    pub class: DataClass,
    /// What the bytes are said to be.
    pub media_type: pb::MediaType,
    /// What it is called.
    pub title: String,
    /// The bytes.
    pub bytes: Vec<u8>,
}

impl Paper {
    /// A PDF of at least so many bytes, in which the mark stands again and again.
    pub fn pdf(case_id: &str, class: DataClass, mark: &str, bytes_min: usize) -> Self {
        let mut bytes = b"%PDF-1.7\n".to_vec();
        while bytes.len() < bytes_min {
            bytes.extend_from_slice(format!("{mark} {:06} ", bytes.len()).as_bytes());
        }
        let (case_id, title) = (case_id.to_owned(), format!("TITLE-{mark}"));
        Self { case_id, class, media_type: pb::MediaType::Pdf, title, bytes }
    }

    /// The announcement of it.
    pub fn announcement(&self) -> pb::BeginAttachmentRequest {
        pb::BeginAttachmentRequest {
            case_id: self.case_id.clone(),
            data_class: self.class.into(),
            media_type: self.media_type.into(),
            size_bytes: self.bytes.len() as i32,
            sha256: digest(&SHA256, &self.bytes).as_ref().to_vec(),
            title: self.title.clone(),
            file_name: "example".to_owned(),
        }
    }

    /// The chunks in order.
    pub fn chunks(&self, attachment_id: &str) -> Vec<pb::PutChunkRequest> {
        let chunk = |(index, data): (usize, &[u8])| pb::PutChunkRequest {
            attachment_id: attachment_id.to_owned(),
            index: index as i32,
            data: data.to_vec(),
        };
        self.bytes.chunks(CHUNK_BYTES).enumerate().map(chunk).collect()
    }

    /// Announces it and puts every chunk; returns its id.
    pub async fn put(&self, caller: &Caller) -> Result<String, Status> {
        let mut service = caller.attachments();
        let begun = service.begin_attachment(caller.request(self.announcement())).await?.into_inner();
        for chunk in self.chunks(&begun.attachment_id) {
            service.put_chunk(caller.request(chunk)).await?;
        }
        Ok(begun.attachment_id)
    }

    /// Adds it to its case; returns its id.
    pub async fn add(&self, caller: &Caller) -> Result<String, Status> {
        let attachment_id = self.put(caller).await?;
        let complete = pb::CompleteAttachmentRequest { attachment_id: attachment_id.clone(), context: None };
        caller.attachments().complete_attachment(caller.request(complete)).await?;
        Ok(attachment_id)
    }

    /// All bytes of a document, chunk by chunk.
    pub async fn read(caller: &Caller, attachment_id: &str, chunks: i32) -> Result<Vec<u8>, Status> {
        let mut bytes = Vec::new();
        for index in 0..chunks {
            let request = pb::ReadChunkRequest { attachment_id: attachment_id.to_owned(), index };
            let chunk = caller.attachments().read_chunk(caller.request(request)).await?.into_inner();
            bytes.extend(chunk.data);
        }
        Ok(bytes)
    }
}
