//! Cursors and reading.

use super::batch;
use super::http::Answer;
use super::read::{Refusal, frame, framed, varint};
use super::state::{Fault, Shard, State, Stored, Topic};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// Most records in one answer.
const MOST: usize = 1_000;

fn wrong(why: impl Into<String>) -> Refusal {
    (400, "InvalidParameter", why.into())
}

/// `3000`, 8 hexadecimal digits that tell when it was made, 16 of the sequence, 4 of the place in a batch.
fn cursor(made: u32, (sequence, index): (usize, usize)) -> String {
    format!("3000{made:08X}{sequence:016X}{index:04X}")
}

fn shard<'a>(topic: &'a Topic, name: &str, shard: &str) -> Result<(u32, &'a Shard), Refusal> {
    let number = shard.parse().map_err(|_| (400, "InvalidShardId", format!("Invalid shard id: {shard}")))?;
    let found = topic.shards.get(&number);
    found.map(|found| (number, found)).ok_or((400, "NoSuchShard", format!("Shard is not exist: {name}/{shard}")))
}

/// `{"Action":"cursor",...}` and `{"Action":"sub",...}`.
pub(super) fn json_of_shard(state: &mut State, name: &str, id: &str, body: &[u8]) -> Result<Option<Answer>, Refusal> {
    let body: Value = serde_json::from_slice(body).map_err(|_| wrong("no JSON"))?;
    match body["Action"].as_str().unwrap_or_default() {
        "cursor" => seek(state, name, id, &body).map(|body| Some(Answer::json(200, &body))),
        "sub" => {
            let cursor = body["Cursor"].as_str().ok_or_else(|| wrong("Cursor"))?;
            let limit = body["Limit"].as_u64().ok_or_else(|| wrong("Limit"))?;
            let blob = state.topics.get(name).is_some_and(|topic| topic.blob);
            let Some((records, next, latest)) = pull(state, (name, id), cursor, limit as usize, false)? else {
                return Ok(None);
            };
            let record = |record: &Stored| {
                let data = match (blob, record.values.first()) {
                    (true, Some(Some(text))) => json!(STANDARD.encode(text)),
                    _ => json!(record.values),
                };
                let attributes: serde_json::Map<_, _> =
                    record.attributes.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
                json!({ "SystemTime": record.millis, "Sequence": record.sequence, "Data": data, "Attributes": attributes,
                        "Cursor": "", "NextCursor": "" })
            };
            let records: Vec<_> = records.iter().map(record).collect();
            Ok(Some(Answer::json(
                200,
                &json!({ "NextCursor": next, "RecordCount": records.len(), "StartSeq": 0, "Records": records,
                         "LatestSeq": latest.0, "LatestTime": latest.1 }),
            )))
        }
        other => Err(wrong(other)),
    }
}

fn seek(state: &mut State, name: &str, id: &str, body: &Value) -> Result<Value, Refusal> {
    let topic = state.topic(name)?;
    let (number, found) = shard(topic, name, id)?;
    if found.state == "CLOSED" && found.first > 0 && found.first >= found.end() {
        // Nothing of it is left, and nothing will come.
        if let Some(shard) = state.topics.get_mut(name).and_then(|topic| topic.shards.get_mut(&number)) {
            shard.read_to_end = true;
        }
        return Err((400, "InvalidShardOperation", "The shard is closed".into()));
    }
    let (first, end, shard) = (found.first, found.end(), found);
    let range = || (400, "SeekOutOfRange", "Cursor seek out of range".to_owned());
    let sequence = match body["Type"].as_str().unwrap_or_default() {
        "OLDEST" => first,
        "LATEST" => end.checked_sub(1).filter(|last| *last >= first).unwrap_or(end),
        "SEQUENCE" => {
            let wanted = body["Sequence"].as_u64().ok_or_else(|| wrong("Sequence"))? as usize;
            (first..end).contains(&wanted).then_some(wanted).ok_or_else(range)?
        }
        "SYSTEM_TIME" => {
            let wanted = body["SystemTime"].as_i64().ok_or_else(|| wrong("SystemTime"))?;
            {
                let found = shard.records.iter().find(|record| record.sequence >= first && record.millis >= wanted);
                found.map(|found| found.sequence).ok_or_else(range)?
            }
        }
        other => return Err(wrong(other)),
    };
    let record = shard.records.get(shard.place((sequence, 0)));
    // An empty shard has no record to point at.
    let (told, time) = record.map_or((-1, -1), |record| (record.sequence as i64, record.millis));
    Ok(json!({ "Cursor": cursor(state.cursors, (sequence, 0)), "RecordTime": time, "Sequence": told }))
}

type Pulled = (Vec<Stored>, String, (i64, i64));

/// Whole batches only, if `whole`. None breaks the connection.
fn pull(
    state: &mut State,
    (name, id): (&str, &str),
    from: &str,
    limit: usize,
    whole: bool,
) -> Result<Option<Pulled>, Refusal> {
    match state.read_faults.pop_front() {
        Some(Fault::Refuse(status, code)) => return Err((status, code, "on purpose".into())),
        Some(Fault::LoseAnswer | Fault::LoseRequest) => return Ok(None),
        Some(fault) => state.read_faults.push_front(fault),
        None => {}
    }
    let digits = |range: std::ops::Range<usize>| from.get(range).and_then(|text| usize::from_str_radix(text, 16).ok());
    let made = digits(4..12).filter(|_| from.len() == 32 && from.starts_with("3000"));
    let sequence = digits(12..28).filter(|_| made == Some(state.cursors as usize));
    let sequence = sequence.ok_or((400, "InvalidCursor", "The cursor is invalid".to_owned()))?;
    let cursors = state.cursors;
    let topic = state.topic_mut(name)?;
    let (number, found) = shard(topic, name, id)?;
    let unread = |parent: &&u32| topic.shards.get(parent).is_some_and(|parent| !parent.read_to_end);
    let mut unfair = Vec::new();
    if let Some(parent) = found.parents.iter().find(unread) {
        unfair.push(format!("shard {number} of {name} is read before shard {parent}, of which it is a child"));
    }
    if found.state == "OPENING" {
        unfair.push(format!("shard {number} of {name} is read before it is open"));
    }
    // What has expired is passed without a word.
    let index = if whole { 0 } else { digits(28..32).unwrap_or_default() };
    let begin = found.place((sequence, index).max((found.first, 0)));
    let mut end = found.records.len().min(begin + limit.clamp(1, MOST));
    if whole && let Some(last) = found.records[..end].last() {
        end = found.place((last.sequence + 1, 0));
    }
    let at_end = begin >= found.records.len();
    let records = if at_end { Vec::new() } else { found.records[begin..end].to_vec() };
    let newest = found.records.last().map_or((-1, -1), |last| (last.sequence as i64, last.millis));
    let closed = at_end && found.state == "CLOSED";
    let behind = found.records.get(end).map(|record| (record.sequence, record.batch_index));
    if closed && let Some(shard) = topic.shards.get_mut(&number) {
        shard.read_to_end = true;
    }
    state.violations.append(&mut unfair);
    state.pulls.send_modify(|pulls| *pulls += 1);
    if closed {
        return Err((400, "InvalidShardOperation", "The shard is closed and read to its end".into()));
    }
    let next = match (records.last(), behind) {
        (None, _) => from.to_owned(),
        (Some(_), Some(behind)) => cursor(cursors, behind),
        (Some(last), None) => cursor(cursors, (last.sequence + 1, 0)),
    };
    Ok(Some((records, next, newest)))
}

/// Protocol buffers of records, or of batches.
pub(super) fn pull_framed(
    state: &mut State,
    shard: (&str, &str),
    body: &[u8],
    batches: bool,
) -> Result<Option<Answer>, Refusal> {
    let (from, limit) = request(framed(body)?).ok_or_else(|| wrong("the message cannot be read"))?;
    let Some((records, next, latest)) = pull(state, shard, &from, limit, batches)? else { return Ok(None) };
    let mut message = Vec::new();
    put_bytes(1, next.as_bytes(), &mut message);
    put_number(2, records.len() as i64, &mut message);
    put_number(3, records.first().map_or(-1, |first| first.sequence as i64), &mut message);
    if batches {
        let fields = state.topics.get(shard.0).map(|topic| topic.fields.clone()).unwrap_or_default();
        for batch in records.chunk_by(|a, b| a.sequence == b.sequence) {
            put_bytes(4, &batch_entry(batch, &fields), &mut message);
        }
    } else {
        records.iter().for_each(|record| put_bytes(4, &entry(record), &mut message));
    }
    put_number(5, latest.0, &mut message);
    put_number(6, latest.1, &mut message);
    let mut body = frame(&message);
    if matches!(state.read_faults.front(), Some(Fault::DamageAnswer)) {
        state.read_faults.pop_front();
        body[13] ^= 1;
    }
    let content_type = if batches { "application/x-binary" } else { "application/x-protobuf" };
    Ok(Some(Answer { status: 200, content_type, body }))
}

/// A `BinaryRecordEntry`.
fn batch_entry(batch: &[Stored], fields: &[(String, String)]) -> Vec<u8> {
    let mut entry = Vec::new();
    put_number(3, batch[0].sequence as i64, &mut entry);
    put_number(4, batch[0].millis, &mut entry);
    put_bytes(6, &batch::encode(batch, fields), &mut entry);
    entry
}

/// Cursor and limit of a `GetRecordsRequest`.
fn request(mut message: &[u8]) -> Option<(String, usize)> {
    let (mut cursor, mut limit) = (None, None);
    while !message.is_empty() {
        match varint(&mut message)? {
            10 => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                let (bytes, rest) = message.split_at_checked(length)?;
                (cursor, message) = (Some(String::from_utf8(bytes.to_vec()).ok()?), rest);
            }
            16 => limit = Some(usize::try_from(varint(&mut message)?).ok()?),
            _ => return None,
        }
    }
    Some((cursor?, limit?))
}

fn entry(record: &Stored) -> Vec<u8> {
    let mut entry = Vec::new();
    put_bytes(1, record.shard.to_string().as_bytes(), &mut entry);
    put_number(6, record.sequence as i64, &mut entry);
    put_number(7, record.millis, &mut entry);
    let mut attributes = Vec::new();
    for (name, value) in &record.attributes {
        let mut pair = Vec::new();
        put_bytes(1, name.as_bytes(), &mut pair);
        put_bytes(2, value.as_bytes(), &mut pair);
        put_bytes(1, &pair, &mut attributes);
    }
    put_bytes(8, &attributes, &mut entry);
    let mut data = Vec::new();
    for value in &record.values {
        let mut field = Vec::new();
        if let Some(value) = value {
            put_bytes(1, value.as_bytes(), &mut field);
        }
        put_bytes(1, &field, &mut data);
    }
    put_bytes(9, &data, &mut entry);
    entry
}

fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value > 127 {
        out.push((value & 127) as u8 | 128);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_number(field: u64, value: i64, out: &mut Vec<u8>) {
    put_varint(field * 8, out);
    put_varint(value as u64, out);
}

fn put_bytes(field: u64, bytes: &[u8], out: &mut Vec<u8>) {
    put_varint(field * 8 + 2, out);
    put_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}
