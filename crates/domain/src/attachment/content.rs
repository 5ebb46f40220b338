//! Are the bytes of the type that they are said to be? Looked at chunk by chunk, so that no document is ever whole in
//! memory.
//!
//! It keeps nothing of them but an unfinished character, and repeats nothing. What a reader's program makes of a PDF
//! or an image is outside it: the check keeps out what is something else altogether.

use tasuki_contract::attachments::v1::MediaType;

use crate::check::is_clean;

const PDF: &[u8] = b"%PDF-";
const JPEG: &[u8] = &[0xff, 0xd8, 0xff];
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
/// Bytes of the longest beginning.
const BEGINNING_MAX: usize = PNG.len();

/// One look at a document, from its first byte to its last.
#[derive(Clone, Debug)]
pub struct Inspection {
    media_type: MediaType,
    beginning: Vec<u8>,
    /// Bytes of a text that are judged together with what follows: part of a character, or half of a line break.
    unfinished: Vec<u8>,
    is_text: bool,
}

impl Inspection {
    /// Nothing looked at yet.
    pub fn new(media_type: MediaType) -> Self {
        Self { media_type, beginning: Vec::new(), unfinished: Vec::new(), is_text: true }
    }

    /// Looks at the next bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        let wanted = BEGINNING_MAX.saturating_sub(self.beginning.len());
        self.beginning.extend(bytes.iter().take(wanted));
        if self.media_type == MediaType::PlainText && self.is_text {
            self.unfinished.extend_from_slice(bytes);
            let whole = whole_characters(&self.unfinished);
            let rest = self.unfinished.split_off(whole);
            self.is_text = std::str::from_utf8(&self.unfinished).is_ok_and(is_clean) && rest.len() < 4;
            self.unfinished = rest;
        }
    }

    /// Whether all of it was of the type.
    pub fn is_of_its_type(&self) -> bool {
        match self.media_type {
            MediaType::Pdf => self.beginning.starts_with(PDF),
            MediaType::Jpeg => self.beginning.starts_with(JPEG),
            MediaType::Png => self.beginning.starts_with(PNG),
            MediaType::PlainText => self.is_text && self.unfinished.is_empty(),
            MediaType::Unspecified => false,
        }
    }
}

/// Bytes up to the last whole character, without a carriage return whose line feed may follow.
fn whole_characters(bytes: &[u8]) -> usize {
    let whole = match std::str::from_utf8(bytes) {
        Ok(_) => bytes.len(),
        // Cut within a character; anything else that is wrong stays in and is found.
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        Err(_) => bytes.len(),
    };
    if bytes[..whole].ends_with(b"\r") { whole - 1 } else { whole }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(media_type: MediaType, bytes: &[u8], cut: usize) -> bool {
        let mut inspection = Inspection::new(media_type);
        bytes.chunks(cut).for_each(|chunk| inspection.feed(chunk));
        inspection.is_of_its_type()
    }

    #[test]
    fn bytes_are_of_the_type_that_they_begin_like_however_they_are_cut() {
        let png = [PNG, b"rest"].concat();
        let jpeg = [JPEG, &[0xe0, 0x00]].concat();
        for cut in 1..8 {
            assert!(is(MediaType::Pdf, b"%PDF-1.7 ...", cut));
            assert!(is(MediaType::Jpeg, &jpeg, cut));
            assert!(is(MediaType::Png, &png, cut));
            assert!(!is(MediaType::Pdf, &png, cut) && !is(MediaType::Png, &jpeg, cut));
            assert!(!is(MediaType::Jpeg, b"<html>", cut) && !is(MediaType::Pdf, b"MZ %PDF-", cut));
        }
        assert!(!is(MediaType::Png, &png[..10], 10), "cut off");
        assert!(!is(MediaType::Unspecified, b"%PDF-1.7", 10));
    }

    #[test]
    fn a_text_is_utf_8_without_control_characters_however_it_is_cut() {
        let good = "指示書\r\n一行目\n\t二行目 𠮷";
        for cut in 1..9 {
            assert!(is(MediaType::PlainText, good.as_bytes(), cut), "{cut}");
            for bad in ["甲\0乙", "甲\u{1b}[31m", "甲\r乙", "甲\u{202e}乙", "終わり\r"] {
                assert!(!is(MediaType::PlainText, bad.as_bytes(), cut), "{bad:?} {cut}");
            }
            assert!(
                !is(MediaType::PlainText, &good.as_bytes()[..good.len() - 1], cut),
                "cut within a character"
            );
            assert!(
                !is(MediaType::PlainText, b"\xff\xfe\x00", cut) && !is(MediaType::PlainText, b"a\xffb", cut)
            );
        }
    }
}
