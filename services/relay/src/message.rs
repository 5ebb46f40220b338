//! From a row of the log to a message for the broker.

use prost::Message as _;
use tasuki_bus::{OutMessage, subjects};
use tasuki_contract::event::v1::StreamKind;
use tasuki_log::Record;

/// The envelope of a row, under the subject of its stream, with the trace of the call that made it.
pub(crate) fn message(record: &Record) -> OutMessage {
    OutMessage {
        position: record.position,
        epoch: record.epoch,
        subject: subject(record.header.stream_kind, &record.header.stream_id),
        headers: traceparent(record).map(|value| ("traceparent".into(), value.into())).into_iter().collect(),
        payload: record.envelope().encode_to_vec().into(),
    }
}

/// The trace of a row, when it can stand in a header: 55 characters of the W3C form.
pub(crate) fn traceparent(record: &Record) -> Option<&str> {
    let text = record.header.traceparent.as_str();
    let plain = |b: u8| b.is_ascii_hexdigit() || b == b'-';
    (text.len() == 55 && text.bytes().all(plain)).then_some(text)
}

fn subject(kind: i32, stream_id: &str) -> String {
    let name = match StreamKind::try_from(kind) {
        Ok(StreamKind::Case) => "case",
        Ok(StreamKind::Consultation) => "consultation",
        Ok(StreamKind::Meeting) => "meeting",
        Ok(StreamKind::Agency) => "agency",
        Ok(StreamKind::Post) => "post",
        Ok(StreamKind::Municipality) => "municipality",
        // Of a newer binary: it travels all the same, the projector decides whether it can fold it.
        Ok(StreamKind::Unspecified) | Err(_) => "other",
    };
    // An id that is no token must not hold up the log; nobody reads the id out of the subject.
    subjects::log(name, stream_id).unwrap_or_else(|_| format!("tasuki.log.{name}.unnamed"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tasuki_contract::event::v1::Header;

    use super::*;

    fn record(header: Header) -> Record {
        let header_bytes = header.encode_to_vec();
        let (position, epoch, recorded_at_us) = (7, 2, 1_500_000);
        Record { position, epoch, recorded_at_us, header, header_bytes, parts: vec![1], hash: vec![2] }
    }

    #[test]
    fn an_id_that_is_no_token_changes_no_other_subject() {
        for (kind, id, expected) in [
            (
                1,
                "01939f3e-7a54-7cc0-8000-0123456789ab",
                "tasuki.log.case.01939f3e-7a54-7cc0-8000-0123456789ab",
            ),
            (99, "a", "tasuki.log.other.a"),
            (4, "a.>", "tasuki.log.agency.unnamed"),
            (5, "", "tasuki.log.post.unnamed"),
        ] {
            assert_eq!(subject(kind, id), expected);
        }
    }

    #[test]
    fn a_trace_that_is_none_is_left_out() {
        let good = format!("00-{}-{}-01", "a".repeat(32), "b".repeat(16));
        for (text, there) in [(good.as_str(), true), ("", false), ("00-a\r\nNats-Msg-Id: 9.9", false)] {
            let out = message(&record(Header { traceparent: text.into(), ..Default::default() }));
            assert_eq!(out.headers, if there { vec![("traceparent".into(), good.clone())] } else { vec![] });
        }
    }

    #[test]
    fn no_sealed_part_leaves_with_the_envelope() {
        let record = record(Header::default());
        assert_eq!(message(&record).payload, record.envelope().encode_to_vec());
        assert_eq!((message(&record).epoch, message(&record).position), (2, 7));
    }
}
