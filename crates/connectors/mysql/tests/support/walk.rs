//! The events of a log file, one after the other.

use dujiang_mysql::decode::event::{Event, EventData, EventFormat};
use dujiang_mysql::decode::file::FileEvents;

/// Shows every event of a file to `take`, those inside of others, too, with the format it is written in; rows are inflated.
pub fn each_event(log: &[u8], mut take: impl FnMut(&Event<'_>, &EventFormat, EventData<'_>)) {
    let (mut events, mut format) = (FileEvents::new(log).unwrap(), EventFormat::unknown());
    while let Some(bytes) = events.next_event().unwrap() {
        if let Some(next) = show(bytes, &format, &mut take) {
            format = next;
        }
    }
}

/// Shows one event; the format of those behind it, where it tells one.
fn show(
    bytes: &[u8],
    format: &EventFormat,
    take: &mut impl FnMut(&Event<'_>, &EventFormat, EventData<'_>),
) -> Option<EventFormat> {
    let event = Event::parse(bytes, format).unwrap();
    let mut buffer = Vec::new();
    match event.data(format).unwrap() {
        EventData::FormatDescription(next) => return Some(next),
        EventData::CompressedRows(rows) => take(&event, format, EventData::Rows(rows.inflate(&mut buffer).unwrap())),
        EventData::TransactionPayload(payload) => {
            let (inner, mut events) = (format.without_checksum(), payload.events().unwrap());
            while let Some(bytes) = events.peek(&payload).unwrap() {
                show(bytes, &inner, take);
                events.advance();
            }
        }
        data => take(&event, format, data),
    }
    None
}
