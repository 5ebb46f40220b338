//! What can be told of an envelope without decoding its header.

use prost::Message as _;

use crate::event::v1::Envelope;

/// The one field of a header that everybody on the way needs; the others are passed over.
#[derive(Clone, PartialEq, prost::Message)]
struct Traced {
    #[prost(string, tag = "17")]
    traceparent: String,
}

/// The W3C trace context of an encoded header: 55 characters. `None` where there is none, or none that is well formed.
pub fn traceparent(header: &[u8]) -> Option<String> {
    let text = Traced::decode(header).ok()?.traceparent;
    let plain = |b: u8| b.is_ascii_hexdigit() || b == b'-';
    (text.len() == 55 && text.bytes().all(plain)).then_some(text)
}

impl Envelope {
    /// The trace of the call that made the event, as [`traceparent`] tells it.
    pub fn traceparent(&self) -> Option<String> {
        traceparent(&self.header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::v1::Header;

    #[test]
    fn a_trace_is_found_in_a_header_and_what_is_none_is_left_out() {
        let good = format!("00-{}-{}-01", "a".repeat(32), "b".repeat(16));
        let of = |text: &str| {
            let header = Header { traceparent: text.into(), schema: 3, ..Header::default() };
            Envelope { header: header.encode_to_vec(), ..Envelope::default() }.traceparent()
        };
        assert_eq!(of(&good), Some(good.clone()));
        assert_eq!(of(""), None);
        assert_eq!(of("00-a\r\nNats-Msg-Id: 9.9"), None);
        assert_eq!(traceparent(&[0xff]), None);
    }
}
